"""The calendar of what is planned: make its link, end it, and the file that apps read by it."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone, translation
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from devices.households import api_tokens
from devices.models import ApiToken, Plan, Scope, database_clock
from devices.models.household import language_of
from devices.presentation.plan_calendar import calendar_of
from devices.security.rate_limits import limited
from devices.views.access import (
    current_user,
    get_household_or_404,
    login_required_here,
    request_actor,
)

# A calendar with more is of no use to a person, and slow to make.
MOST_EVENTS = 500


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required_here
def calendar(request: HttpRequest, pk: int) -> HttpResponse:
    """This person's links to the calendar; a new one is shown once, in the answer that makes it."""
    household, user = get_household_or_404(request, pk), current_user(request)
    fresh = problem = ""
    if request.method == "POST":
        try:
            _, token = api_tokens.make(
                household,
                user=user,
                name="Calendar",
                scope=Scope.CALENDAR,
                actor=request_actor(request, household),
            )
            fresh = f"{settings.PUBLIC_URL}{reverse('calendar_feed', args=[token])}"
        except api_tokens.TokenError as why:
            problem = str(why)
    links = ApiToken.objects.filter(
        user=user, household=household, scope=Scope.CALENDAR, revoked_at=None
    )
    values = {
        "household": household,
        "listed": links.order_by("-created_at", "-pk"),
        "fresh": fresh,
        "in_app": f"webcal://{fresh.partition('://')[2]}",
        "problem": problem,
    }
    return render(request, "devices/plans/calendar.html", values, status=409 if problem else 200)


@require_safe
@never_cache
@limited("link")
def calendar_feed(request: HttpRequest, token: str) -> HttpResponse:
    """What is planned in the household of the token, as long as its person may see it there."""
    now = database_clock.now()
    found = api_tokens.find(token, timezone.now(), [Scope.CALENDAR])
    if found is None:
        raise Http404("no such calendar")
    found.used(timezone.now())
    household = found.household
    plans = Plan.objects.waiting().filter(household=household).for_list()[:MOST_EVENTS]
    language = language_of(found.user, household)
    with translation.override(language), timezone.override(household.zone):
        text = calendar_of(household, plans, now)
    return HttpResponse(text, content_type="text/calendar; charset=utf-8")
