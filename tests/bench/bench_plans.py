"""What waiting plans cost: finding what is due, one look, and the page, with 50 and 50,000 of them.

python -m tests.bench.bench_plans            (SQLite; DATABASE_URL names another)
"""

import os
import time
from collections.abc import Callable
from typing import Any

import django

from tests.bench.bench_readings import Counter

FEW, MANY, ON_A_PAGE = 50, 50_000, 1000
ROUNDS = 50
LIMIT_MS, PAGE_LIMIT_MS = 5, 50


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    if url := os.environ.get("DATABASE_URL"):
        os.environ["TEST_RUN_DATABASE_URL"] = url
    django.setup()
    from django.db import connection

    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        for waiting in (FEW, MANY):
            _fill(waiting)
            _measure(waiting, connection)
        _measure_page(connection)
    finally:
        connection.creation.destroy_test_db(str(connection.settings_dict["NAME"]), verbosity=0)


def _fill(waiting: int) -> None:
    """Let so many hubs wait for the night: of a household each, as far as there are hundreds."""
    from datetime import timedelta

    from django.utils import timezone

    from devices.models import CloudAccount, Household, Node, Plan
    from tests.support.factories import make_account

    now = timezone.now()
    while (have := Plan.objects.count()) < waiting:
        account = make_account()
        hubs = [
            Node(account=account, node_id=f"N{have + n}", name=f"Hub {n}", fw_version="5.3.2")
            for n in range(min(FEW, waiting - have))
        ]
        Plan.objects.bulk_create(
            Plan(
                household=account.household,
                node=node,
                hub_name=node.name,
                binding={"from_version": "5.3.2", "to_version": "5.3.3"},
                requested_by_name="owner@example.com",
                when="tonight",
                window_start="22:00",
                window_end="05:00",
                not_before=now,
                expires_at=now + timedelta(days=14),
                next_look_at=now + timedelta(hours=6),
            )
            for node in Node.objects.bulk_create(hubs)
        )
    assert CloudAccount.objects.count() <= Household.objects.count()


def _measure(waiting: int, connection: Any) -> None:
    from django.utils import timezone

    from devices.models import Plan
    from devices.planning import planner

    if connection.vendor == "postgresql":
        connection.cursor().execute("ANALYZE")
    now = timezone.now()
    found = _timed(lambda: list(Plan.objects.due(now).values_list("pk")[:100]), connection)
    print(f"{waiting:>6} waiting, find what is due   {found[0]:6.2f} ms, {found[1]} query")
    look = _timed(lambda: planner.advance(now), connection)
    print(f"{waiting:>6} waiting, one look           {look[0]:6.2f} ms, {look[1]} queries")
    assert found[0] <= LIMIT_MS, f"finding what is due takes more than {LIMIT_MS} ms"
    assert found[1] == 1, "finding what is due is one query"


def _measure_page(connection: Any) -> None:
    """The page Planned of a household with a thousand plans, twenty-five at a time."""
    from devices.models import Household, Plan
    from tests.support.client import Client
    from tests.support.factories import make_owner, sign_in

    household = Household.objects.order_by("pk")[0]
    rows = Plan.objects.order_by("pk").values("pk")[:ON_A_PAGE]
    Plan.objects.filter(pk__in=[row["pk"] for row in rows]).update(household=household)
    client = sign_in(Client(), make_owner(household))

    def page() -> None:
        assert client.get("/planned/", headers={"host": "localhost"}).status_code == 200

    took = _timed(page, connection, rounds=9)
    print(f"{ON_A_PAGE:>6} on the page Planned        {took[0]:6.2f} ms, {took[1]} queries")
    assert took[0] <= PAGE_LIMIT_MS, f"the page takes more than {PAGE_LIMIT_MS} ms"


def _timed(call: Callable[[], Any], connection: Any, rounds: int = ROUNDS) -> tuple[float, int]:
    """Return the median of the milliseconds, and the queries of one call."""
    counted = Counter()
    with connection.execute_wrapper(counted):
        call()
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        call()
        spent.append((time.process_time() - began) * 1000)
    return sorted(spent)[rounds // 2], counted.queries


if __name__ == "__main__":
    main()
