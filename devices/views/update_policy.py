"""A household's update policy: what it would do, setting it, and "not this one" by a link."""

from contextlib import suppress
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from devices.forms.update_policy import HUB_MODES, UpdatePolicyForm
from devices.models import Actor, Node, PolicyMode, UpdatePolicy, database_clock
from devices.models.message import Message, MessageCode
from devices.permissions import Right, mask_people, may, may_answer, who_answers
from devices.planning import policies, policy_links
from devices.planning.policies import NotShown
from devices.planning.policy_rules import Forecast, Hub, forecast, hub_of
from devices.presentation import headlines
from devices.security.rate_limits import limited
from devices.security.request_origin import origin
from devices.views.access import (
    current_user,
    get_household_or_404,
    login_required_here,
    refuse,
    request_actor,
)

# So many hubs the page shows; the others follow the household.
MOST_HUBS = 200


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def update_policy(request: HttpRequest, pk: int) -> HttpResponse:
    """What the policy would do with the household's real hubs, and the form that sets it.

    Nothing is let install by itself that was not shown first: the form carries what was shown.
    """
    household, user = get_household_or_404(request, pk), current_user(request)
    may_set, policy = may(user, Right.AUTOMATE, household), policies.policy_of(household)
    modes, now = policies.modes_of(policy), database_clock.now()
    if request.method == "POST" and not may_set:
        refuse(request, Right.AUTOMATE, household, None)
    nodes = Node.objects.present_once().filter(account__household=household)
    nodes = nodes.select_related("account")
    posted = request.POST if request.method == "POST" else None
    form = UpdatePolicyForm(posted, policy=policy, nodes=nodes, modes=modes)
    wishes = form.wishes() if form.is_valid() else None
    if wishes is not None and (not wishes.installs or request.POST.get("act") == "save"):
        actor, shown = request_actor(request, household), request.POST.get("shown", "")
        with suppress(NotShown):  # then it is shown now
            policies.change(household, wishes, user=user, actor=actor, shown=shown)
            messages.success(request, gettext("Saved."))
            return redirect("update_policy", household.pk)
    if wishes is not None:
        policy, modes = policies.wished(household, wishes, user), dict(wishes.hubs)
    found = forecast(policy, now, modes)
    values = _values(found, policy, modes) | {
        "form": form,
        "household": household,
        "may_set": may_set,
        "is_shown": wishes is not None,
        "shown": policies.shown_token(household, wishes) if wishes is not None else "",
        "headline": headlines.of_policy(policy, modes, found.against),
        "policy": mask_people(user, policy, household.pk),
    }
    return render(request, "devices/households/update_policy.html", values)


def _values(found: Forecast, policy: UpdatePolicy, modes: dict[Hub, PolicyMode]) -> dict[str, Any]:
    # what would start comes first
    hubs = sorted(found.hubs, key=lambda one: not one.starts)
    return {
        "found": found,
        "rows": [(one, modes.get(hub_of(one.node), "")) for one in hubs[:MOST_HUBS]],
        "more": max(len(hubs) - MOST_HUBS, 0),
        "starting": len(found.starting),
        "installs": PolicyMode.INSTALL in {policy.mode, *modes.values()},
        "hub_modes": HUB_MODES,
    }


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@limited("link")
def answer(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind the link of an announcement: not this one. No account is needed, and looking
    stops nothing: mail scanners look too.
    """
    opened = policy_links.open_link(token)
    if opened is None:
        return render(request, "devices/plans/link_expired.html", status=410)
    problem = ""
    if request.method == "POST":
        user = who_answers(request.user, opened.member, opened.household)
        name = user.email if user == request.user else opened.name
        actor = Actor(name[:254], user.pk, "link", "link", **origin(request))
        version = request.POST.get("version", "")
        now = database_clock.now()
        if not may_answer(user, opened.household):
            problem = str(Message.of(MessageCode.MAY_NOT_CANCEL))
        elif not policy_links.stop(opened, version, user=user, actor=actor, now=now):
            problem = gettext("No hub is offered this version any more. Nothing was changed.")
    with timezone.override(opened.household.zone):
        values = {
            "household": opened.household,
            "announced": policy_links.announced(opened),
            "problem": problem,
        }
        return render(
            request, "devices/plans/not_this_one.html", values, status=409 if problem else 200
        )
