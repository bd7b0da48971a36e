"""A household whose hubs wait in a queue."""

from typing import Any

from django.utils import timezone

from devices.installs.confirmation import snapshot_offer
from devices.models import Batch, Node, OtaJob, Plan, State
from devices.planning import queues
from tests.support.factories import (
    make_account,
    make_household,
    make_node,
    make_offer,
    make_owner,
    person,
)


class Home:
    def __init__(self, hubs: int = 3) -> None:
        self.household = make_household("Garden house")
        self.owner = make_owner(self.household)
        account = make_account(self.household)
        self.nodes = [make_node(account, name=f"Hub {n}") for n in range(1, hubs + 1)]
        for node in self.nodes:
            make_offer(node)

    def request(self, **options: Any) -> Batch:
        values: dict[str, Any] = {"at_once": 1, "stops_on_failure": True}
        return queues.request(
            user=self.owner,
            household=self.household,
            chosen=[(node, snapshot_offer(node, offered(node))) for node in self.nodes],
            actor=person(self.owner),
            **values | options,
        )


def offered(node: Node) -> Any:
    assert node.offer is not None
    return node.offer


def states(batch: Batch) -> list[str]:
    return [
        item.job.state if item.job is not None else item.state
        for item in batch.items.select_related("job")
    ]


def end(batch: Batch, position: int, state: State) -> None:
    job = batch.items.get(position=position).job
    assert job is not None
    now = timezone.now()
    OtaJob.objects.filter(pk=job.pk).update(state=state, ended_at=now)
    Plan.objects.wake_after_install(job, now)
