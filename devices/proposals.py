"""Support proposes, the household decides: now, tonight, or not this one.

A link opens one proposal, once, and is sent to people of the household alone: whoever proposed
never sees it. What was accepted goes the way of every confirmation and is held against the cloud's
offer again before anything is sent.
"""

from dataclasses import asdict
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy, override

from devices import installs
from devices.confirm import Binding, bind
from devices.models import (
    Actor,
    Household,
    Node,
    OtaJob,
    Outcome,
    Proposal,
    ProposalState,
    Role,
    Topic,
    User,
    audit,
    tell,
)
from devices.models.invitation import digest_of, make_token
from devices.models.proposal import VALID_FOR
from devices.policies import Reason, Right, may, told_together, why_unfit

# When a household is taken to sit outside no more, and when the night is over, by its own clock.
NIGHT_BEGINS, NIGHT_ENDS = time(22), time(5)
TRY_EVERY = timedelta(minutes=1)
# What open pages say of a proposal: when it changes, they are told.
SHOWN = ("state", "why_not")
WORKER = Actor.worker()


class Decision(StrEnum):
    NOW = "now"
    TONIGHT = "tonight"
    NO = "no"


class NotPossible(Exception):
    """What was asked for cannot be done; nothing was changed or sent. str() is a sentence."""


def propose(
    node: Node,
    *,
    user: User,
    binding: Binding,
    words: str,
    recipients: list[User],
    actor: Actor,
    now: datetime | None = None,
) -> tuple[Proposal, str]:
    """Return a new proposal and the token of its link, which is kept nowhere. An older undecided
    one for the same hub ends. Raises NotPossible.
    """
    now = now or timezone.now()
    household = node.account.household
    if node.account.is_unlinked:
        raise NotPossible(gettext_lazy("The cloud account of this hub is unlinked."))
    with transaction.atomic():
        audit.lock()
        offer = node.offers.filter(ended_at=None).first()
        if offer is None or binding.node_id != node.pk or binding.differences(bind(node, offer)):
            raise NotPossible(
                gettext_lazy("What the cloud offers is no longer what the form showed.")
            )
        for older in node.proposals.filter(state__in=[ProposalState.OPEN, ProposalState.TONIGHT]):
            _end(older, ProposalState.WITHDRAWN, actor, "was replaced by a newer proposal", now)
        token = make_token()
        proposal = Proposal.objects.create(
            household=household,
            node=node,
            hub_name=str(node),
            binding=asdict(binding),
            description=offer.description,
            words=words,
            proposed_by=user,
            proposed_by_name=actor.name,
            mailed_to=", ".join(masked(one.email) for one in recipients)[:300],
            token_digest=digest_of(token),
            created_at=now,
            expires_at=now + VALID_FOR,
        )
        node.touch(now)
        _record(
            proposal,
            actor,
            "proposal.made",
            f"{actor.name} proposed {binding.to_version} for {node} to {household}.",
            now,
        )
        tell(
            Topic.NEEDS_YOU,
            household=household,
            path=reverse("proposal", args=[proposal.pk]),
            now=now,
            accounts=[node.account],
            by_mail=not recipients,  # who gets the link by mail needs no second one
            hub=str(node),
            words=f"{actor.name} proposes {binding.to_version} for {node}. You decide.",
        )
    return proposal, token


def recipients_of(household: Household) -> list[User]:
    """Return who may be sent the link: those who may install there, staff left out."""
    mine = household.memberships.filter(role__in=[Role.OWNER, Role.MEMBER], user__is_active=True)
    people = [one.user for one in mine.select_related("user").order_by("user__email")]
    return [one for one in people if not one.staff_role]


def by_token(token: str) -> Proposal | None:
    """Return the proposal that this link opens, decided or not; None for no link of ours."""
    found = Proposal.objects.filter(token_digest=digest_of(token))
    return found.select_related("household", "node__account__household").first()


def renew_link(proposal: Proposal, *, actor: Actor, now: datetime | None = None) -> str:
    """Return the token of a fresh link, to be passed on; older links end. Raises NotPossible."""
    now = now or timezone.now()
    token = make_token()
    with transaction.atomic():
        audit.lock()
        if not proposal.change(was=ProposalState.OPEN, token_digest=digest_of(token)):
            raise NotPossible(gettext_lazy("This proposal waits for no answer any more."))
        _record(
            proposal,
            actor,
            "proposal.link_made",
            f"{actor.name} made a link to pass on, for {proposal}.",
            now,
        )
    return token


