"""A household in Berlin with a hub that an owner plans an update for."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from devices.installs.confirmation import snapshot_offer
from devices.models import Household, Node, OtaJob, Plan, User, When
from devices.planning import planner, plans
from tests.support.factories import (
    make_account,
    make_household,
    make_node,
    make_offer,
    make_owner,
    person,
)

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    """Return this time on the household's clock."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


NOON, NIGHT, MORNING = (at(f"2026-06-0{day}") for day in ("1T12:00", "1T23:00", "2T08:00"))


class Home:
    """A household with hubs, each with an offer."""

    def __init__(self, hubs: int = 1, zone: str = "Europe/Berlin") -> None:
        self.household: Household = make_household("Garden house", time_zone=zone)
        self.owner: User = make_owner(self.household)
        self.account = make_account(self.household)
        self.nodes = [make_node(self.account, name=f"Hub {n}") for n in range(1, hubs + 1)]
        for node in self.nodes:
            make_offer(node)

    @property
    def node(self) -> Node:
        return self.nodes[0]

    def plan(
        self,
        when: When = When.TONIGHT,
        now: datetime = NOON,
        *,
        node: Node | None = None,
        clock: datetime | None = None,
        user: User | None = None,
    ) -> Plan:
        node, user = node or self.node, user or self.owner
        assert node.offer is not None
        timing = plans.timing_of(when, self.household, now, clock)
        binding = snapshot_offer(node, node.offer)
        return plans.plan_install(node, binding, timing, user=user, actor=person(user), now=now)

    def set(self, node: Node | None = None, **facts: Any) -> None:
        """Let a reading of the account say this of the hub, at a time when nothing else is due."""
        Node.objects.filter(pk=(node or self.node).pk).update(**facts)


def look(now: datetime, plan: Plan | None = None) -> list[OtaJob]:
    """Let the worker look once, at everything that waits; return the installs there are."""
    Plan.objects.waiting().update(next_look_at=now)
    planner.advance(now)
    if plan is not None:
        plan.refresh_from_db()
    return list(OtaJob.objects.order_by("pk"))
