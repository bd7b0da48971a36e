"""The links by which a household answers proposals.

Each person who is mailed gets a link of their own, and an answer by it is theirs. What is proposed
to a household at once has one link. The proposer never sees a link.
"""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from devices.models import Household, Notice, Proposal, User
from devices.models.proposal import ProposalQuerySet
from devices.permissions import Right, may, may_answer
from devices.security.one_time_tokens import read, sign, standing

_ONE, _SEVERAL = "proposal", "proposals"


@dataclass(frozen=True, slots=True)
class Link:
    """What a link opens, and who answers for its use."""

    proposals: tuple[Proposal, ...]
    """Decided or not; at least one."""
    maker: User
    """Who proposed, or the member who made it to pass on."""
    recipient: User | None = None
    """The member it was mailed to; None when it was made to pass on."""

    @property
    def household(self) -> Household:
        return self.proposals[0].household

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

    @property
    def is_backed(self) -> bool:
        """May the member still answer, and may the proposer still propose?"""
        may_mail = self.recipient is None or may(self.maker, Right.PROPOSE, self.household)
        return may_mail and may_answer(self.answers_as, self.household)


def make_link(proposal: Proposal, *, maker: User, recipient: User | None = None) -> str:
    """Return the path of a link. It ends with the proposal, with the next `renew_link`, and with
    any change to the maker, the recipient or their roles.
    """
    facts = [proposal.pk, proposal.mark, *_people(Link((proposal,), maker, recipient))]
    return reverse("proposal_answer", args=[sign(_ONE, facts)])


def make_common_link(notice: Notice, link: Link) -> str:
    """Return the path of one link to all proposals of a notice: see `common_link`."""
    return reverse("proposal_answer", args=[sign(_SEVERAL, [notice.pk, "", *_people(link)])])


def common_link(notice: Notice, *, maker: User, recipient: User) -> Link | None:
    """Return what one link to all proposals of a notice opens: those for which no newer link was
    made. None without any. One query.
    """
    rows = _rows().filter(notice=notice).order_by("hub_name", "pk")
    found = tuple(one for one in rows if one.mark in notice.facts.get("links", []))
    return Link(found, maker, recipient) if found else None


def open_link(token: str) -> Link | None:
    """Return what this link opens; None when it no longer works."""
    if (facts := read(_ONE, token)) is not None:
        link = _of_one(facts)
    else:
        facts = read(_SEVERAL, token)
        link = _of_several(facts) if facts is not None else None
    if link is None or facts is None or facts[2:] != _people(link):
        return None
    return link if link.is_backed else None


def _of_one(facts: list[Any]) -> Link | None:
    pk, mark, maker, recipient = _read(facts)
    proposal = _rows().filter(pk=pk).first()
    if proposal is None or proposal.mark != mark or maker is None:
        return None
    return Link((proposal,), maker, recipient)


def _of_several(facts: list[Any]) -> Link | None:
    pk, _, maker, recipient = _read(facts)
    notice = Notice.objects.filter(pk=pk).first()
    if notice is None or maker is None or recipient is None:
        return None
    return common_link(notice, maker=maker, recipient=recipient)


def _read(facts: list[Any]) -> tuple[Any, Any, User | None, User | None]:
    people = User.objects.in_bulk([pk for pk in facts[2:4] if pk])
    return facts[0], facts[1], people.get(facts[2]), people.get(facts[3])


def _rows() -> ProposalQuerySet:
    return Proposal.objects.select_related("household", "node__account__household", "plan")


def _people(link: Link) -> list[Any]:
    """Return who made the link and for whom, and how they stand."""
    stands = [
        standing(one, link.household) if one is not None else ""
        for one in (link.maker, link.recipient)
    ]
    recipient = link.recipient.pk if link.recipient is not None else None
    return [link.maker.pk, recipient, *stands]
