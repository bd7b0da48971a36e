"""The people of one household: see, invite, give another role, remove."""

from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from devices.forms.households import InviteForm, RoleForm
from devices.households import invitations, password_links
from devices.households import members as households_members
from devices.households.people import MembersAndInvited
from devices.models import Household, Invitation, Membership, Role
from devices.notifications.email import send
from devices.permissions import Right, mask_people, may
from devices.presentation.formatting import day_hour_and_zone, role_word
from devices.security.one_time_tokens import mail_mark
from devices.security.rate_limits import limited
from devices.views.access import (
    current_user,
    get_household_or_404,
    get_member_or_404,
    login_required_here,
    refuse,
    request_actor,
)
from devices.views.form_drafts import restore

PER_PAGE = 50


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def people(request: HttpRequest, pk: int) -> HttpResponse:
    """Everyone in this household; owners invite on the same page."""
    household = get_household_or_404(request, pk)
    if request.method == "POST":
        if not may(current_user(request), Right.PEOPLE, household):
            refuse(request, Right.PEOPLE, household, None)
        return _invite(request, household)
    return _page(request, household, InviteForm(initial=restore(request)))


def _page(request: HttpRequest, household: Household, form: InviteForm) -> HttpResponse:
    user = current_user(request)
    may_change = may(user, Right.PEOPLE, household)
    both = MembersAndInvited(household, with_invited=may_change)
    pages: Paginator[Membership | Invitation] = Paginator(cast(Any, both), PER_PAGE)
    listed = pages.get_page(request.GET.get("page"))
    members = [one for one in listed if isinstance(one, Membership)]
    for one in members:
        mask_people(user, one.user, household.pk)
    values = {
        "household": household,
        "listed": listed,
        "members": members,
        "invitations": [one for one in listed if isinstance(one, Invitation)],
        "form": form,
        "roles": RoleForm.base_fields["role"].choices,  # type: ignore[attr-defined]
        "may_change": may_change,
    }
    return render(request, "devices/people/list.html", values)


@limited("invite")
def _invite(request: HttpRequest, household: Household) -> HttpResponse:
    form = InviteForm(request.POST)
    if not form.is_valid():
        return _page(request, household, form)
    try:
        invitation, token = invitations.invite(
            household,
            email=form.cleaned_data["email"],
            role=Role(form.cleaned_data["role"]),
            by=current_user(request),
            actor=request_actor(request, household),
        )
    except households_members.MembershipError as why:
        form.add_error("email", str(why))
        return _page(request, household, form)
    link = settings.PUBLIC_URL + reverse("invitation", args=[token])
    values = {"household": household, "invitation": invitation, "link": link}
    subject = gettext("An invitation to %(household)s") % {"household": household}
    words = {
        "household": household,
        "invited_by_name": invitation.invited_by_name,
        "role": role_word(invitation.role),
        "email": invitation.email,
        "expires_at": day_hour_and_zone(invitation.expires_at),
        "link": f"{link}?mail={mail_mark(token)}",
    }
    is_mailed = send(invitation.email, subject, "mail/invitation.txt", words)
    return render(request, "devices/people/invitation_link.html", values | {"is_mailed": is_mailed})


@require_POST
@login_required_here
def role(request: HttpRequest, pk: int, user: int) -> HttpResponse:
    """Give a member another role."""
    membership = get_member_or_404(request, pk, user, Right.PEOPLE)
    household, form = membership.household, RoleForm(request.POST)
    if not form.is_valid():
        messages.warning(request, gettext("Unknown role. Nothing was changed."))
        return redirect("people", household.pk)
    try:
        households_members.change_role(
            household,
            membership.user,
            Role(form.cleaned_data["role"]),
            actor=request_actor(request, household),
        )
        messages.success(
            request,
            (
                gettext("%(user)s is now %(role)s.")
                % {"user": membership.user, "role": role_word(form.cleaned_data["role"])}
            ),
        )
    except households_members.MembershipError as why:
        messages.warning(request, (gettext("%(why)s Nothing was changed.") % {"why": why}))
    return redirect("people", household.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def remove(request: HttpRequest, pk: int, user: int) -> HttpResponse:
    """Ask before removing a member, and do it."""
    membership = get_member_or_404(request, pk, user, Right.PEOPLE)
    household = membership.household
    if request.method == "POST":
        try:
            households_members.remove(
                household, membership.user, actor=request_actor(request, household)
            )
            messages.success(
                request,
                (
                    gettext("%(user)s no longer belongs to %(household)s.")
                    % {"user": membership.user, "household": household}
                ),
            )
        except households_members.MembershipError as why:
            messages.warning(request, (gettext("%(why)s Nothing was changed.") % {"why": why}))
        if membership.user_id == current_user(request).pk:
            return redirect("households")
        return redirect("people", household.pk)
    values = {"household": household, "membership": membership}
    return render(request, "devices/people/remove.html", values)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required_here
def reset(request: HttpRequest, pk: int, user: int) -> HttpResponse:
    """Let a member who forgot the password set a new one: a link for an owner to pass on."""
    membership = get_member_or_404(request, pk, user, Right.PEOPLE)
    reasons = password_links.why_not_reset(membership.household, membership.user)
    if request.method == "POST" and not reasons:
        return _make_reset_link(request, membership)
    values = {"membership": membership, "household": membership.household, "reasons": reasons}
    return render(request, "devices/people/reset_password.html", values)


@limited("invite")
def _make_reset_link(request: HttpRequest, membership: Membership) -> HttpResponse:
    household, actor = membership.household, request_actor(request, membership.household)
    path = password_links.make_path(
        membership.user,
        maker=password_links.Maker(current_user(request), household),
        actor=actor,
        households=[household],
        why=f"role {actor.role}",
    )
    values = {"membership": membership, "household": household, "link": settings.PUBLIC_URL + path}
    return render(request, "devices/people/reset_password.html", values)


@require_POST
@login_required_here
def withdraw(request: HttpRequest, pk: int, invitation: int) -> HttpResponse:
    """End an invitation that was not accepted."""
    household = get_household_or_404(request, pk, Right.PEOPLE)
    found: Invitation | None = household.invitations.filter(pk=invitation).first()
    if found is None:
        raise Http404("no such invitation")
    try:
        invitations.withdraw(found, actor=request_actor(request, household))
        messages.success(
            request,
            (
                gettext("Invitation withdrawn. The link for %(email)s no longer works.")
                % {"email": found.email}
            ),
        )
    except households_members.MembershipError as why:
        messages.warning(request, str(why))
    return redirect("people", household.pk)
