"""The links by which a household answers a proposal.

Each person who is mailed gets a link of their own, and an answer by it is theirs. The proposer
never sees a link.
"""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from devices.models import Proposal, User
from devices.permissions import Right, may, may_answer
from devices.security.one_time_tokens import read, sign, standing

_PURPOSE = "proposal"


@dataclass(frozen=True, slots=True)
class Link:
    """What a link opens, and who answers for its use."""

    proposal: Proposal
    maker: User
    """Who proposed, or the member who made it to pass on."""
    recipient: User | None = None
    """The member it was mailed to; None when it was made to pass on."""

    @property
    def answers_as(self) -> User:
        """Return the member whose right an answer by this link uses."""
        return self.recipient or self.maker

    @property
    def name(self) -> str:
        """Return who answers, as the trail and the pages name them."""
        if self.recipient is not None:
            return f"{self.recipient.email} (by the mailed link)"
        return f"Someone with a link from {self.maker.email}"


def make_link(proposal: Proposal, *, maker: User, recipient: User | None = None) -> str:
    """Return the path of a link. It ends with the proposal, with the next `renew_link`, and with
    any change to the maker, the recipient or their roles.
    """
    facts = _facts(Link(proposal, maker, recipient))
    return reverse("proposal_answer", args=[sign(_PURPOSE, facts)])


def open_link(token: str) -> Link | None:
    """Return what this link opens, its proposal decided or not; None when it no longer works."""
    facts = read(_PURPOSE, token)
    if facts is None:
        return None
    rows = Proposal.objects.select_related("household", "node__account__household")
    proposal = rows.filter(pk=facts[0]).first()
    people = User.objects.in_bulk([pk for pk in facts[2:4] if pk])
    maker, recipient = (people.get(pk) for pk in facts[2:4])
    if proposal is None or maker is None or (recipient is None) != (facts[3] is None):
        return None
    link = Link(proposal, maker, recipient)
    return link if facts == _facts(link) and _is_backed(link) else None


def _facts(link: Link) -> list[Any]:
    household, people = link.proposal.household, (link.maker, link.recipient)
    stands = [standing(one, household) if one is not None else "" for one in people]
    recipient = link.recipient.pk if link.recipient is not None else None
    return [link.proposal.pk, link.proposal.token_digest[:16], link.maker.pk, recipient, *stands]


def _is_backed(link: Link) -> bool:
    """May the member still answer, and may the proposer still propose?"""
    household = link.proposal.household
    may_mail = link.recipient is None or may(link.maker, Right.PROPOSE, household)
    return may_mail and may_answer(link.answers_as, household)
