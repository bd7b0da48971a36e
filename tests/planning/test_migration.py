"""Queues and nights of earlier versions become plans: what waited then goes on waiting."""

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

BEFORE = [("devices", "0037_check_indexes")]
IN_USE = '[{"code": "hub_in_use", "params": {}}]'
migration = import_module("devices.migrations.0042_queues_and_nights_become_plans")


def migrate(to: list[tuple[str, str]]) -> Any:
    executor = MigrationExecutor(connection)
    executor.migrate(to)
    return MigrationExecutor(connection).loader.project_state(to).apps


@pytest.fixture
def before() -> Any:
    """Yield the tables as they were, and bring them up to date again afterwards."""
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes("devices")
    yield migrate(BEFORE)
    migrate(newest)


@pytest.mark.django_db(transaction=True)
def test_what_waited_goes_on_waiting_and_history_is_kept(before: Any) -> None:
    def table(name: str) -> Any:
        return before.get_model("devices", name).objects

    now = timezone.now()
    user = table("User").create(email="ann@example.com", password="!")
    home = table("Household").create(name="Garden")
    account = table("CloudAccount").create(household=home, base_url="http://127.0.0.1:9")
    nodes = [
        table("Node").create(account=account, node_id=f"N{n}", name=f"Hub {n}") for n in range(7)
    ]
    binding = {"to_version": "5.3.3", "from_version": "5.3.2"}

    def queue(state: str, age_h: int) -> Any:
        return table("Batch").create(
            household=home,
            requested_by=user,
            requested_by_name=user.email,
            requested_at=now - timedelta(hours=age_h),
            expires_at=now + timedelta(hours=12 - age_h),
            state=state,
        )

    def member(batch: Any, position: int, node: Any, state: str, **fields: Any) -> None:
        table("BatchItem").create(
            batch=batch,
            node=node,
            position=position,
            hub_name=node.name,
            binding=binding,
            state=state,
            **fields,
        )

    def night(node: Any, state: str, **fields: Any) -> None:
        table("Proposal").create(
            household=home,
            node=node,
            hub_name=node.name,
            binding=binding,
            proposed_by_name="sam@support.example",
            token_digest=f"{node.pk:064}",
            expires_at=now + timedelta(days=2),
            state=state,
            decided_at=now,
            decided_by=user,
            decided_by_name="ann@example.com (by the mailed link)",
            decided_role="link",
            **fields,
        )

    job = table("OtaJob").create(
        household=home,
        node=nodes[0],
        cloud_host="127.0.0.1:9",
        cloud_node_id="N0",
        hub_name="Hub 0",
        ota_job_id="J",
        to_version="5.3.3",
        requested_by_name=user.email,
        expires_at=now,
    )
    running, over = queue("running", 1), queue("finished", 20)
    member(running, 1, nodes[0], "started", job=job, settled_at=now)
    member(running, 2, nodes[1], "skipped", reason=IN_USE, settled_at=now)
    member(running, 3, nodes[2], "waiting")
    member(running, 4, nodes[3], "waiting")
    member(over, 1, nodes[2], "waiting")
    member(over, 2, nodes[4], "dropped", settled_at=now)
    begins, ends = now + timedelta(hours=2), now + timedelta(hours=9)
    night(nodes[3], "tonight", next_try_at=begins, try_until=ends)
    night(nodes[5], "missed", try_until=now, why_not=IN_USE)
    night(nodes[6], "declined")

    newest = MigrationExecutor(connection).loader.graph.leaf_nodes("devices")
    after = migrate(newest)
    plans = after.get_model("devices", "Plan").objects.order_by("node_id", "pk")
    found = [(one.hub_name, one.batch_id, one.state, one.drop_reason) for one in plans]
    assert found == [
        ("Hub 0", running.pk, "started", ""),
        ("Hub 1", running.pk, "dropped", "refused"),
        ("Hub 2", running.pk, "waiting", ""),
        ("Hub 2", over.pk, "expired", ""),
        ("Hub 3", None, "waiting", ""),
        ("Hub 3", running.pk, "dropped", "replaced"),
        ("Hub 4", over.pk, "expired", ""),
        ("Hub 5", None, "expired", ""),
    ]
    assert plans.get(state="started").job_id == job.pk
    assert plans.get(drop_reason="refused").reason == IN_USE
    assert plans.get(node_id=nodes[5].pk).reason == IN_USE
    tonight = plans.get(state="waiting", batch=None)
    assert (tonight.next_look_at, tonight.expires_at) == (begins, ends)
    assert tonight.requested_role == "link"
    assert tonight.binding == binding
    in_queue = plans.get(state="waiting", batch_id=running.pk)
    assert (in_queue.expires_at, in_queue.position) == (running.expires_at, 3)
    assert in_queue.requested_by_id == user.pk
