"""Winter and spring of a household: store it, wake it, and see which hubs are awake."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods

from devices.models import Plan, database_clock
from devices.permissions import Right, mask_people, may
from devices.planning import season as seasons
from devices.views.access import (
    current_user,
    get_household_or_404,
    login_required_here,
    request_actor,
)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def season(request: HttpRequest, pk: int) -> HttpResponse:
    """Store the household for winter, or end that; in spring, what each hub has done since."""
    posted, now = request.method == "POST", database_clock.now()
    household = get_household_or_404(request, pk, Right.MANAGE if posted else Right.LOOK)
    if posted:
        actor = request_actor(request, household)
        if request.POST.get("act") == "store":
            seasons.store(household, actor=actor, now=now)
            words = gettext("%(household)s is stored for winter.")
        else:
            seasons.wake(household, actor=actor, now=now)
            words = gettext("%(household)s is awake. Its hubs are being checked.")
        messages.success(request, words % {"household": household})
        return redirect("season", household.pk)
    kind = seasons.kind_of(household, now)
    user = current_user(request)
    hubs = seasons.awakenings(household) if kind == seasons.SeasonKind.SPRING else []
    values = {
        "household": mask_people(user, household, household.pk),
        "kind": kind,
        "hubs": hubs,
        "done": sum(hub.is_done for hub in hubs),
        "waiting": Plan.objects.waiting().filter(household=household).count(),
        "may_manage": may(user, Right.MANAGE, household),
    }
    return render(request, "devices/households/season.html", values)
