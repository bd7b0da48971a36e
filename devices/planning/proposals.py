"""Support proposes, the household decides: now, tonight, or not this version.

An accepted proposal becomes an install like every confirmed one, so it is
compared with the cloud's offer again before anything is sent.
"""

import secrets
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext_lazy, override

from devices.audit import log as audit_log
from devices.explanations.reasons import Reason, ReasonCode
from devices.installs import requests as install_requests
from devices.installs.confirmation import OfferSnapshot, is_still_offered
from devices.installs.eligibility import against_plan, why_unfit
from devices.models import (
    Actor,
    AuditAction,
    Batch,
    DropReason,
    Household,
    Membership,
    Node,
    OtaJob,
    Outcome,
    Plan,
    PlanState,
    Proposal,
    ProposalState,
    Role,
    Topic,
    User,
    When,
    database_clock,
)
from devices.models.message import Message, MessageCode
from devices.models.proposal import UNDECIDED, VALID_FOR
from devices.models.text import mask_emails
from devices.models.version_text import is_same_version
from devices.notifications.outbox import notify
from devices.permissions import all_of, may_answer
from devices.planning.plans import (
    NIGHT_BEGINS,
    NIGHT_ENDS,
    Timing,
    in_english,
    make,
    move_to,
    tonight,
)
from devices.planning.proposal_links import make_link, open_link
from devices.planning.queues import VALID as QUEUE_VALID
from devices.planning.queues import open_queue, record_request
from devices.taskqueue.isolation import isolated
from devices.taskqueue.wakeups import wake_notices

REPLACED = DropReason.REPLACED
PLANNED = ("node__account", "household", "batch")
# What open pages show of a proposal: when one of these changes, they are refreshed.
SHOWN = ("state",)
WORKER = Actor.worker()


class Decision(StrEnum):
    NOW = "now"
    TONIGHT = "tonight"
    LATER = "later"  # at the moment that is given with it
    NO = "no"


class ProposalError(Exception):
    """What was asked for cannot be done; nothing was changed or sent. str() is a sentence."""


@dataclass(frozen=True, slots=True)
class ToPropose:
    """What is proposed to one household at once: these offers, mailed to these people."""

    household: Household
    offers: Sequence[tuple[Node, OfferSnapshot]]
    recipients: list[User]
    actor: Actor


@dataclass(slots=True)
class Answers:
    """What became of one answer for several proposals."""

    given: list[Proposal] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    """Why the others could not be answered so, by the key of the proposal."""
    queue: Batch | None = None
    """In whose turn they start, where several start now."""


def propose(
    node: Node,
    *,
    user: User,
    binding: OfferSnapshot,
    words: str,
    recipients: list[User],
    actor: Actor,
    now: datetime | None = None,
) -> Proposal:
    """Return a new proposal. An older undecided one for the same hub ends. Raises ProposalError."""
    one = ToPropose(node.account.household, [(node, binding)], recipients, actor)
    return propose_all([one], user=user, words=words, now=now)[0]


def propose_all(
    wanted: Iterable[ToPropose], *, user: User, words: str, now: datetime | None = None
) -> list[Proposal]:
    """Return a new proposal for each hub; each household gets one notification. Older undecided
    ones for the same hubs end. Raises ProposalError, with nothing proposed to anyone.
    """
    now = now or database_clock.now()
    made: list[Proposal] = []
    with audit_log.locked():
        for one in wanted:
            mine = [_propose(node, binding, one, user, words, now) for node, binding in one.offers]
            _notify(one, mine, now)
            made += mine
    return made


def _propose(
    node: Node, binding: OfferSnapshot, wanted: ToPropose, user: User, words: str, now: datetime
) -> Proposal:
    household, actor = wanted.household, wanted.actor
    if node.account.is_unlinked:
        raise ProposalError(gettext_lazy("This hub's cloud account is unlinked."))
    offer = node.offers.filter(ended_at=None).first()
    if offer is None or not is_still_offered(binding, node, offer):
        raise ProposalError(
            gettext_lazy("The cloud's offer has changed since the form was opened.")
        )
    if offer.dismissal_id is not None:
        raise ProposalError(gettext_lazy("The household does not want this version."))
    for older in node.proposals.filter(state__in=[ProposalState.OPEN, ProposalState.TONIGHT]):
        _end(older, ProposalState.WITHDRAWN, actor, "was replaced by a newer proposal", now)
    proposal = Proposal.objects.create(
        household=household,
        node=node,
        hub_name=str(node),
        binding=binding.dump(),
        description=offer.description,
        words=words,
        proposed_by=user,
        proposed_by_name=actor.name,
        mailed_to=", ".join(mask_emails(one.email) for one in wanted.recipients)[:300],
        token_digest=secrets.token_hex(32),
        created_at=now,
        expires_at=now + VALID_FOR,
    )
    node.touch(now)
    _record(
        proposal,
        actor,
        AuditAction.PROPOSAL_MADE,
        f"{actor.name} proposed {binding.to_version} for {node} to {household}.",
        now,
    )
    return proposal


