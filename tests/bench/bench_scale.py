"""Live installs followed by several hosts, while many accounts are read for the first time.

python -m tests.bench.bench_scale [--hosts 2] [--live 2000] [--new-accounts 400] [--seconds 60]

Each host is a `manage.py start` of its own, with a data folder and a host name of its own. They
share keys, a fresh PostgreSQL database and a simulated cloud that answers after 100 ms. Every
install runs for the whole time and is asked for every 6 s. Prints how late the latest poll was, how
many polls there were, what they cost and how long the readings took. Judges nothing.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
import psutil

from tests.chaos.host import Host
from tests.chaos.installation import NAMES, keys
from tests.support import services
from tests.support.simcloud_process import SimCloud

LATENCY_MS, INTERVAL_S, HUBS_OF_ACCOUNT, LIMIT_S = 100, 6, 100, 1200
PASSWORD = "quiet-evening"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=2, choices=range(1, len(NAMES) + 1))
    parser.add_argument("--live", type=int, default=2000)
    parser.add_argument("--new-accounts", type=int, default=400, help="of one hub each")
    parser.add_argument("--seconds", type=float, default=60)
    chosen = parser.parse_args()
    known = [
        f"garden{n}@example.com:{PASSWORD}:{HUBS_OF_ACCOUNT}"
        for n in range(chosen.live // HUBS_OF_ACCOUNT)
    ]
    new = [f"new{n}@example.com:{PASSWORD}:1" for n in range(chosen.new_accounts)]
    hubs = HUBS_OF_ACCOUNT * len(known) + len(new)
    with (
        services.fresh_database() as url,
        tempfile.TemporaryDirectory(prefix="scale-", ignore_cleanup_errors=True) as folder,
        SimCloud(hubs=hubs, offers=1, users=[*known, *new], latency_ms=LATENCY_MS) as cloud,
    ):
        shared = keys() | {"DATABASE_URL": url, "ALLOWED_CLOUDS": "loopback"}
        os.environ.update(shared, ENV_FILE="", DATA_DIR=f"{folder}/here")
        os.environ["DJANGO_SETTINGS_MODULE"] = "thermacell_web.settings"
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        hosts = [Host(Path(folder) / name, shared, name=name) for name in NAMES[: chosen.hosts]]
        try:
            measure(cloud, hosts, known, new, chosen.seconds)
        finally:
            for host in hosts:
                host.clear()


def measure(
    cloud: SimCloud, hosts: list[Host], known: list[str], new: list[str], seconds: float
) -> None:
    """Link the accounts, install on all of their hubs, and follow that for a while."""
    from django.db.models import F, Max
    from django.utils import timezone

    from devices.accounts.linking import link_account
    from devices.models import CloudAccount, Node, OtaJob, State
    from tests.support.engine import confirm
    from tests.support.factories import make_household, make_owner, person

    for node_id in cloud.node_ids():
        cloud.set_online(node_id, True)
        cloud.set_scenario(node_id, "slow", factor=30)
    household = make_household("Hotel")
    owner = make_owner(household)
    for user in [*new, *known]:
        email = user.partition(":")[0]
        link_account(
            household=household,
            base_url=cloud.url,
            email=email,
            password=PASSWORD,
            actor=person(owner),
        )
    later = timezone.now() + timedelta(days=1)
    waiting = CloudAccount.objects.filter(email__startswith="new")
    waiting.update(next_sync_at=later)
    live = HUBS_OF_ACCOUNT * len(known)
    for host in hosts:
        host.start()
    took_s = until(lambda: Node.objects.exclude(checked_at=None).count() == live)
    print(f"{live} hubs read and checked for the first time: {live / took_s:.0f} a second")
    for node in Node.objects.order_by("pk"):
        confirm(owner, node)
    took_s = until(lambda: not OtaJob.objects.filter(pushed_at=None).exists())
    print(f"the last of {live} installs was sent {took_s:.0f} s after the last confirmation")
    time.sleep(2 * INTERVAL_S)

    waiting.update(next_sync_at=timezone.now())
    spent, asked, began = cpu_s(hosts), polls(cloud), time.monotonic()
    late_s, read_s = [], 0.0
    while time.monotonic() - began < seconds:
        oldest = OtaJob.objects.filter(state=State.RUNNING).aggregate(
            late=Max(timezone.now() - F("next_poll_at"))
        )["late"]
        late_s.append(oldest.total_seconds())
        if not read_s and not waiting.filter(synced_at=None).exists():
            read_s = time.monotonic() - began
        time.sleep(1)
    took_s = time.monotonic() - began
    asked, spent = polls(cloud) - asked, cpu_s(hosts) - spent
    print(
        f"{OtaJob.objects.filter(state=State.RUNNING).count()} live installs on {len(hosts)} "
        f"hosts for {took_s:.0f} s: {asked / took_s:.0f} polls a second, "
        f"{live / INTERVAL_S:.0f} were due; the latest {max(late_s):.1f} s after its time, "
        f"in the middle of the run {sorted(late_s)[len(late_s) // 2]:.1f} s"
    )
    print(
        f"{spent / took_s:.2f} cores, {spent / asked * 1000:.1f} ms CPU a poll, all else included"
    )
    words = f"{read_s:.0f} s" if read_s else f"not all within {took_s:.0f} s"
    print(f"{len(new)} accounts read for the first time meanwhile: {words}")


def until(is_so: Callable[[], bool]) -> float:
    """Wait until it is so; return the seconds that took."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < LIMIT_S, "this takes too long"
        time.sleep(0.5)
    return time.monotonic() - began


def cpu_s(hosts: list[Host]) -> float:
    """Return what all processes of these hosts have used so far."""
    total = 0.0
    for host in hosts:
        for process in host.everything():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
    return total


def polls(cloud: Any) -> int:
    """Return how often the cloud was asked for the status of an update."""
    counts = cloud.counters()["requests"]
    return sum(count for name, count in counts.items() if name.endswith("/ota_status"))


if __name__ == "__main__":
    main()