def why_not_decide(proposal: Proposal, user: User | None, now: datetime) -> list[Reason]:
    """Return why this person, or whoever holds the link (None), cannot answer; empty when they
    can.
    """
    reasons = []
    if user is not None and user.staff_role:
        reasons.append(Reason("is_staff", "Staff cannot answer for a household."))
    elif user is not None and _looks_only(user, proposal.household):
        reasons.append(Reason("no_right", "Your role here may look, but not decide."))
    if not proposal.is_open or proposal.expires_at <= now:
        reasons.append(Reason("over", "This proposal waits for no answer any more."))
    return reasons


def _looks_only(user: User, household: Household) -> bool:
    belongs = household.memberships.filter(user=user).exists()
    return belongs and not may(user, Right.INSTALL, household)


def tonight(household: Household, now: datetime) -> tuple[datetime, datetime]:
    """Return when the household's coming night begins, at once when it is night, and ends."""
    try:
        zone = ZoneInfo(household.time_zone)
    except (KeyError, ValueError, OSError):
        zone = ZoneInfo("UTC")
    local = now.astimezone(zone)
    today = local.date()
    if local.time() < NIGHT_ENDS:
        return now, datetime.combine(today, NIGHT_ENDS, zone)
    begins = datetime.combine(today, NIGHT_BEGINS, zone)
    return max(begins, now), datetime.combine(today + timedelta(days=1), NIGHT_ENDS, zone)


def decide(
    proposal: Proposal,
    decision: Decision,
    *,
    user: User | None,
    actor: Actor,
    now: datetime | None = None,
) -> Proposal:
    """Carry out the answer; user None is whoever holds the link. Raises NotPossible, with the
    proposal as it was, when it cannot be done; the refusal is in the trail.
    """
    now = now or timezone.now()
    try:
        with transaction.atomic():
            audit.lock()
            _answer(proposal, decision, user, actor, now)
    except NotPossible as why:
        proposal.refresh_from_db()
        with override(settings.LANGUAGE_CODE):  # the trail is kept in one language
            sentence = f"An answer of {actor.name} to the proposal of {proposal} was refused: {why}"
        _record(proposal, actor, "proposal.answer_refused", sentence, now, Outcome.REFUSED)
        raise
    return proposal


def _answer(
    proposal: Proposal, decision: Decision, user: User | None, actor: Actor, now: datetime
) -> None:
    if reasons := why_not_decide(proposal, user, now):
        raise NotPossible(told_together(reasons))
    answered: dict[str, Any] = {
        "decided_at": now,
        "decided_by": user,
        "decided_by_name": actor.name,
        "decided_role": actor.role,
    }
    if decision is Decision.NO:
        _changed(proposal, now, state=ProposalState.DECLINED, **answered)
        words = f"{actor.name} does not want {proposal}."
        _record(proposal, actor, "proposal.declined", words, now, Outcome.REFUSED)
    elif decision is Decision.TONIGHT:
        begins, ends = tonight(proposal.household, now)
        night: dict[str, Any] = {"next_try_at": begins, "try_until": ends}
        _changed(proposal, now, state=ProposalState.TONIGHT, **night, **answered)
        _record(proposal, actor, "proposal.tonight", f"{actor.name} wants {proposal} tonight.", now)
    else:
        _changed(proposal, now, state=ProposalState.ACCEPTED, **answered)
        _record(proposal, actor, "proposal.accepted", f"{actor.name} accepted {proposal}.", now)
        try:
            job = _install(proposal, actor, now)
        except installs.Refused as refused:
            # as one deed: nobody accepted what then could not be done
            raise NotPossible(told_together(refused.reasons)) from refused
        _changed(proposal, now, was=ProposalState.ACCEPTED, job=job)


def withdraw(proposal: Proposal, *, actor: Actor, now: datetime | None = None) -> None:
    """End a proposal that was not carried out yet. Raises NotPossible when it is too late."""
    with transaction.atomic():
        audit.lock()
        _end(proposal, ProposalState.WITHDRAWN, actor, "was withdrawn", now or timezone.now())


