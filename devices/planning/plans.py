"""Make, change and end plans. Each change has its audit event, in one transaction."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from django.db.models import F
from django.urls import reverse
from django.utils.translation import gettext

from devices.audit import log as audit_log
from devices.explanations.reasons import Reason, ReasonCode
from devices.installs.confirmation import OfferSnapshot, is_still_offered
from devices.installs.eligibility import against_plan, why_not_install
from devices.installs.requests import refuse, request
from devices.models import (
    Actor,
    AuditAction,
    Batch,
    DropReason,
    Household,
    Node,
    OtaJob,
    Outcome,
    Plan,
    PlanState,
    Proposal,
    Topic,
    User,
    When,
    database_clock,
)
from devices.models.message import NO_MESSAGE, Message, MessageCode
from devices.models.plan import VALID_FOR
from devices.models.windows import Window, local
from devices.notifications.outbox import notify
from devices.permissions import Right, may
from devices.taskqueue.wakeups import wake_installs

# When people are usually inside, and when the night is over, by the household's own clock.
NIGHT_BEGINS, NIGHT_ENDS = time(22), time(5)
# A plan for a set time may start late by this much, and then no more.
AT_LASTS = timedelta(hours=3)
# No plan is made for a time further away.
FURTHEST = timedelta(days=90)


class PlanError(Exception):
    """What was asked for cannot be done; nothing was changed or sent. str() is a sentence."""


class StalePlan(Exception):
    """The plan no longer waits: something else ended or started it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a plan may start."""

    when: When
    not_before: datetime
    expires_at: datetime
    window_start: time | None = None
    window_end: time | None = None
    needs_idle: bool = True
    announced_at: datetime | None = None
    """When the household was notified of it: an update policy's plans only."""


def timing_of(
    when: When, household: Household, now: datetime, at: datetime | None = None
) -> Timing:
    """Return when an install may start that is planned like this. Raises PlanError.

    at: with When.AT the time on the household's clock, without a time zone.
    """
    if when == When.TONIGHT:
        return Timing(when, now, now + VALID_FOR, NIGHT_BEGINS, NIGHT_ENDS)
    if when != When.AT:
        return Timing(when, now, now + VALID_FOR)
    if at is None:
        raise PlanError(gettext("Choose a day and a time."))
    begins = at if at.tzinfo is not None else local(at, household.zone)
    if begins is None:
        raise PlanError(
            gettext("The clock skips this time: that night it is changed. Choose another time.")
        )
    if not now < begins <= now + FURTHEST:
        raise PlanError(gettext("Choose a time within the next 90 days."))
    return Timing(when, begins, begins + AT_LASTS)


def read_timing(text: str, household: Household, now: datetime) -> Timing | None:
    """Return when an install may start, by "tonight", "idle", "online" or a time such as
    2026-12-05T02:00 on the household's clock; None for "now". Raises PlanError.
    """
    if text in {"", When.NOW}:
        return None
    if text in {When.TONIGHT, When.IDLE, When.ONLINE}:
        return timing_of(When(text), household, now)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as problem:
        raise PlanError(gettext("Choose a day and a time.")) from problem
    return timing_of(When.AT, household, now, at)


def why_not_plan(user: User, node: Node, binding: OfferSnapshot) -> list[Reason]:
    """Return why this person cannot plan this install; empty when they can."""
    offer = node.offer
    reasons = why_not_install(user, node, offer)
    if offer is not None and not is_still_offered(binding, node, offer):
        reasons.append(Reason(ReasonCode.OFFER_SWAPPED, MessageCode.OFFER_SWAPPED))
    return against_plan(reasons)


def tonight(household: Household, now: datetime) -> tuple[datetime, datetime]:
    """Return when the household's coming night begins, at once when it is night, and ends."""
    night = Window(NIGHT_BEGINS, NIGHT_ENDS, household.zone)
    return night.opens_at(now), night.closes_at(now)


def make(
    chosen: Iterable[tuple[Node, OfferSnapshot]],
    timing: Timing,
    *,
    household: Household,
    user: User | None,
    actor: Actor,
    now: datetime,
    queue: Batch | None = None,
    proposal: Proposal | None = None,
) -> list[Plan]:
    """Store these plans in this order, inside the caller's transaction. A plan that a hub has
    already ends: a hub has one.
    """
    chosen = list(chosen)
    older = Plan.objects.waiting().filter(node__in=[node.pk for node, _ in chosen])
    for plan in older.select_related("node__account", "household", "batch", "proposal"):
        why = Message.of(MessageCode.PLAN_REPLACED)
        note = f"{actor.name} planned {plan.hub_name} again: the earlier plan ended."
        move_to(
            plan,
            PlanState.DROPPED,
            actor=actor,
            note=note,
            now=now,
            drop_reason=DropReason.REPLACED,
            reason=why,
        )
    plans = Plan.objects.bulk_create(
        Plan(
            household=household,
            node=node,
            hub_name=str(node),
            binding=binding.dump(),
            batch=queue,
            proposal=proposal,
            position=position,
            requested_by=user,
            requested_by_name=actor.name,
            requested_role=actor.role,
            requested_via=actor.via,
            requested_at=now,
            when=timing.when,
            window_start=timing.window_start,
            window_end=timing.window_end,
            not_before=timing.not_before,
            expires_at=timing.expires_at,
            needs_idle=timing.needs_idle,
            announced_at=timing.announced_at,
            next_look_at=now,
        )
        for position, (node, binding) in enumerate(chosen, start=1)
    )
    Node.objects.filter(pk__in=[plan.node_id for plan in plans]).touch_all(now)
    wake_installs()
    return plans


