"""Households: the ones a person belongs to, their settings, leaving and handing over."""

from dataclasses import replace
from datetime import timedelta

from django.conf import settings as django_settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.forms.households import HouseholdForm, HouseholdSettingsForm, SupportForm, TransferForm
from devices.households import members
from devices.models import Household, Membership, Role
from devices.models.parsing import parse_pk
from devices.permissions import Right, households_for, households_seen
from devices.request_scope import SELECTED_KEY
from devices.views.access import (
    current_user,
    get_household_or_404,
    login_required_here,
    request_actor,
)
from devices.views.form_drafts import restore

PER_PAGE = 50


@require_safe
@login_required_here
def households(request: HttpRequest) -> HttpResponse:
    """Every household this person may look into, with what they are there."""
    user = current_user(request)
    mine = {one.household_id: one for one in Membership.objects.filter(user=user)}
    listed = Paginator(households_seen(user), PER_PAGE).get_page(request.GET.get("page"))
    values = {
        "listed": listed,
        "rows": [(household, mine.get(household.pk)) for household in listed],
        "has_many": listed.paginator.count > 1,
        "may_create": any(one.role == Role.OWNER for one in mine.values()),
    }
    return render(request, "devices/households/list.html", values)


@require_POST
@login_required_here
def select(request: HttpRequest) -> HttpResponse:
    """Narrow the lists to one household, or show all again."""
    wanted = parse_pk(request.POST.get("household"))
    if wanted is not None:
        request.session[SELECTED_KEY] = get_household_or_404(request, wanted).pk
    else:
        request.session.pop(SELECTED_KEY, None)
    return redirect("hubs")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def new(request: HttpRequest) -> HttpResponse:
    """Add another household; its maker is the owner."""
    user = current_user(request)
    if not households_for(user, Right.PEOPLE):
        return render(request, "403.html", {"sentence": NO_RIGHT}, status=403)
    form = HouseholdForm(
        request.POST if request.method == "POST" else None, initial=restore(request)
    )
    if form.is_valid():
        try:
            household = members.create_household(
                name=form.cleaned_data["name"],
                time_zone=form.cleaned_data["time_zone"],
                owner=user,
                actor=replace(request_actor(request), role=Role.OWNER),
                why="an owner makes another household",
            )
        except members.MembershipError as problem:
            form.add_error(None, str(problem))
        else:
            words = gettext("%(household)s is ready. Next, link the cloud account of its hubs.")
            messages.success(request, words % {"household": household})
            return redirect("people", household.pk)
    return render(request, "devices/households/new.html", {"form": form})


NO_RIGHT = gettext_lazy(
    "Only household owners and the administrator of this server can add households."
)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def settings(request: HttpRequest, pk: int) -> HttpResponse:
    """The household's name, time zone and language."""
    household = get_household_or_404(request, pk, Right.PEOPLE)
    now = {name: getattr(household, name) for name in members.SETTINGS} | restore(request)
    form = HouseholdSettingsForm(
        request.POST if request.method == "POST" else None, initial=now, kept=household.time_zone
    )
    if form.is_valid():
        members.change_settings(
            household, form.cleaned_data, actor=request_actor(request, household)
        )
        messages.success(request, gettext("Saved."))
        return redirect("household_settings", household.pk)
    values = {
        "form": form,
        "household": household,
        "support": _support_form(household),
        "all_seen": django_settings.SUPPORT_SEES_ALL_HOUSEHOLDS,
    }
    return render(request, "devices/households/settings.html", values)


def _support_form(household: Household) -> SupportForm:
    return SupportForm(initial={"days": "0", "may_install": household.support_may_install})


@require_POST
@login_required_here
def support(request: HttpRequest, pk: int) -> HttpResponse:
    """Let support in for some days, or no longer."""
    household = get_household_or_404(request, pk, Right.PEOPLE)
    form = SupportForm(request.POST)
    if not form.is_valid():
        messages.warning(request, gettext("This request was not valid. Nothing was changed."))
        return redirect("household_settings", household.pk)
    days = int(form.cleaned_data["days"])
    members.set_support_access(
        household,
        until=timezone.localtime() + timedelta(days=days) if days else None,
        may_install=bool(days) and form.cleaned_data["may_install"],
        actor=request_actor(request, household),
    )
    messages.success(
        request, gettext("Support access is on.") if days else gettext("Support access is off.")
    )
    return redirect("household_settings", household.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def leave(request: HttpRequest, pk: int) -> HttpResponse:
    """Say what leaving means, and do it."""
    household, user = get_household_or_404(request, pk), current_user(request)
    problem = ""
    if request.method == "POST":
        try:
            members.remove(household, user, actor=request_actor(request, household))
        except members.MembershipError as why:
            problem = str(why)
        else:
            messages.success(
                request, (gettext("You left %(household)s.") % {"household": household})
            )
            return redirect("households")
    values = {"household": household, "problem": problem}
    return render(request, "devices/households/leave.html", values, status=409 if problem else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def transfer(request: HttpRequest, pk: int) -> HttpResponse:
    """Make another person the owner."""
    household, user = get_household_or_404(request, pk, Right.PEOPLE), current_user(request)
    others = [
        one.user
        for one in household.memberships.select_related("user").order_by("user__email")
        if one.user_id != user.pk and one.user.is_active
    ]
    form = TransferForm(
        request.POST if request.method == "POST" else None, others=others, initial=restore(request)
    )
    if form.is_valid():
        found = form.cleaned_data
        try:
            members.transfer_ownership(
                household,
                by=user,
                to=next(one for one in others if one.pk == found["to"]),
                becomes=Role(found["becomes"]) if found["becomes"] else None,
                actor=request_actor(request, household),
            )
        except members.MembershipError as why:
            form.add_error(None, str(why))
        else:
            messages.success(
                request,
                (gettext("Ownership of %(household)s was transferred.") % {"household": household}),
            )
            return redirect("people", household.pk) if found["becomes"] else redirect("households")
    values = {"form": form, "household": household, "others": others}
    return render(request, "devices/households/hand_over.html", values)