def advance(now: datetime) -> None:
    """Carry out what was wanted for tonight, and end what nobody answered. Safe on repeat; one
    query while nothing is due.
    """
    for proposal in Proposal.objects.due(now).select_related("household", "node__account"):
        with transaction.atomic():
            audit.lock()
            if proposal.is_overtaken:
                how = f"is over: the hub runs {proposal.to_version} already"
                _end(proposal, ProposalState.OVERTAKEN, WORKER, how, now, Outcome.DONE)
            elif proposal.is_open:
                _end(proposal, ProposalState.EXPIRED, WORKER, "was not answered in time", now)
            else:
                _try_tonight(proposal, now)


def _try_tonight(proposal: Proposal, now: datetime) -> None:
    node = Node.objects.select_related("account__household").get(pk=proposal.node_id)
    reasons = why_unfit(node, node.offer, now)
    if node.is_in_use:
        reasons.append(Reason("in_use", "The hub is in use."))
    is_over = proposal.try_until is None or now >= proposal.try_until
    if is_over and not reasons:  # the night was meant, not the noon after it
        reasons.append(Reason("too_late", "The night was over before it could be tried."))
    if not reasons:
        actor = Actor(
            proposal.decided_by_name, proposal.decided_by_id, proposal.decided_role, "proposal"
        )
        try:
            job = _install(proposal, actor, now)
        except installs.Refused as refused:
            reasons = refused.reasons
        else:
            _changed(
                proposal, now, was=ProposalState.TONIGHT, state=ProposalState.ACCEPTED, job=job
            )
            return
    why = " ".join(reason.sentence for reason in reasons)[:300]
    is_other = any(reason.code == "offer_swapped" for reason in reasons)
    if is_over or is_other:
        _changed(proposal, now, was=ProposalState.TONIGHT, why_not=why)
        _end(proposal, ProposalState.MISSED, WORKER, f"was not possible: {why}", now)
    else:
        _changed(proposal, now, was=ProposalState.TONIGHT, why_not=why, next_try_at=now + TRY_EVERY)


def _install(proposal: Proposal, actor: Actor, now: datetime) -> OtaJob:
    node = Node.objects.select_related("account__household").get(pk=proposal.node_id)
    return installs.request(
        user=None,
        node=node,
        binding=Binding(**proposal.binding),
        actor=actor,
        now=now,
        why=f"proposed by {proposal.proposed_by_name}",
    )


def _end(
    proposal: Proposal,
    state: ProposalState,
    actor: Actor,
    how: str,
    now: datetime,
    outcome: Outcome = Outcome.REFUSED,
) -> None:
    if not proposal.is_undecided:
        raise NotPossible(gettext_lazy("This proposal is over already."))
    _changed(proposal, now, was=proposal.state, state=state)
    words = f"The proposal of {proposal} {how}."
    _record(proposal, actor, f"proposal.{state.value}", words, now, outcome)


def _changed(
    proposal: Proposal, now: datetime, *, was: str = ProposalState.OPEN, **changes: object
) -> None:
    """Write the changes, or raise NotPossible; open pages hear of what they show."""
    is_news = any(
        changes.get(name, getattr(proposal, name)) != getattr(proposal, name) for name in SHOWN
    )
    if not proposal.change(was=was, **changes):
        raise NotPossible(
            gettext_lazy("Somebody else was faster: this proposal waits for no answer any more.")
        )
    if is_news:
        proposal.node.touch(now)


def _record(
    proposal: Proposal,
    actor: Actor,
    action: str,
    sentence: str,
    now: datetime,
    outcome: Outcome = Outcome.DONE,
) -> None:
    audit.record(
        actor,
        action,
        sentence,
        node=proposal.node,
        household=proposal.household,
        outcome=outcome,
        at=now,
        why=f"proposed by {proposal.proposed_by_name}",
        detail={
            "proposal": proposal.pk,
            "from_version": proposal.from_version,
            "to_version": proposal.to_version,
            "ota_job_id": proposal.binding["ota_job_id"],
            "mailed_to": proposal.mailed_to,
        },
    )


def masked(email: str) -> str:
    """Return "o•••@example.com": enough to know whose it is, too little to write to."""
    name, _, host = email.partition("@")
    return f"{name[:1]}•••@{host}"
