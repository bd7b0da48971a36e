"""Sixty days in a few minutes: `python -m tests.bench.soak [--days 60]`.

Real processes and a cloud that lives 60 times faster. Each day every hub is offered something new,
a person installs it through the form, and the clock goes on to the next day, on which every hub is
checked. Prints what memory each program's processes hold together (PSS), day by day; exits with 1
when a program holds more than a twentieth more at the end than after the first thirty days, in
which every process comes to know all its work and what libraries keep for it fills up.

With `--quiet 6`, six more days without installs follow, and what the database grew by is printed:
rows and bytes for each install with all that belongs to it, and for each hub and quiet day.
"""

import argparse
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import Any

import django
import psutil

PROGRAMS = ("web", "worker", "watchdog")
# Checks are spread by a tenth of a day: after this long every hub has had its turn.
DAY_S = 86_400.0 * 1.1 + 60
SETTLED, GROWTH, LIMIT_S = 30, 0.05, 180
# From this day on rows are counted; and how often a hub may get new firmware.
SETTLED_ROWS, INSTALLS_A_YEAR = 3, 6


def held_mb(processes: list[psutil.Process]) -> float:
    """Return the megabytes that these processes hold, shared pages counted once."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue  # ended meanwhile
    return total / 2**20


def wait_for(is_true: Callable[[], bool], what: str) -> None:
    until = monotonic() + LIMIT_S
    while not is_true():
        if monotonic() > until:
            raise SystemExit(f"{what} did not happen within {LIMIT_S} s")
        sleep(0.2)


def go_on_to_tomorrow(installation: Any) -> None:
    """Set the clock to the next day, and wait until every hub was checked on it."""
    newest = installation.tables.rows("SELECT max(checked_at) FROM devices_node")[0][0]
    host = installation.hosts[0]
    host.set_clock(host.off_s + DAY_S)
    oldest = "SELECT min(checked_at) FROM devices_node"
    wait_for(
        lambda: installation.tables.rows(oldest)[0][0] > newest, "the daily check of every hub"
    )


def weight(installation: Any) -> Counter[str]:
    """Return the rows of each table, and the bytes of the database without its free pages."""
    ask = installation.tables.rows
    names = [row[0] for row in ask("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = Counter({name: ask(f'SELECT count(*) FROM "{name}"')[0][0] for name in names})
    pages = "pragma_page_count, pragma_freelist_count, pragma_page_size"
    found["bytes"] = ask(f"SELECT (page_count - freelist_count) * page_size FROM {pages}")[0][0]
    return found


def say_growth(what: str, before: Counter[str], after: Counter[str], times: int) -> float:
    """Print what one of them added to the database; return its bytes."""
    more = {name: (after[name] - before[name]) / times for name in after}
    rows = {name: f"{many:.2f}" for name, many in sorted(more.items()) if name != "bytes" and many}
    print(f"{what}: {more['bytes']:,.0f} bytes; rows: {rows}", flush=True)
    return more["bytes"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--quiet", type=int, default=0, help="days without installs afterwards")
    parser.add_argument("--homes", type=int, default=3)
    parser.add_argument("--hubs", type=int, default=8, help="of each home")
    parser.add_argument("--pace", type=float, default=60)
    chosen = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from tests.chaos.installation import Installation
    from tests.chaos.people import Diary, Person, Visitor, Watcher

    held: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    began = monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder,
        Installation(
            Path(folder),
            homes=chosen.homes,
            hubs=chosen.hubs,
            pace=chosen.pace,
            database_url="",
            broken="",
        ) as installation,
    ):
        diary, is_over, watcher = Diary(), threading.Event(), Watcher(installation)
        watcher.start()
        visitors = [Visitor(installation, n) for n in range(chosen.homes)]
        for visitor in visitors:
            visitor.get("/")
        people = [
            Person(
                installation,
                watcher,
                diary,
                node,
                index,
                visitors[index // chosen.hubs],
                "soak",
                is_over,
                ("happy", "percent"),
            )
            for index, node in enumerate(installation.cloud.node_ids())
        ]
        print("day  " + "  ".join(f"{name:>9}" for name in PROGRAMS) + "   MB", flush=True)
        for day in range(1, chosen.days + 1):
            wave = [
                threading.Thread(target=one.spend_a_day, args=(day,), daemon=True) for one in people
            ]
            for thread in wave:
                thread.start()
            for thread in wave:
                thread.join(LIMIT_S)
            go_on_to_tomorrow(installation)
            if day == min(SETTLED_ROWS, chosen.days):
                first = weight(installation)
            for name in PROGRAMS:
                held[name].append(held_mb(installation.hosts[0].of(name)))
            row = "  ".join(f"{held[name][-1]:9.1f}" for name in PROGRAMS)
            print(f"{day:3}  {row}", flush=True)
        if chosen.quiet:
            busy = weight(installation)
            for _ in range(chosen.quiet):
                go_on_to_tomorrow(installation)
            hubs = len(people)
            installs = hubs * (chosen.days - SETTLED_ROWS)
            each_day = say_growth(
                "a hub and quiet day", busy, weight(installation), hubs * chosen.quiet
            )
            each = say_growth("an install and its day", first, busy, installs)
            year = each_day * 365 + (each - each_day) * INSTALLS_A_YEAR
            print(f"a hub and year with {INSTALLS_A_YEAR} installs: {year / 1000:,.0f} KB")
        is_over.set()
        verdicts = dict(
            installation.tables.rows("SELECT state, count(*) FROM devices_otajob GROUP BY state")
        )
        watcher.is_over.set()
        watcher.join(90)
    print(f"{chosen.days} days in {monotonic() - began:.0f} s; installs: {verdicts}")
    flat = [_is_flat(name, held[name]) for name in PROGRAMS]  # each says its own
    return int(not all(flat))


def _is_flat(name: str, held: list[float]) -> bool:
    """Print how much more is held at the end; worker processes are replaced in between."""
    if len(held) < SETTLED + 10:
        return True
    early, late = median(held[SETTLED - 5 : SETTLED]), median(held[-5:])
    print(f"{name}: {early:.1f} MB, at the end {late:.1f} MB ({late / early - 1:+.1%})")
    return late <= early * (1 + GROWTH)


if __name__ == "__main__":
    sys.exit(main())
