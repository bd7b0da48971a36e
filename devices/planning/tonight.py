"""Announce in the evening what may start in the coming night, and put it off by a night."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import groupby
from typing import Any

from django.db.models import Q
from django.urls import reverse

from devices.audit import log as audit_log
from devices.models import (
    Actor,
    AuditAction,
    BatchState,
    Channel,
    Household,
    Notice,
    Plan,
    Topic,
    User,
    When,
)
from devices.models.message import NO_MESSAGE
from devices.models.plan import PlanQuerySet
from devices.models.windows import Window, local
from devices.notifications.channel_links import make_token, open_token
from devices.permissions import Right, may
from devices.planning import announcements
from devices.planning.plans import AT_LASTS, NIGHT_ENDS, record
from devices.planning.plans import tonight as night_of
from devices.taskqueue.isolation import isolated
from devices.taskqueue.wakeups import wake_installs

# By the household's clock; a plan that is made later is announced as soon as it is made.
ANNOUNCED_FROM = time(18)
_PURPOSE = "not-tonight"
# Longer than the night, so that a link that is read late can say that it is over.
LINK_LASTS = timedelta(days=3)
DAY = timedelta(days=1)


def announce(now: datetime) -> None:
    """Notify the households of plans that may start in their coming night, each plan once. Safe on
    repeat. One query while nothing is planned.
    """
    planned = Household.objects.filter(pk__in=_unannounced(now, now + DAY).values("household_id"))
    for household in planned:
        if Window(ANNOUNCED_FROM, NIGHT_ENDS, household.zone).is_open(now):
            with isolated(f"household {household.pk}"):
                _announce(household, now)


def _unannounced(now: datetime, before: datetime) -> PlanQuerySet:
    """Return plans for a night, or for a set time that is to come, that were not announced and may
    start before this. None of a household that is stored for winter: its plans wait.
    """
    is_running = Q(batch=None) | Q(batch__state=BatchState.RUNNING)
    comes = Q(when=When.TONIGHT) | Q(when=When.AT, not_before__gte=now)
    mine = Plan.objects.waiting().filter(is_running, comes, household__stored_at=None)
    return mine.filter(announced_at=None, not_before__lt=before)


def _announce(household: Household, now: datetime) -> None:
    _begins, ends = night_of(household, now)
    with audit_log.locked():
        rows = (
            _unannounced(now, ends)
            .filter(household=household)
            .select_related("household", "node__account")
        )
        plans = list(rows.order_by("not_before", "position", "pk"))
        if not plans:
            return
        Plan.objects.filter(pk__in=[plan.pk for plan in plans]).update(announced_at=now)
        announcements.announce(plans, household=household, now=now, not_after=ends, until=ends)


@dataclass(frozen=True, slots=True)
class Link:
    """What a link puts off, and in whose name."""

    user: User
    household: Household
    plans: list[Plan]
    """Those that still wait and may start in that night; none when it is over."""
    is_over: bool


def link_for(notice: Notice, channel: Channel, now: datetime) -> str:
    """Return the path that puts the plans of a notice off, for the person of a device; "" when
    they may not, or none can be put off. It ends with the device, the person's role and the night.
    """
    user, plans = channel.user, notice.facts.get("plans", [])
    if channel.device_id is None or user is None or notice.topic != Topic.PLANNED:
        return ""
    until = notice.facts["until"]
    if not _may(user, channel.household) or not _can_wait(plans, until, now).exists():
        return ""
    token = make_token(_PURPOSE, channel, user, [plans, until])
    return reverse("not_tonight", args=[token])


def open_link(token: str, now: datetime) -> Link | None:
    """Return what this link puts off; None when it no longer works."""
    opened = open_token(_PURPOSE, token, LINK_LASTS, _may)
    if opened is None:
        return None
    household, (plans, until) = opened.channel.household, opened.facts
    mine = _can_wait(plans, until, now).filter(household=household)
    is_over = datetime.fromisoformat(until) <= now
    rows = list(mine.select_related("household", "node__account"))
    return Link(opened.user, household, rows, is_over)


def _may(user: User, household: Household) -> bool:
    return may(user, Right.INSTALL, household)


def _can_wait(plans: Iterable[int], until: str, now: datetime) -> PlanQuerySet:
    """Return which of these plans may start in the night that ends then, if it has not ended, and
    are no answer to a proposal, which stays as given.
    """
    ends = datetime.fromisoformat(until)
    if ends <= now:
        return Plan.objects.none()
    mine = Plan.objects.waiting().filter(pk__in=list(plans), proposal=None)
    return mine.filter(not_before__lt=ends)


def put_off(plans: Iterable[Plan], *, actor: Actor, now: datetime) -> list[Plan]:
    """Let none of these plans start in the coming night; return those that still waited. One for a
    set time starts a day later.
    """
    moved = []
    with audit_log.locked():
        for household, mine in groupby(plans, key=lambda plan: plan.household):
            _begins, ends = night_of(household, now)
            for plan in mine:
                if plan.not_before < ends and plan.write_times(**_a_night_later(plan, ends, now)):
                    plan.node.touch(now)
                    words = f"{actor.name} put {plan.to_version} on {plan.hub_name} off:"
                    sentence = f"{words} not tonight."
                    record(plan, actor, AuditAction.PLAN_CHANGED, sentence, now)
                    moved.append(plan)
        if moved:
            wake_installs()
    return moved


def _a_night_later(plan: Plan, ends: datetime, now: datetime) -> dict[str, Any]:
    """Return what changes: it may start after this night ends, and is announced again."""
    zone, not_before, expires_at = plan.household.zone, ends, max(plan.expires_at, ends + DAY)
    if plan.when == When.AT:
        shown = plan.not_before.astimezone(zone).replace(tzinfo=None) + DAY
        # a time that the clock skips that night never comes
        not_before = local(shown, zone) or plan.not_before + DAY
        expires_at = not_before + AT_LASTS
    return {
        "not_before": not_before,
        "expires_at": expires_at,
        "announced_at": None,
        "next_look_at": now,
        "waits_for": "",
        "reason": NO_MESSAGE,
    }
