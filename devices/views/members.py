"""The people of one household: see, invite, give another role, remove."""

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from devices import people as verbs
from devices.forms import InviteForm, RoleForm
from devices.mail import send
from devices.models import Household, Invitation, Role
from devices.policies import Right, may, why_not_reset
from devices.templatetags.show import role_word
from devices.views.access import (
    actor_in,
    household_for,
    member_for,
    person,
    refuse,
    signed_in,
)
from devices.views.limits import limited
from devices.views.typed import typed


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def people(request: HttpRequest, pk: int) -> HttpResponse:
    """Everybody who belongs here; owners invite on the same page."""
    household = household_for(request, pk)
    if request.method == "POST":
        return _invite(request, household)
    return _page(request, household, InviteForm(initial=typed(request)))


def _page(request: HttpRequest, household: Household, form: InviteForm) -> HttpResponse:
    members = household.memberships.select_related("user")
    may_change = may(person(request), Right.PEOPLE, household)
    values = {
        "household": household,
        "members": sorted(members, key=lambda one: (Role.values.index(one.role), one.user.email)),
        "invitations": household.invitations.open(timezone.now()).order_by("email")
        if may_change
        else [],
        "form": form,
        "roles": RoleForm.base_fields["role"].choices,  # type: ignore[attr-defined]
        "may_change": may_change,
    }
    return render(request, "devices/people.html", values)


@limited("invite")
def _invite(request: HttpRequest, household: Household) -> HttpResponse:
    if not may(person(request), Right.PEOPLE, household):
        refuse(request, Right.PEOPLE, household, None)
    form = InviteForm(request.POST)
    if not form.is_valid():
        return _page(request, household, form)
    try:
        invitation, token = verbs.invite(
            household,
            email=form.cleaned_data["email"],
            role=Role(form.cleaned_data["role"]),
            by=person(request),
            actor=actor_in(request, household),
        )
    except verbs.NotPossible as why:
        form.add_error("email", str(why))
        return _page(request, household, form)
    link = settings.PUBLIC_URL + reverse("invitation", args=[token])
    values = {"household": household, "invitation": invitation, "link": link}
    subject = gettext("An invitation to %(household)s") % {"household": household}
    is_mailed = send(invitation.email, subject, "mail/invitation.txt", values)
    return render(request, "devices/invited.html", values | {"is_mailed": is_mailed})


@require_POST
@signed_in
def role(request: HttpRequest, pk: int, user: int) -> HttpResponse:
    """Give a member another role."""
    membership = member_for(request, pk, user, Right.PEOPLE)
    household, form = membership.household, RoleForm(request.POST)
    if not form.is_valid():
        messages.warning(request, gettext("That is no role. Nothing was changed."))
        return redirect("people", household.pk)
    try:
        verbs.change_role(
            household,
            membership.user,
            Role(form.cleaned_data["role"]),
            actor=actor_in(request, household),
        )
        messages.success(
            request,
            (
                gettext("%(user)s is %(role)s now.")
                % {"user": membership.user, "role": role_word(form.cleaned_data["role"])}
            ),
        )
    except verbs.NotPossible as why:
        messages.warning(request, (gettext("%(why)s Nothing was changed.") % {"why": why}))
    return redirect("people", household.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def remove(request: HttpRequest, pk: int, user: int) -> HttpResponse:
    """Say what removing somebody means, and do it."""
    membership = member_for(request, pk, user, Right.PEOPLE)
    household = membership.household
    if request.method == "POST":
        try:
            verbs.remove(household, membership.user, actor=actor_in(request, household))
            messages.success(
                request,
                (
                    gettext("%(user)s does not belong to %(household)s any more.")
                    % {"user": membership.user, "household": household}
                ),
            )
        except verbs.NotPossible as why:
            messages.warning(request, (gettext("%(why)s Nothing was changed.") % {"why": why}))
        if membership.user_id == person(request).pk:
            return redirect("households")
        return redirect("people", household.pk)
    values = {"household": household, "membership": membership}
    return render(request, "devices/member_remove.html", values)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@limited("invite")
def reset(request: HttpRequest, pk: int, user: int) -> HttpResponse:
    """Let somebody who forgot the password set a new one: a link for an owner to pass on."""
    membership = member_for(request, pk, user, Right.PEOPLE)
    household = membership.household
    values = {
        "membership": membership,
        "household": household,
        "reasons": why_not_reset(household, membership.user),
        "link": "",
    }
    if request.method == "POST" and not values["reasons"]:
        actor = actor_in(request, household)
        path = verbs.reset_link(
            membership.user, actor=actor, households=[household], why=f"role {actor.role}"
        )
        values["link"] = settings.PUBLIC_URL + path
    return render(request, "devices/member_reset.html", values)


@require_POST
@signed_in
def withdraw(request: HttpRequest, pk: int, invitation: int) -> HttpResponse:
    """End an invitation that was not accepted."""
    household = household_for(request, pk, Right.PEOPLE)
    found: Invitation | None = household.invitations.filter(pk=invitation).first()
    if found is None:
        raise Http404("no such invitation")
    try:
        verbs.withdraw(found, actor=actor_in(request, household))
        messages.success(
            request,
            (
                gettext("Withdrawn. The link for %(email)s no longer works.")
                % {"email": found.email}
            ),
        )
    except verbs.NotPossible as why:
        messages.warning(request, str(why))
    return redirect("people", household.pk)
