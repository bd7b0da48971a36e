"""What the engine costs: CPU of a first reading with its check, of a check without news, of a push
and of a status poll.

python -m tests.bench.bench_engine              (SQLite; DATABASE_URL names another)

The worker's loops run in this process, against a simulated cloud in another one that answers after
100 ms. CPU is that of this process, calls to the cloud over HTTP included.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import django

ACCOUNTS, LATENCY_MS = 10, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hubs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--profile", action="store_true", help="print where the time of polls goes")
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    if url := os.environ.get("DATABASE_URL"):
        os.environ["TEST_RUN_DATABASE_URL"] = url
    django.setup()
    from django.db import connection

    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        measure(options.hubs, options.seconds, is_profiled=options.profile)
    finally:
        connection.creation.destroy_test_db(str(connection.settings_dict["NAME"]), verbosity=0)


def measure(hubs: int, seconds: float, *, is_profiled: bool) -> None:
    """Link the accounts, check their hubs, install on all of them, and follow that for a while."""
    from django.utils import timezone

    from devices.accounts.linking import link_account
    from devices.models import Node, OtaJob, State
    from tests.support.engine import PASSWORD, confirm
    from tests.support.factories import make_household, make_owner, person
    from tests.support.simcloud_process import SimCloud

    emails = [f"garden{number}@example.com" for number in range(ACCOUNTS)]
    users = [f"{email}:{PASSWORD}:{hubs // ACCOUNTS}" for email in emails]
    with SimCloud(hubs=hubs, offers=1, users=users, latency_ms=LATENCY_MS) as cloud:
        for node_id in cloud.node_ids():
            cloud.set_online(node_id, True)
            cloud.set_scenario(node_id, "slow", factor=30)
        household = make_household()
        owner = make_owner(household)
        for email in emails:
            link_account(
                household=household,
                base_url=cloud.url,
                email=email,
                password=PASSWORD,
                actor=person(owner),
            )

        def are_checked() -> bool:
            return Node.objects.filter(checked_at__isnull=False).count() == hubs

        checked = run(are_checked, 300)
        a_second = hubs / checked.wall_s
        print(f"first check: {checked.cpu_ms / hubs:.1f} ms CPU a hub, {a_second:.0f} a second")
        began = timezone.now()
        Node.objects.update(next_check_at=began)
        again = run(lambda: not Node.objects.filter(checked_at__lt=began).exists(), 300)
        print(f"check again: {again.cpu_ms / hubs:.1f} ms CPU, {hubs / again.wall_s:.0f} a second")
        for node in Node.objects.order_by("pk"):
            confirm(owner, node)
        sent = run(lambda: not OtaJob.objects.filter(pushed_at=None).exists(), 300)
        a_second = hubs / sent.wall_s
        print(f"push: {sent.cpu_ms / hubs:.1f} ms CPU an install, {a_second:.0f} a second")
        before = polls(cloud)
        followed = run(lambda: False, seconds, is_profiled=is_profiled)
        asked = polls(cloud) - before
        assert OtaJob.objects.filter(state=State.RUNNING).count() == hubs
        print(f"poll: {followed.cpu_ms / asked:.1f} ms CPU, {asked / followed.wall_s:.0f} a second")
        due = seconds / 6 * hubs
        print(f"      {asked} of about {due:.0f} that were due in {seconds:.0f} s")


class Cost:
    """CPU and time of a piece of work."""

    def __init__(self) -> None:
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()
        self.cpu_ms = self.wall_s = 0.0

    def ends(self) -> "Cost":
        self.cpu_ms = (time.process_time() - self._cpu_s) * 1000
        self.wall_s = time.monotonic() - self._wall_s
        return self


def run(is_done: Callable[[], bool], limit_s: float, *, is_profiled: bool = False) -> Cost:
    """Run both loops in turn until it is done, or the time is over."""
    import cProfile
    import pstats

    from tests.support.engine import run_until

    ends_at, cost = time.monotonic() + limit_s, Cost()
    profile = cProfile.Profile()
    if is_profiled:
        profile.enable()
    run_until(lambda: is_done() or time.monotonic() > ends_at, limit_s=limit_s + 60)
    cost.ends()
    if is_profiled:
        profile.disable()
        pstats.Stats(profile).sort_stats("cumulative").print_stats(70)
    return cost


def polls(cloud: Any) -> int:
    """Return how often the cloud was asked for the status of an update."""
    counts = cloud.counters()["requests"]
    return sum(count for name, count in counts.items() if name.endswith("/ota_status"))


if __name__ == "__main__":
    main()
