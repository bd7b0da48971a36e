"""The choice of a moment on forms: now, tonight, when not in use, when back online, at a time."""

from dataclasses import dataclass

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext

from devices.models import Household, Plan, When
from devices.planning.plans import NIGHT_BEGINS, NIGHT_ENDS, tonight


@dataclass(frozen=True, slots=True)
class Moment:
    """One choice: its value in the form, its words, and what it means in short."""

    value: str
    words: str
    about: str = ""
    is_time: bool = False
    """Does it need a day and a time?"""


def choices_of(
    household: Household, *, is_online: bool, with_now: bool = True, with_online: bool = False
) -> list[Moment]:
    """Return the choices for a hub that is online, or the one for a hub that is not."""
    online = Moment(When.ONLINE, gettext("When it is back online"), gettext("when not in use"))
    if not is_online:
        return [online]
    now = timezone.now()
    is_night = tonight(household, now)[0] <= now
    night = (
        gettext("from now until %(end)s, when not in use")
        if is_night
        else gettext("%(start)s–%(end)s, when not in use")
    ) % {"start": f"{NIGHT_BEGINS:%H:%M}", "end": f"{NIGHT_ENDS:%H:%M}"}
    return [
        *([Moment(When.NOW, gettext("Now"))] if with_now else []),
        Moment(When.TONIGHT, gettext("Tonight"), night),
        Moment(When.IDLE, gettext("When it is next not in use")),
        *([online] if with_online else []),
        Moment(When.AT, gettext("At a time…"), gettext("when not in use"), is_time=True),
    ]


def chosen_in(request: HttpRequest, choices: list[Moment] | None = None) -> str:
    """Return the choice in the form that was sent, if it is one of these or of all, else ""."""
    when = request.POST.get("when", "")
    known = set(When.values) if choices is None else {one.value for one in choices}
    return when if when in known else ""


def time_in(request: HttpRequest, plan: Plan | None = None) -> str:
    """Return the day and time for the form: as they were sent, else those of the plan."""
    if request.method == "POST" or plan is None or plan.when != When.AT:
        return request.POST.get("at", "")[:40]
    return f"{plan.not_before.astimezone(plan.household.zone):%Y-%m-%dT%H:%M}"


def posted_when(request: HttpRequest) -> str:
    """Return the choice in the form as `read_timing` reads it."""
    when = request.POST.get("when", "")
    return request.POST.get("at", "")[:40] or "?" if when == When.AT else when[:40]
