"""The help page: codes, words, promises, keys, and whom to ask."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from devices.households.members import owners_of
from devices.models import User
from devices.permissions import memberships_of
from devices.views.access import home_zone


@require_safe
def help_page(request: HttpRequest) -> HttpResponse:
    """What helps a person who is stuck. It needs no sign-in: not getting in is one of the ways."""
    user = request.user
    mine = memberships_of(user) if isinstance(user, User) else []
    owners = owners_of([one.household_id for one in mine])
    whom = [(one, owners[one.household_id]) for one in mine]
    with timezone.override(home_zone(request) if isinstance(user, User) else None):
        return render(request, "devices/help/help.html", {"whom": whom})
