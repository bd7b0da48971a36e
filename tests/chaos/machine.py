"""One chaos run from beginning to end: attack, let it come to rest, and check the books."""

import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from tests.chaos.books import Books
from tests.chaos.enemy import Enemy
from tests.chaos.installation import Installation
from tests.chaos.people import LIVE, Diary, Person, Visitor, Watcher

REST_S = 900  # the longest back-off, and then the longest patience of the engine at this pace


@dataclass(frozen=True)
class Run:
    """What a run is to be like."""

    seed: str
    installs: int
    kills: int
    homes: int = 6
    hubs: int = 8
    pace: float = 60
    pause_s: float = 2.5
    limit_s: float = 3600
    database_url: str = ""
    broken: str = ""
    only_harms: tuple[str, ...] = ()
    only_courses: tuple[str, ...] = ()


@dataclass
class Result:
    """What came of it."""

    run: Run
    violations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def report(self) -> str:
        return "\n".join(
            [
                *self.lines,
                *(f"VIOLATION: {sentence}" for sentence in self.violations[:50]),
                f"{len(self.violations)} violations. Seed {self.run.seed}.",
            ]
        )


def play(run: Run) -> Result:
    """Play one run; the result has a violation for each law that was broken."""
    result = Result(run)
    with (
        tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder,
        Installation(
            Path(folder),
            homes=run.homes,
            hubs=run.hubs,
            pace=run.pace,
            database_url=run.database_url,
            broken=run.broken,
        ) as installation,
    ):
        _attack(run, installation, result)
    return result


def _attack(run: Run, installation: Installation, result: Result) -> None:
    began = monotonic()
    diary, is_over = Diary(), threading.Event()
    watcher = Watcher(installation)
    watcher.start()
    visitors = [Visitor(installation, installation.owner(home)) for home in range(run.homes)]
    for visitor in visitors:
        visitor.get("/")
    people = [
        Person(
            installation,
            watcher,
            diary,
            node,
            index,
            visitors[index // run.hubs],
            run.seed,
            is_over,
            run.only_courses,
        )
        for index, node in enumerate(installation.cloud.node_ids())
    ]
    enemy = Enemy(installation, run.seed, run.pause_s, run.only_harms)
    for one in (*people, enemy):
        one.start()
    while monotonic() - began < run.limit_s:
        sleep(1)
        if len(diary.accepted) >= run.installs and enemy.kills.total() >= run.kills:
            break
    else:
        result.violations.append(
            f"{len(diary.accepted)} installs and {enemy.kills.total()} kills in {run.limit_s:.0f} s"
        )
    attacked_s = monotonic() - began
    is_over.set()
    enemy.is_over.set()
    enemy.join(120)
    installation.start_again()
    installation.cloud.clear_faults()
    for person in people:
        person.join(90)
    problems = [*enemy.problems, *diary.problems]
    result.violations += [f"the machine itself: {words}" for words in problems]
    _rest(installation, result)
    watcher.is_over.set()
    watcher.join(90)
    books = Books.read(installation, diary)
    result.violations += books.violations()
    try:
        trail = installation.manage("verify_audit").strip().splitlines()[-1]
    except AssertionError as problem:
        result.violations.append(f"the audit trail does not verify: {problem}")
        trail = "not verified"
    result.lines = _told(run, enemy, diary, books, attacked_s, monotonic() - began, trail)


def _rest(installation: Installation, result: Result) -> None:
    """Wait until everything has its verdict; nobody does anything about it."""
    states = ", ".join(f"'{state}'" for state in LIVE)
    sql = f"SELECT count(*) FROM devices_otajob WHERE state IN ({states})"
    until = monotonic() + REST_S
    while installation.tables.rows(sql)[0][0]:
        if monotonic() > until:
            break  # the books name them
        sleep(1)
    if not installation.wait_until_ready(180):
        result.violations.append(f"/readyz says {installation.readiness()}")


def _told(
    run: Run, enemy: Enemy, diary: Diary, books: Books, attacked_s: float, all_s: float, trail: str
) -> list[str]:
    arrived = sum(one["accepted"] + one["ignored_busy"] for one in books.sent.values())
    again = sum(job.pushes > 1 for job in books.jobs.values())
    where = "PostgreSQL" if run.database_url else "SQLite"
    broken = f", broken on purpose: {run.broken}" if run.broken else ""
    return [
        f"{where}{broken}: {len(books.jobs)} installs of {run.homes * run.hubs} hubs, "
        f"{enemy.kills.total()} kills, {enemy.faults.total()} faults "
        f"in {attacked_s:.0f} s; at rest after {all_s - attacked_s:.0f} s more.",
        f"verdicts: {_list(books.by_verdict())}",
        f"kills: {_list(enemy.kills)}",
        f"faults: {_list(enemy.faults)}",
        f"people: {len(diary.accepted)} confirms shown as accepted, {_list(diary.counts)}",
        f"cloud: {arrived} pushes reached a hub; {again} installs were claimed more than once",
        *(f"  {course}: {_list(found)}" for course, found in sorted(books.by_course().items())),
        f"trail: {trail}",
    ]


def _list(counts: "dict[str, int]") -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
