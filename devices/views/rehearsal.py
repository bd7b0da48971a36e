"""Beside a simulated hub: trouble that it plays, and how it goes back to normal."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods

from devices.accounts import rehearsal as rehearsals
from devices.fleet.checks import ask_check
from devices.models import Rehearsal
from devices.permissions import Right
from devices.views.access import get_hub_or_404, login_required_here, request_actor


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def rehearsal(request: HttpRequest, pk: int) -> HttpResponse:
    """What the hub can play. For staff and owners, and for simulated hubs only."""
    node = get_hub_or_404(request, pk, Right.PROPOSE)
    if not node.account.is_simulated or not node.is_listed:
        raise Http404("no simulated hub")
    problem = ""
    if request.method == "POST":
        actor, act = request_actor(request, node.account.household), request.POST.get("act", "")
        try:
            if act == "offer":
                rehearsals.offer(node, actor=actor)
                ask_check([node], actor=actor)
                words = gettext("A new update is offered to %(hub)s. It appears in a moment.")
            elif act in Rehearsal.values and act:
                rehearsals.play(node, Rehearsal(act), actor=actor)
                words = gettext("%(hub)s now plays this with each install, until it is reset.")
            elif act == "reset":
                rehearsals.reset(node, actor=actor)
                words = gettext("%(hub)s behaves normally again.")
            else:
                raise rehearsals.RehearsalError(gettext("Choose what the hub is to rehearse."))
        except rehearsals.RehearsalError as why:
            problem = str(why)
        else:
            messages.success(request, words % {"hub": node})
            return redirect("rehearsal", node.pk)
    values = {
        "node": node,
        "problem": problem,
        "troubles": [one for one in Rehearsal if one],
        "has_offer": node.new_offer is not None,
    }
    return render(request, "devices/hubs/rehearsal.html", values, status=409 if problem else 200)
