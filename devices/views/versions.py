"""Firmware versions on this server: how they did, and which are held."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods

from devices.fleet import holds
from devices.forms.versions import HoldForm
from devices.permissions import may_hold
from devices.views.access import current_user, login_required_here, request_actor

PER_PAGE = 20


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def versions(request: HttpRequest) -> HttpResponse:
    """Every version with its numbers; a POST holds or releases one by hand."""
    user = current_user(request)
    if not may_hold(user):
        raise PermissionDenied(gettext("This page is only for support staff and administrators."))
    form = HoldForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        wish = form.cleaned_data
        standing = holds.standing_of(
            wish["hub_model"], wish["version"], is_simulated=wish["is_simulated"]
        )
        is_held = wish["act"] == "hold"
        if standing.is_held is is_held:
            messages.info(request, gettext("Nothing changed: someone else was faster."))
        else:
            holds.decide(
                standing,
                is_held=is_held,
                reason=wish["reason"],
                user=user,
                actor=request_actor(request),
            )
        return redirect("server_versions")
    standings = Paginator(holds.every_standing(timezone.now()), PER_PAGE)
    values = {"listed": standings.get_page(request.GET.get("page")), "form": form}
    status = 200 if request.method != "POST" else 409
    return render(request, "devices/server/versions.html", values, status=status)