def _notify(wanted: ToPropose, made: list[Proposal], now: datetime) -> None:
    """Put one notification about these proposals into the outbox, and a letter to each person."""
    first, name = made[0], wanted.actor.name
    if len(made) == 1:
        path, hub = reverse("proposal", args=[first.pk]), first.hub_name
        values = {"name": name, "version": first.to_version, "hub": hub}
        message = Message.of(MessageCode.PROPOSED, **values)
    else:
        path, hub = reverse("household_proposals", args=[wanted.household.pk]), ""
        message = Message.of(MessageCode.PROPOSED_SEVERAL, name=name, n=str(len(made)))
    notify(
        Topic.NEEDS_YOU,
        household=wanted.household,
        path=path,
        now=now,
        accounts=[node.account for node, _ in wanted.offers],
        by_mail=not wanted.recipients,  # a person who is mailed the link needs no second mail
        proposals=made,
        letters_to=wanted.recipients,
        hub=hub,
        links=[one.mark for one in made],
        message=message,
    )
    if wanted.recipients:
        wake_notices()


def already_proposed(nodes: Collection[Node], now: datetime) -> set[int]:
    """Return the keys of those hubs for which what is offered now waits for an answer, or was
    answered with a later time. One query.
    """
    undecided = Proposal.objects.undecided(now).filter(node__in=nodes)
    versions = {proposal.node_id: proposal.to_version for proposal in undecided}
    return {
        node.pk
        for node in nodes
        if node.offer is not None
        and is_same_version(versions.get(node.pk, ""), node.offer.fw_version)
    }


def why_not_propose(
    node: Node, busy: set[tuple[str, str]], proposed: Collection[int]
) -> list[Reason]:
    """Return why what this hub is offered is not proposed now; empty when it can be. A hub that is
    offline can be: the household may plan it. `busy`: see `busy_hubs`; `proposed`: see
    `already_proposed`.
    """
    reasons = against_plan(why_unfit(node, node.offer, busy))
    if node.offer is not None and node.pk in proposed:
        version = {"version": node.offer.fw_version}
        reasons.append(Reason(ReasonCode.ALREADY_PROPOSED, MessageCode.ALREADY_PROPOSED, version))
    return reasons


def recipients_of(household: Household) -> list[User]:
    """Return who may be sent the link: those who may install there, staff left out."""
    return recipients_in([household])[household.pk]


def recipients_in(households: Collection[Household]) -> dict[int, list[User]]:
    """Return who may be sent the links, by the household's key. One query."""
    people: dict[int, list[User]] = {household.pk: [] for household in households}
    able = Membership.objects.filter(
        household__in=people, role__in=[Role.OWNER, Role.MEMBER], user__is_active=True
    )
    for one in able.select_related("user").order_by("user__email"):
        if not one.user.staff_role:
            people[one.household_id].append(one.user)
    return people


def renew_link(
    proposal: Proposal, *, maker: User, actor: Actor, now: datetime | None = None
) -> str:
    """Return the path of a new link to pass on; earlier links end. Raises ProposalError."""
    now = now or database_clock.now()
    with audit_log.locked():
        if not proposal.change(was=ProposalState.OPEN, token_digest=secrets.token_hex(32)):
            raise ProposalError(gettext_lazy("This proposal can no longer be answered."))
        _record(
            proposal,
            actor,
            AuditAction.PROPOSAL_LINK_MADE,
            f"{actor.name} made a link to pass on, for {proposal}.",
            now,
        )
    return make_link(proposal, maker=maker)


def why_not_decide(proposal: Proposal, user: User, now: datetime) -> list[Reason]:
    """Return why this person cannot answer; empty when they can."""
    reasons = []
    if user.staff_role:
        reasons.append(Reason(ReasonCode.IS_STAFF, MessageCode.STAFF_DO_NOT_DECIDE))
    elif not may_answer(user, proposal.household):
        reasons.append(Reason(ReasonCode.NO_RIGHT, MessageCode.MAY_NOT_DECIDE))
    if not proposal.is_open or proposal.expires_at <= now:
        reasons.append(Reason(ReasonCode.OVER, MessageCode.PROPOSAL_OVER))
    return reasons


