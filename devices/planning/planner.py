"""Look at the plans that are due: start, end, or let them wait on. Called by the worker."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F
from django.utils.translation import gettext

from devices.audit import log as audit_log
from devices.explanations.reasons import Reason, ReasonCode
from devices.installs import requests as install_requests
from devices.installs.confirmation import OfferSnapshot
from devices.models import (
    Actor,
    AuditAction,
    Batch,
    DropReason,
    Node,
    OtaJob,
    Plan,
    PlanState,
    Proposal,
    ProposalState,
    User,
    When,
)
from devices.models.message import Message, MessageCode
from devices.permissions import all_of, role_in
from devices.planning import dismissals, policies, proposals, queues
from devices.planning.plans import PlanError, StalePlan, move_to
from devices.planning.waits import Around, End, end_of, next_look, send_by, why_not_now
from devices.taskqueue.isolation import isolated
from devices.taskqueue.wakeups import wake_installs

LOOKS_AT_ONCE = 100
LOOK_LATER = timedelta(minutes=1)
# The loop of installs stays at work when a plan is due so soon, so that it starts in time.
SOON = timedelta(seconds=90)
WORKER = Actor.worker()


def is_idle(now: datetime) -> bool:
    """Is no plan due soon? One query."""
    # a hub in use is looked at whenever the loop runs, which it does every minute
    return not Plan.objects.due(now + SOON).exclude(waits_for=ReasonCode.IN_USE).exists()


def advance(now: datetime) -> None:
    """Start and end the plans that are due, in their order, and what waits for them. Safe on
    repeat. Four queries while nothing is due.
    """
    due = list(Plan.objects.due(now).values_list("pk", flat=True)[:LOOKS_AT_ONCE])
    if due:
        _look_at(list(Plan.objects.loaded().filter(pk__in=due)), due, now)
    queues.settle(now)
    proposals.advance(now)
    policies.advance(now)


def _look_at(plans: list[Plan], order: list[int], now: datetime) -> None:
    around = Around.of(plans)
    seen = set()
    for plan in sorted(plans, key=lambda plan: order.index(plan.pk)):
        with isolated(f"plan {plan.pk}"):
            reasons = why_not_now(plan, now, around)
            if not reasons or end_of(plan, reasons):
                if _decide(plan.pk, now) is not None:
                    around.note_start(plan)
            else:
                _wait(plan, reasons, now)
            seen.add(plan.pk)
    # one that cannot be read must not be looked at all the time
    left = Plan.objects.waiting().filter(pk__in=set(order) - seen, next_look_at__lte=now)
    left.update(next_look_at=now + LOOK_LATER)


def _wait(plan: Plan, reasons: list[Reason], now: datetime) -> None:
    """Note why a plan waits and when it is looked at next; open pages show another reason. A plan
    that was changed or woken since it was read is left alone: it is looked at again.
    """
    code, words = reasons[0].code, all_of(reasons)
    is_news = plan.waits_for != code or plan.reason != words
    as_read = Plan.objects.waiting().filter(pk=plan.pk, next_look_at=plan.next_look_at)
    noted = as_read.update(next_look_at=next_look(plan, reasons, now), waits_for=code, reason=words)
    if noted and is_news:
        plan.node.touch(now)
        Batch.objects.filter(items=plan).update(revision=F("revision") + 1)


def _decide(pk: int, now: datetime) -> OtaJob | None:
    """Start or end this plan by what is true under the lock; return its install."""
    with audit_log.locked():
        plan = Plan.objects.waiting().loaded().filter(pk=pk).first()
        if plan is None:
            return None
        reasons = why_not_now(plan, now)
        if end := end_of(plan, reasons):
            _end(plan, end, now)
            return None
        if reasons:
            _wait(plan, reasons, now)
            return None
        return _start(plan, now)


def _start(plan: Plan, now: datetime) -> OtaJob | None:
    """Request the install exactly as a press would: the same policies, binding and refusal."""
    try:
        job = install_requests.request(
            user=None if plan.proposal is not None else plan.requested_by,
            node=Node.objects.select_related("account__household").get(pk=plan.node_id),
            binding=OfferSnapshot.load(plan.binding),
            actor=actor_of(plan),
            now=now,
            why=_why(plan),
            send_by=send_by(plan, now),
        )
    except install_requests.Refused as refused:
        if end := end_of(plan, refused.reasons):
            _end(plan, end, now)
        else:
            _wait(plan, refused.reasons, now)
        return None
    move_to(plan, PlanState.STARTED, actor=WORKER, note="", now=now, job=job)
    return job


def wait_again(job: OtaJob, look_at: datetime, now: datetime) -> bool:
    """Have the plan of this install wait again, of which nothing was sent, with the reasons, and
    have it looked at then or later; True when it waits. Call it in the transaction of the end.

    Not one that was to start now, in turn, or that a person started: that ends as their press does.
    None beside a newer plan of the hub.
    """
    if job.pushes or not job.is_by_planner:
        return False
    started = Plan.objects.loaded().filter(job=job, state=PlanState.STARTED, expires_at__gt=now)
    plan = started.exclude(when=When.NOW).exclude(node__plans__state=PlanState.WAITING).first()
    if plan is None:
        return False
    again: dict[str, Any] = {"state": PlanState.WAITING, "job": None, "ended_at": None}
    again |= {
        "next_look_at": min(look_at, plan.expires_at),
        "waits_for": ReasonCode.NOT_SENT,
        "reason": Message.of(MessageCode.PLAN_NOT_SENT),
    }
    with isolated(f"plan {plan.pk}"):
        reasons = why_not_now(plan, now)
        if end_of(plan, reasons):
            again["next_look_at"] = now
        elif reasons:
            again |= {
                "next_look_at": max(again["next_look_at"], next_look(plan, reasons, now)),
                "waits_for": reasons[0].code,
                "reason": Message.join([again["reason"], all_of(reasons)]),
            }
    if not Plan.objects.filter(pk=plan.pk, state=PlanState.STARTED).update(**again):
        return False
    if plan.batch_id is not None:
        Batch.objects.filter(pk=plan.batch_id).update(revision=F("revision") + 1)
    # the answer to a proposal is planned again too
    accepted = Proposal.objects.filter(plan=plan, state=ProposalState.ACCEPTED)
    accepted.update(state=ProposalState.TONIGHT, job=None)
    plan.node.touch(now)
    wake_installs()
    audit_log.record(
        WORKER,
        AuditAction.PLAN_WAITS_AGAIN,
        f"Nothing was sent to {job.hub_name}: the plan to install {job.to_version} waits again.",
        job=job,
        at=now,
    )
    return True


def actor_of(plan: Plan) -> Actor:
    """Return who starts the install: the person who planned it, with the role of now."""
    if plan.proposal is not None:
        role, via = plan.requested_role, "proposal"
    else:
        person = plan.requested_by
        role = role_in(person, plan.household) if person is not None else ""
        via = "queue" if plan.batch_id is not None else "policy" if plan.is_by_policy else "plan"
    return Actor(plan.requested_by_name, plan.requested_by_id, role, via)


def _why(plan: Plan) -> str:
    if plan.proposal is not None:
        return f"proposed by {plan.proposal.proposed_by_name}"
    if plan.batch_id is not None:
        return ""
    at = plan.requested_at.astimezone(plan.household.zone)
    return f"role {actor_of(plan).role}, planned on {at:%Y-%m-%d %H:%M} ({plan.requested_via})"


def _end(plan: Plan, end: End, now: datetime) -> None:
    why = all_of(end.reasons)
    note = f"The plan of {plan} ended: {why.english}"
    move_to(
        plan, end.state, actor=WORKER, note=note, now=now, drop_reason=end.drop_reason, reason=why
    )
    if plan.batch is not None and end.state == PlanState.EXPIRED:
        queues.expired(plan.batch, now)
    if plan.is_by_policy and end.drop_reason == DropReason.RIGHT_LOST:
        policies.wake_after_loss(plan.household, now)


def start_now(plan: Plan, *, user: User, actor: Actor, now: datetime) -> OtaJob:
    """Start a plan without waiting longer, by this person's right and exactly as it was agreed to.

    Raises Refused with the reasons, PlanError when it does not wait any more.
    """
    node = Node.objects.select_related("account__household").get(pk=plan.node_id)
    try:
        with audit_log.locked():
            job = install_requests.request(
                user=user,
                node=node,
                binding=OfferSnapshot.load(plan.binding),
                actor=actor,
                now=now,
                why=f"role {actor.role}, planned before by {plan.requested_by_name}",
            )
            move_to(plan, PlanState.STARTED, actor=actor, note="", now=now, job=job)
    except StalePlan as stale:
        raise PlanError(gettext("This plan has started or ended already.")) from stale
    except install_requests.Refused as refused:
        # the entry in the trail went with the transaction
        raise install_requests.refuse(node, refused.reasons, actor, now) from refused
    return job


def cancel(plan: Plan, *, user: User, actor: Actor, now: datetime) -> None:
    """End a plan that did not start, by this person. Raises PlanError when it is too late.

    One of an update policy would come again the next evening: its version is dismissed on this hub,
    in the name of this person.
    """
    note = f"{actor.name} cancelled the plan of {plan}."
    why = Message.of(MessageCode.PLAN_CANCELLED_BY, name=actor.name)
    try:
        with audit_log.locked():
            move_to(plan, PlanState.CANCELLED, actor=actor, note=note, now=now, reason=why)
            if plan.is_by_policy:
                with suppress(dismissals.DismissalError):  # the offer is gone: nothing comes again
                    dismissals.dismiss(plan.node, plan.to_version, user=user, actor=actor, now=now)
            wake_installs()
    except StalePlan as stale:
        raise PlanError(gettext("This plan has started or ended already.")) from stale
