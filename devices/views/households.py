"""Households: the ones a person belongs to, their settings, leaving and handing over."""

from dataclasses import replace
from datetime import timedelta

from django.conf import settings as django_settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices import people
from devices.context import CHOSEN
from devices.forms import HandOverForm, HouseholdForm, HouseholdSettingsForm, SupportForm
from devices.models import Household, Membership, Role
from devices.policies import Right, households_for
from devices.views.access import (
    actor_in,
    household_for,
    households_of,
    person,
    signed_in,
)
from devices.views.typed import typed

LISTED = 200


@require_safe
@signed_in
def households(request: HttpRequest) -> HttpResponse:
    """Every household this person may look into, with what they are there."""
    user = person(request)
    mine = {one.household_id: one for one in Membership.objects.filter(user=user)}
    found = households_of(user)[:LISTED]
    rows = [(household, mine.get(household.pk)) for household in found]
    owns = any(one.role == Role.OWNER for one in mine.values())
    return render(request, "devices/households.html", {"rows": rows, "may_create": owns})


@require_POST
@signed_in
def choose(request: HttpRequest) -> HttpResponse:
    """Narrow the lists to one household, or show all again."""
    wanted = request.POST.get("household", "")
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 18:
        request.session[CHOSEN] = household_for(request, int(wanted)).pk
    else:
        request.session.pop(CHOSEN, None)
    return redirect("hubs")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def new(request: HttpRequest) -> HttpResponse:
    """Another household for somebody who has one: its maker is the owner."""
    user = person(request)
    if not households_for(user, Right.PEOPLE):
        return render(request, "403.html", {"sentence": NO_RIGHT}, status=403)
    form = HouseholdForm(request.POST if request.method == "POST" else None, initial=typed(request))
    if form.is_valid():
        household = people.create_household(
            name=form.cleaned_data["name"],
            time_zone=form.cleaned_data["time_zone"],
            owner=user,
            actor=replace(actor_in(request), role=Role.OWNER),
            why="an owner makes another household",
        )
        messages.success(
            request,
            (
                gettext("%(household)s is ready. Next, link the account of its hubs.")
                % {"household": household}
            ),
        )
        return redirect("people", household.pk)
    return render(request, "devices/household_new.html", {"form": form})


NO_RIGHT = gettext_lazy("Households are made by owners of one, and by whoever runs this server.")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def settings(request: HttpRequest, pk: int) -> HttpResponse:
    """The household's name, time zone and language."""
    household = household_for(request, pk, Right.PEOPLE)
    now = {name: getattr(household, name) for name in people.SETTINGS} | typed(request)
    form = HouseholdSettingsForm(
        request.POST if request.method == "POST" else None, initial=now, kept=household.time_zone
    )
    if form.is_valid():
        people.change_settings(household, form.cleaned_data, actor=actor_in(request, household))
        messages.success(request, gettext("Saved."))
        return redirect("household_settings", household.pk)
    values = {
        "form": form,
        "household": household,
        "support": _support_form(household),
        "all_seen": django_settings.SUPPORT_SEES_ALL_HOUSEHOLDS,
    }
    return render(request, "devices/household_settings.html", values)


def _support_form(household: Household) -> SupportForm:
    return SupportForm(initial={"days": "0", "may_install": household.support_may_install})


@require_POST
@signed_in
def support(request: HttpRequest, pk: int) -> HttpResponse:
    """Let support in for some days, or no longer."""
    household = household_for(request, pk, Right.PEOPLE)
    form = SupportForm(request.POST)
    if not form.is_valid():
        messages.warning(request, gettext("That could not be read. Nothing was changed."))
        return redirect("household_settings", household.pk)
    days = int(form.cleaned_data["days"])
    people.let_support_in(
        household,
        until=timezone.localtime() + timedelta(days=days) if days else None,
        may_install=bool(days) and form.cleaned_data["may_install"],
        actor=actor_in(request, household),
    )
    messages.success(
        request, gettext("Support may look for now.") if days else gettext("Support stays out.")
    )
    return redirect("household_settings", household.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def leave(request: HttpRequest, pk: int) -> HttpResponse:
    """Say what leaving means, and do it."""
    household, user = household_for(request, pk), person(request)
    problem = ""
    if request.method == "POST":
        try:
            people.remove(household, user, actor=actor_in(request, household))
        except people.NotPossible as why:
            problem = str(why)
        else:
            messages.success(
                request, (gettext("You left %(household)s.") % {"household": household})
            )
            return redirect("households")
    values = {"household": household, "problem": problem}
    return render(request, "devices/household_leave.html", values, status=409 if problem else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def hand_over(request: HttpRequest, pk: int) -> HttpResponse:
    """Make somebody else the owner."""
    household, user = household_for(request, pk, Right.PEOPLE), person(request)
    others = [
        one.user
        for one in household.memberships.select_related("user").order_by("user__email")
        if one.user_id != user.pk and one.user.is_active
    ]
    form = HandOverForm(
        request.POST if request.method == "POST" else None, others=others, initial=typed(request)
    )
    if form.is_valid():
        told = form.cleaned_data
        try:
            people.hand_over(
                household,
                by=user,
                to=next(one for one in others if one.pk == told["to"]),
                becomes=Role(told["becomes"]) if told["becomes"] else None,
                actor=actor_in(request, household),
            )
        except people.NotPossible as why:
            form.add_error(None, str(why))
        else:
            messages.success(
                request, (gettext("%(household)s is handed over.") % {"household": household})
            )
            return redirect("people", household.pk) if told["becomes"] else redirect("households")
    values = {"form": form, "household": household, "others": others}
    return render(request, "devices/household_hand_over.html", values)