def decide(
    proposal: Proposal,
    decision: Decision,
    *,
    user: User,
    actor: Actor,
    token: str = "",
    timing: Timing | None = None,
    queue: Batch | None = None,
    now: datetime | None = None,
) -> Proposal:
    """Carry out the answer of this person, given on a page or by the link with this token.

    timing: when it may start, with the answer LATER. queue: that in whose turn it starts, if any.

    Raises ProposalError, with the proposal unchanged, when it cannot be done. The refusal is in
    the trail.
    """
    now = now or database_clock.now()
    try:
        with audit_log.locked():
            if token and not _opens(token, proposal):
                raise ProposalError(gettext_lazy("This link no longer works."))
            answers = User.objects.get(pk=user.pk)
            _answer(proposal, decision, answers, actor, now, timing, queue)
    except ProposalError as why:
        proposal.refresh_from_db()
        with override(settings.LANGUAGE_CODE):  # the trail is kept in one language
            sentence = f"An answer of {actor.name} to the proposal of {proposal} was refused: {why}"
        _record(
            proposal, actor, AuditAction.PROPOSAL_ANSWER_REFUSED, sentence, now, Outcome.REFUSED
        )
        raise
    return proposal


def decide_all(
    chosen: Sequence[Proposal],
    decision: Decision,
    *,
    user: User,
    actor: Actor,
    token: str = "",
    timing: Timing | None = None,
    now: datetime | None = None,
) -> Answers:
    """Carry out one answer for several proposals of a household. Each is answered as `decide` does:
    one that cannot be keeps its state and holds up no other. Several that start now make a queue,
    one after the other, which stops when an install goes wrong.
    """
    now = now or database_clock.now()
    answers, queue = Answers(), None
    with audit_log.locked():
        if decision is Decision.NOW and len(chosen) > 1:
            household = chosen[0].household
            queue = open_queue(household=household, user=user, name=actor.name, now=now)
            timing = Timing(When.NOW, now, now + QUEUE_VALID, needs_idle=False)
            decision = Decision.LATER
        for proposal in chosen:
            try:
                decide(
                    proposal,
                    decision,
                    user=user,
                    actor=actor,
                    token=token,
                    timing=timing,
                    queue=queue,
                    now=now,
                )
            except ProposalError as why:
                answers.problems[proposal.pk] = str(why)
            else:
                answers.given.append(proposal)
        if queue is not None and answers.given:
            bindings = [(one.node, OfferSnapshot.load(one.binding)) for one in answers.given]
            record_request(queue, bindings, actor=actor, now=now)
            answers.queue = queue
        elif queue is not None:
            queue.delete()
    return answers


def _opens(token: str, proposal: Proposal) -> bool:
    link = open_link(token)
    return link is not None and proposal.pk in {one.pk for one in link.proposals}


def _answer(
    proposal: Proposal,
    decision: Decision,
    user: User,
    actor: Actor,
    now: datetime,
    timing: Timing | None,
    queue: Batch | None,
) -> None:
    if reasons := why_not_decide(proposal, user, now):
        raise ProposalError(all_of(reasons))
    answered: dict[str, Any] = {
        "decided_at": now,
        "decided_by": user,
        "decided_by_name": actor.name,
        "decided_role": actor.role,
    }
    if decision is Decision.NO:
        _decline(proposal, actor, now, **answered)
    elif decision in {Decision.TONIGHT, Decision.LATER}:
        if decision is Decision.TONIGHT:
            begins, ends = tonight(proposal.household, now)
            timing = Timing(When.TONIGHT, begins, ends, NIGHT_BEGINS, NIGHT_ENDS)
        if timing is None:
            raise ProposalError(gettext_lazy("Choose when it starts."))
        _changed(proposal, now, state=ProposalState.TONIGHT, **answered)
        make(
            [(proposal.node, OfferSnapshot.load(proposal.binding))],
            timing,
            household=proposal.household,
            user=user,
            actor=actor,
            now=now,
            queue=queue,
            proposal=proposal,
        )
        _record(
            proposal,
            actor,
            AuditAction.PROPOSAL_TONIGHT,
            f"{actor.name} wants {proposal} {in_english(timing, proposal.household)}.",
            now,
        )
    else:
        _changed(proposal, now, state=ProposalState.ACCEPTED, **answered)
        _record(
            proposal,
            actor,
            AuditAction.PROPOSAL_ACCEPTED,
            f"{actor.name} accepted {proposal}.",
            now,
        )
        try:
            job = _install(proposal, actor, now)
        except install_requests.Refused as refused:
            # one transaction: an answer that cannot be carried out was not accepted
            raise ProposalError(refused.message) from refused
        _changed(proposal, now, was=ProposalState.ACCEPTED, job=job)


