"""The page of what is planned: start it now, change it, cancel it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.installs.requests import Refused
from devices.models import Actor, Household, Plan, PlanState, database_clock
from devices.permissions import (
    Right,
    households_for,
    mask_people,
    memberships_of,
    plans_for,
    role_in,
)
from devices.planning import planner, tonight
from devices.planning.plans import PlanError, change, read_timing
from devices.planning.play import play
from devices.presentation import headlines
from devices.presentation.badges import Badge, of_plan
from devices.presentation.plan_text import tried_next_at
from devices.presentation.waiting import WAITS, waiting_for
from devices.request_scope import scope_of
from devices.security.rate_limits import limited
from devices.security.request_origin import origin
from devices.views.access import (
    current_user,
    get_household_or_404,
    get_plan_or_404,
    login_required_here,
    request_actor,
)
from devices.views.form_drafts import page_or_hubs
from devices.views.moments import choices_of, chosen_in, posted_when, time_in
from devices.views.partials import etag_of, layout_etag, live

PER_PAGE = 25
MOST_ENDED = 10
# Plans that ended are shown for so long.
ENDED_FOR = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Row:
    """One plan on the page."""

    plan: Plan
    standing: Badge
    tried_next_at: datetime | None
    may_change: bool


@require_safe
@login_required_here
def planned(request: HttpRequest) -> HttpResponse:
    """What starts later, and what ended lately without an install."""
    values = _values(request, _page(request), _ended(request))
    return render(request, "devices/plans/planned.html", values)


@require_safe
@login_required_here
def planned_live(request: HttpRequest) -> HttpResponse:
    """The same as a fragment; 204 without a body when nothing changed."""
    fragment = "devices/plans/partials/planned.fragment.html"
    listed, ended = _page(request), _ended(request)
    mark = _mark(request, listed, ended)
    return live(request, mark, fragment, lambda: _values(request, listed, ended))


def _page(request: HttpRequest) -> "Page[Plan]":
    """Return the page of waiting plans that is asked for, in the order in which they start."""
    mine = plans_for(current_user(request), scope_of(request).household_id).waiting()
    if (waits := request.GET.get("waits", "")) in WAITS:
        mine = mine.filter(waiting_for(waits))
    return Paginator(mine.for_list(), PER_PAGE).get_page(request.GET.get("page"))


def _ended(request: HttpRequest) -> list[Plan]:
    """Return what ended lately without an install; what ended with its queue is on its page."""
    since = database_clock.now() - ENDED_FOR
    mine = plans_for(current_user(request), scope_of(request).household_id)
    ended = mine.filter(ended_at__gte=since, batch=None).exclude(state=PlanState.STARTED)
    return list(ended.for_list().order_by("-ended_at")[:MOST_ENDED])


def _mark(request: HttpRequest, listed: "Page[Plan]", ended: list[Plan]) -> str:
    facts = [(one.pk, one.when, one.next_look_at, one.waits_for) for one in listed]
    return f"{etag_of(facts, [one.pk for one in ended])}.{layout_etag(request)}"


def _values(request: HttpRequest, listed: "Page[Plan]", ended: list[Plan]) -> dict[str, Any]:
    user = current_user(request)
    may_install = households_for(user, Right.INSTALL)
    rows = {}
    for plan in [*listed, *ended]:
        mask_people(user, plan, plan.household_id)
        may_change = may_install is None or plan.household_id in may_install
        with timezone.override(plan.household.zone):
            standing = of_plan(plan, plan.household)
        rows[plan.pk] = Row(plan, standing, tried_next_at(plan), may_change)
    waiting = listed.paginator.count
    waits = WAITS.get(request.GET.get("waits", ""))
    return {
        "waits": waits,
        "waits_key": request.GET.get("waits", "") if waits else "",
        "mark": _mark(request, listed, ended),
        "listed": listed,
        "waiting": [rows[plan.pk] for plan in listed],
        "ended": [rows[plan.pk] for plan in ended],
        "headline": str(waits.words) if waits else headlines.of_planned(waiting),
        "poll_s": 10 if waiting else 60,
        "calendars": _calendars(request),
        "to_play": {plan.household_id: plan.household for plan in listed}.values(),
    }


def _calendars(request: HttpRequest) -> list[Household]:
    """Return the households that are shown and whose calendar this person can have."""
    shown = scope_of(request).household_id
    mine = [one.household for one in memberships_of(current_user(request))]
    return [one for one in mine if shown in {None, one.pk}]


@require_safe
@login_required_here
def planned_play(request: HttpRequest, pk: int) -> HttpResponse:
    """What would start in this household within the next day, and what would not, and why."""
    household = get_household_or_404(request, pk, Right.LOOK)
    played, more = play(household, database_clock.now())
    values = {"household": household, "played": played, "more": more}
    with timezone.override(household.zone):
        return render(request, "devices/plans/play.html", values)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def plan_change(request: HttpRequest, pk: int) -> HttpResponse:
    """Choose another moment for a plan."""
    plan = get_plan_or_404(request, pk, Right.INSTALL)
    problem = ""
    if request.method == "POST":
        now = database_clock.now()
        try:
            timing = read_timing(posted_when(request), plan.household, now)
            if timing is not None:
                user, actor = current_user(request), request_actor(request, plan.household)
                change(plan, timing, user=user, actor=actor, now=now)
                messages.success(request, gettext("The plan is changed."))
                return redirect("planned")
            problem = gettext("Choose when it starts.")
        except PlanError as wrong:
            problem = str(wrong)
    choices = choices_of(plan.household, is_online=True, with_now=False, with_online=True)
    was = plan.when if plan.when in {one.value for one in choices} else ""
    values = {
        "plan": plan,
        "problem": problem,
        "choices": choices,
        "chosen": chosen_in(request, choices) or was,
        "at": time_in(request, plan),
    }
    return render(request, "devices/plans/change.html", values, status=409 if problem else 200)


@require_POST
@login_required_here
def plan_start(request: HttpRequest, pk: int) -> HttpResponse:
    """Start a plan now, exactly as it was agreed to."""
    plan = get_plan_or_404(request, pk, Right.INSTALL)
    try:
        job = planner.start_now(
            plan,
            user=current_user(request),
            actor=request_actor(request, plan.household),
            now=database_clock.now(),
        )
    except (PlanError, Refused) as why:
        messages.warning(request, gettext("Nothing was sent. %(why)s") % {"why": why})
        return redirect("planned")
    return redirect("install", job.pk)


@csrf_exempt  # a notification's button posts it without our form; the token is the permission
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@limited("link")
def not_tonight(request: HttpRequest, token: str) -> HttpResponse:
    """Put off what may start tonight, by the link of a push message. A GET changes nothing."""
    now = database_clock.now()
    link = tonight.open_link(token, now)
    if link is None or link.is_over:
        return render(request, "devices/plans/not_tonight.html", {"link": link}, status=410)
    is_done = False
    if request.method == "POST" and link.plans:
        role = role_in(link.user, link.household)
        actor = Actor.person(link.user, role=role, via="link", **origin(request))
        is_done = bool(tonight.put_off(link.plans, actor=actor, now=now))
    values = {"link": link, "is_done": is_done}
    return render(request, "devices/plans/not_tonight.html", values)


@require_POST
@login_required_here
def plan_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel a plan."""
    plan = get_plan_or_404(request, pk, Right.INSTALL)
    try:
        user, actor = current_user(request), request_actor(request, plan.household)
        planner.cancel(plan, user=user, actor=actor, now=database_clock.now())
        words = gettext("Cancelled. Nothing starts on %(hub_name)s.")
        messages.success(request, words % {"hub_name": plan.hub_name})
    except PlanError as why:
        messages.warning(request, str(why))
    return redirect(page_or_hubs(request))
