"""The audit trail, to be reviewed: who did what to what, when, from where and why."""

from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from devices.forms import TrailForm
from devices.models import AuditEvent
from devices.policies import Right, events_for, households_for
from devices.views.access import person, signed_in

PER_PAGE = 50


@require_safe
@signed_in
def audit(request: HttpRequest) -> HttpResponse:
    """The events of the households that this person may review, newest first."""
    user = person(request)
    events = events_for(user)
    looks = households_for(user, Right.LOOK)
    form = TrailForm(request.GET or None)
    if form.is_bound and form.is_valid():
        events = form.narrow(events)
    elif form.is_bound:
        events = AuditEvent.objects.none()
    listed: Page[AuditEvent] = Paginator(events, PER_PAGE).get_page(request.GET.get("page"))
    values = {
        "form": form,
        "listed": listed,
        # an auditor reads the trail and may not look at the installs it speaks of
        "linked": {event.pk for event in listed if looks is None or event.household_id in looks},
    }
    return render(request, "devices/audit.html", values)
