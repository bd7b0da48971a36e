"""A household that lets support in, and what support proposes to it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from devices.installs.confirmation import snapshot_offer
from devices.models import Household, Node, Proposal, StaffRole, User
from devices.planning import proposals
from devices.planning.proposal_links import make_link
from devices.worker import cloud_tasks
from devices.worker.runner import Taken
from tests.support.factories import (
    make_account,
    make_household,
    make_node,
    make_offer,
    make_owner,
    make_user,
    person,
)

EVENING = datetime(2026, 6, 1, 19, 30, tzinfo=UTC)


class Home:
    """A household that lets support in, with one hub that is offered something."""

    def __init__(self, **fields: Any) -> None:
        self.household = make_household("Garden house", **fields)
        Household.objects.filter(pk=self.household.pk).update(
            support_until=timezone.now() + timedelta(days=400)
        )
        self.owner = make_owner(self.household)
        known = User.objects.filter(email="sam@support.example").first()
        self.support = known or make_user("sam@support.example", staff_role=StaffRole.SUPPORT)
        self.node = make_node(make_account(self.household), name="Back porch")
        self.offer = make_offer(self.node)

    def propose(self, words: str = "It mends the lamp.") -> tuple[Proposal, str]:
        """Let support propose; return the proposal and the path of the link mailed to the owner."""
        proposal = proposals.propose(
            Node.objects.select_related("account__household").get(pk=self.node.pk),
            user=self.support,
            binding=snapshot_offer(self.node, self.offer),
            words=words,
            recipients=[],
            actor=person(self.support, "support"),
        )
        return proposal, make_link(proposal, maker=self.support, recipient=self.owner)


def state_of(proposal: Proposal) -> str:
    proposal.refresh_from_db()
    return proposal.state


def turn(now: datetime) -> None:
    """Let the worker's loop look once."""
    cloud_tasks.advance_installs(now, Taken())