def plan_install(
    node: Node,
    binding: OfferSnapshot,
    timing: Timing,
    *,
    user: User,
    actor: Actor,
    now: datetime | None = None,
) -> Plan:
    """Plan one install and record it. Raises Refused as `installs.requests.request` does; what may
    pass, such as a hub that is offline, is looked at when it may start.
    """
    now = now or database_clock.now()
    if reasons := why_not_plan(user, node, binding):
        raise refuse(node, reasons, actor, now)
    with audit_log.locked():
        [plan] = make(
            [(node, binding)],
            timing,
            household=node.account.household,
            user=user,
            actor=actor,
            now=now,
        )
        words = f"{actor.name} planned installing {plan.to_version} on {plan.hub_name}"
        record(
            plan, actor, AuditAction.PLAN_MADE, f"{words}: {in_english(plan, plan.household)}.", now
        )
    return plan


def confirm(
    node: Node, binding: OfferSnapshot, timing: Timing | None, *, user: User, actor: Actor
) -> OtaJob | Plan:
    """Install now, or plan it when a timing is given; return what was made. Raises Refused."""
    if timing is None:
        return request(user=user, node=node, binding=binding, actor=actor)
    return plan_install(node, binding, timing, user=user, actor=actor)


def change(
    plan: Plan, timing: Timing, *, user: User, actor: Actor, now: datetime | None = None
) -> None:
    """Let a waiting plan start at another moment. Raises PlanError when this person may not install
    there at that moment, or when it waits no more or is the answer to a proposal.
    """
    now = now or database_clock.now()
    if plan.is_by_policy:
        raise PlanError(gettext("This was announced as it is: start it now, or cancel it."))
    if not plan.may_change:
        raise PlanError(
            gettext("This is the household's answer to a proposal: it can only be cancelled.")
        )
    changes: dict[str, Any] = {name: getattr(timing, name) for name in Timing.__dataclass_fields__}
    with audit_log.locked():
        person = User.objects.filter(pk=user.pk).first()
        if person is None or not may(person, Right.INSTALL, plan.household):
            raise PlanError(str(Message.of(MessageCode.MAY_NOT_INSTALL)))
        if not plan.write_times(**changes, next_look_at=now, waits_for="", reason=NO_MESSAGE):
            raise PlanError(gettext("This plan has started or ended already."))
        plan.node.touch(now)
        words = f"{actor.name} changed when {plan.to_version} starts on {plan.hub_name}"
        record(
            plan,
            actor,
            AuditAction.PLAN_CHANGED,
            f"{words}: {in_english(plan, plan.household)}.",
            now,
        )
        wake_installs()


def move_to(
    plan: Plan,
    new: PlanState,
    *,
    actor: Actor,
    note: str,
    now: datetime,
    drop_reason: str = "",
    reason: Message = NO_MESSAGE,
    **changes: Any,
) -> None:
    """End the waiting of a plan, with its audit event and notice, in one transaction.

    A start has the audit event of its install. Raises StalePlan when the plan no longer waits.
    """
    changes |= {"state": new, "drop_reason": drop_reason, "reason": reason, "ended_at": now}
    with audit_log.locked():
        if not plan.write(**changes, next_look_at=None, waits_for=""):
            raise StalePlan(f"plan {plan.pk} waits no more")
        if plan.batch_id is not None:
            Batch.objects.filter(pk=plan.batch_id).update(revision=F("revision") + 1)
        plan.node.touch(now)
        if new == PlanState.STARTED:
            return
        is_refusal = new in {PlanState.EXPIRED, PlanState.DROPPED}
        outcome = Outcome.REFUSED if is_refusal else Outcome.DONE
        record(plan, actor, AuditAction(f"plan.{new}"), note, now, outcome)
        is_alone = plan.batch_id is None and plan.proposal_id is None
        if is_refusal and is_alone and not _is_known(plan, drop_reason):
            notify_end(plan, reason, now)


def _is_known(plan: Plan, drop_reason: str) -> bool:
    """Do people know of such an end without a notice? That a policy lost its right is one notice
    for the household.
    """
    if drop_reason == DropReason.REPLACED:
        return True
    by_person = {DropReason.RIGHT_LOST, DropReason.DISMISSED, DropReason.POLICY}
    return plan.is_by_policy and drop_reason in by_person


def notify_end(plan: Plan, reason: Message, now: datetime) -> None:
    """Notify people that a plan will not start."""
    notify(
        Topic.NEEDS_YOU,
        household=plan.household,
        path=reverse("hub", args=[plan.node_id]),
        now=now,
        accounts=[plan.node.account],
        hub=plan.hub_name,
        message=Message.of(
            MessageCode.PLAN_ENDED, version=plan.to_version, hub=plan.hub_name, words=reason
        ),
    )


def record(
    plan: Plan,
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
        node=plan.node,
        household=plan.household,
        at=now,
        outcome=outcome,
        why=f"role {actor.role}",
        detail={
            "plan": plan.pk,
            "when": plan.when,
            "from_version": plan.from_version,
            "to_version": plan.to_version,
            "ota_job_id": plan.binding.get("ota_job_id", ""),
            "not_before": plan.not_before.isoformat(),
            "expires_at": plan.expires_at.isoformat(),
            "drop_reason": plan.drop_reason,
        },
    )


def in_english(timing: "Timing | Plan", household: Household) -> str:
    """Return when it starts, for the trail."""
    if timing.when == When.AT:
        return f"on {timing.not_before.astimezone(household.zone):%Y-%m-%d at %H:%M}"
    if timing.window_start is not None and timing.window_end is not None:
        return f"between {timing.window_start:%H:%M} and {timing.window_end:%H:%M}"
    if timing.when == When.NOW:
        return "now, in turn"
    return "when the hub is back online" if timing.when == When.ONLINE else "when it is not in use"
