"""The sentences about a plan: when it starts, and what it waits for."""

from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext

from devices.explanations.reasons import ReasonCode
from devices.models import Household, Plan, When
from devices.models.homeassistant import VIA
from devices.presentation.formatting import when_words


def short(plan: Plan, household: Household) -> str:
    """Return when a waiting plan of this household starts, as a badge says it."""
    if plan.when == When.AT or _is_announced_for_later(plan):
        return _day_and_hour(plan.not_before)
    if plan.when == When.NOW:
        return gettext("Waiting in the queue")
    if plan.when in {When.TONIGHT, When.POLICY}:
        start, end = _clock(plan.window_start), _clock(plan.window_end)
        now, window = timezone.now(), plan.window_in(household)
        if window is not None and window.is_open(now) and plan.not_before <= now:
            return gettext("Tonight until %(end)s") % {"end": end}
        return gettext("Tonight %(start)s") % {"start": start}
    if plan.when == When.ONLINE:
        return gettext("When back online")
    return gettext("When not in use")


def long(plan: Plan) -> str:
    """Return when a plan starts, as part of a sentence about its hub."""
    if _is_announced_for_later(plan):
        return gettext("%(at)s, when it is not in use") % {"at": _day_and_hour(plan.not_before)}
    if plan.when in {When.TONIGHT, When.POLICY}:
        times = {"start": _clock(plan.window_start), "end": _clock(plan.window_end)}
        return gettext("tonight, %(start)s–%(end)s, when it is not in use") % times
    if plan.when == When.AT:
        return gettext("%(at)s, when it is not in use") % {"at": _day_and_hour(plan.not_before)}
    if plan.when == When.ONLINE:
        return gettext("when it is back online and not in use")
    return gettext("in turn") if plan.when == When.NOW else gettext("when it is next not in use")


def by(plan: Plan) -> str:
    """Return who planned it."""
    return gettext("the update policy") if plan.is_by_policy else plan.requested_by_name


def cause(plan: Plan) -> str:
    """Return by what it came about, in one or two words."""
    if plan.is_by_policy:
        return gettext("policy")
    if plan.proposal_id is not None:
        return gettext("proposal")
    if plan.batch_id is not None:
        return gettext("queue")
    return gettext("Home Assistant") if plan.requested_via == VIA else gettext("person")


def _is_announced_for_later(plan: Plan) -> bool:
    return plan.is_by_policy and plan.not_before > timezone.now()


def tried_next_at(plan: Plan) -> datetime | None:
    """Return when a waiting plan is looked at next; None when that is now, or when only a person
    lets it go on.
    """
    at = plan.next_look_at
    if at is None or at <= timezone.now() or plan.waits_for == ReasonCode.QUEUE_STOPPED:
        return None
    return at


def _day_and_hour(at: datetime) -> str:
    words = when_words(at)
    return words if ":" in words else f"{words} {timezone.localtime(at):%H:%M}"


def _clock(at: object) -> str:
    return f"{at:%H:%M}" if at is not None else ""