def decline_dismissed(
    hubs: list[int], version: str, *, user: User | None, actor: Actor, now: datetime
) -> None:
    """Decline the undecided proposals of a version that was dismissed on these hubs."""
    for proposal in Proposal.objects.undecided(now).filter(node__in=hubs).select_related("node"):
        if is_same_version(proposal.to_version, version):
            answered = {"decided_at": now, "decided_by": user, "decided_by_name": actor.name}
            _decline(proposal, actor, now, decided_role=actor.role, **answered)


def _decline(proposal: Proposal, actor: Actor, now: datetime, **answered: Any) -> None:
    _changed(proposal, now, was=proposal.state, state=ProposalState.DECLINED, **answered)
    _end_plan(proposal, PlanState.CANCELLED, actor, "was declined", now)
    words = f"{actor.name} does not want {proposal}."
    _record(proposal, actor, AuditAction.PROPOSAL_DECLINED, words, now, Outcome.REFUSED)


def withdraw(proposal: Proposal, *, actor: Actor, now: datetime | None = None) -> None:
    """End a proposal that was not carried out yet. Raises ProposalError when it is too late."""
    with audit_log.locked():
        _end(proposal, ProposalState.WITHDRAWN, actor, "was withdrawn", now or database_clock.now())


def advance(now: datetime) -> None:
    """End what was not answered, came to the hub another way, or follows the end of its plan. Safe
    on repeat; one query while none is undecided.
    """
    if not Proposal.objects.filter(state__in=UNDECIDED).exists():
        return
    due = Proposal.objects.due(now).select_related("household", "node__account", "plan__job")
    for proposal in due:
        with isolated(f"proposal {proposal.pk}"), suppress(ProposalError), audit_log.locked():
            _advance(proposal, now)


def _advance(proposal: Proposal, now: datetime) -> None:
    """Raises ProposalError when an answer came in this moment."""
    plan = getattr(proposal, "plan", None)
    if proposal.is_open and not proposal.is_overtaken:
        _end(proposal, ProposalState.EXPIRED, WORKER, "was not answered in time", now)
    elif plan is not None and plan.state == PlanState.STARTED:
        accepted = {"state": ProposalState.ACCEPTED, "job": plan.job}
        _changed(proposal, now, was=ProposalState.TONIGHT, **accepted)
    elif proposal.is_overtaken or (plan is not None and plan.state == PlanState.DONE):
        how = f"is over: the hub runs {proposal.to_version} already"
        _end(proposal, ProposalState.OVERTAKEN, WORKER, how, now, Outcome.DONE)
    elif plan is None or plan.state == PlanState.CANCELLED or plan.drop_reason == REPLACED:
        why = plan.reason.english if plan is not None else "its plan is gone"
        _end(proposal, ProposalState.WITHDRAWN, WORKER, f"is over: {why}", now)
    else:
        how = f"was not possible: {plan.reason.english}"
        _end(proposal, ProposalState.MISSED, WORKER, how, now)


def _install(proposal: Proposal, actor: Actor, now: datetime) -> OtaJob:
    node = Node.objects.select_related("account__household").get(pk=proposal.node_id)
    return install_requests.request(
        user=None,
        node=node,
        binding=OfferSnapshot.load(proposal.binding),
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
        raise ProposalError(gettext_lazy("This proposal has already ended."))
    _changed(proposal, now, was=proposal.state, state=state)
    is_done = state == ProposalState.OVERTAKEN
    _end_plan(proposal, PlanState.DONE if is_done else PlanState.CANCELLED, actor, how, now)
    words = f"The proposal of {proposal} {how}."
    _record(proposal, actor, AuditAction(f"proposal.{state}"), words, now, outcome)


def _end_plan(proposal: Proposal, state: PlanState, actor: Actor, how: str, now: datetime) -> None:
    """End the plan that still waits for the night of this proposal."""
    plan = Plan.objects.waiting().filter(proposal=proposal).select_related(*PLANNED).first()
    if plan is not None:
        note = f"The plan of {plan} ended: its proposal {how}."
        move_to(plan, state, actor=actor, note=note, now=now)


def _changed(
    proposal: Proposal, now: datetime, *, was: str = ProposalState.OPEN, **changes: object
) -> None:
    """Write the changes, or raise ProposalError; refresh open pages when they show them."""
    is_news = any(
        changes.get(name, getattr(proposal, name)) != getattr(proposal, name) for name in SHOWN
    )
    if not proposal.change(was=was, **changes):
        raise ProposalError(
            gettext_lazy("Someone else was faster. This proposal can no longer be answered.")
        )
    if is_news:
        proposal.node.touch(now)


def _record(
    proposal: Proposal,
    actor: Actor,
    action: AuditAction,
    sentence: str,
    now: datetime,
    outcome: Outcome = Outcome.DONE,
) -> None:
    audit_log.record(
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
