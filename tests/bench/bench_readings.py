"""What it costs to store the cloud's list of hubs: CPU and queries a hub, first and again.

python -m tests.bench.bench_readings            (SQLite; DATABASE_URL names another)
"""

import os
import time
from collections.abc import Iterator
from typing import Any

import django

HUBS, PAGE = 1000, 100


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    if url := os.environ.get("DATABASE_URL"):
        os.environ["TEST_RUN_DATABASE_URL"] = url
    django.setup()
    from django.db import connection

    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        for what, took_ms, queries in _measured(connection):
            print(f"{what:<26} {took_ms / HUBS:5.2f} ms CPU, {queries / HUBS:4.2f} queries a hub")
    finally:
        connection.creation.destroy_test_db(str(connection.settings_dict["NAME"]), verbosity=0)


def _measured(connection: Any) -> Iterator[tuple[str, float, int]]:
    from django.utils import timezone

    from devices.fleet.sync import keep_page
    from devices.models import CloudAccount
    from devices.rainmaker.parsers import read_nodes_page
    from tests.support.factories import make_account

    account = make_account()

    def read(**changes: Any) -> tuple[float, int]:
        pages = [
            read_nodes_page(_page(first, is_last=first + PAGE >= HUBS, **changes))
            for first in range(0, HUBS, PAGE)
        ]
        counted = Counter()
        with connection.execute_wrapper(counted):
            began = time.process_time()
            for page in pages:
                fresh = CloudAccount.objects.select_related("household").get(pk=account.pk)
                keep_page(fresh, page, timezone.now(), asked_at=timezone.now())
            took = (time.process_time() - began) * 1000
        return took, counted.queries

    yield "first reading", *read()
    yield "again, nothing new", *read()
    yield "again, signal and run time", *read(rssi=-61, runtime=7)
    yield "again, all went offline", *read(connected=False)


class Counter:
    """Counts the statements that pass through it."""

    def __init__(self) -> None:
        self.queries = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.queries += 1
        return execute(sql, params, many, context)


def _page(
    first: int, *, is_last: bool, rssi: int = -60, runtime: int = 6, connected: bool = True
) -> dict[str, Any]:
    ids = [f"N{number:06d}" for number in range(first, first + PAGE)]
    since = {True: 1780000000000, False: 1780000900000}[connected]
    details = [
        {
            "id": node_id,
            "role": "primary",
            "status": {"connectivity": {"connected": connected, "timestamp": since}},
            "config": {
                "node_id": node_id,
                "info": {"name": "Hub", "fw_version": "5.3.2", "model": "thermacell-hub"},
            },
            "params": {
                "LIV Hub": {
                    "Name": f"Hub {node_id}",
                    "Hub ID": f"S{node_id}",
                    "RSSI": rssi,
                    "System Runtime": runtime,
                    "System Status": 1,
                    "Refill Life": 80,
                    "Enable Repellers": False,
                }
            },
        }
        for node_id in ids
    ]
    answer: dict[str, Any] = {"nodes": ids, "node_details": details, "total": HUBS}
    return answer if is_last else answer | {"next_id": ids[-1]}


if __name__ == "__main__":
    main()
