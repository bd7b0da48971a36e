"""The server's people, for administrators: who may sign in, who is staff, whose household."""

from dataclasses import replace

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.forms.staff import NewHouseholdForm, PersonForm, StaffRoleForm
from devices.households import members, password_links, staff
from devices.models import Actor, StaffRole, User
from devices.security import factor_proof
from devices.views.access import admin_required, current_user, request_actor
from devices.views.form_drafts import restore

PER_PAGE = 50
WHY = "an administrator of this server"


@require_safe
@admin_required
def server_people(request: HttpRequest) -> HttpResponse:
    """Everyone with a sign-in here."""
    search = request.GET.get("q", "").strip()[:100]
    found = User.objects.order_by("email").prefetch_related("memberships__household")
    for word in search.split():
        found = found.filter(Q(email__icontains=word) | Q(name__icontains=word))
    listed = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "devices/server/people.html", {"listed": listed, "search": search})


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def server_person_new(request: HttpRequest) -> HttpResponse:
    """A sign-in for a new person, who sets the password by a one-time link."""
    form = PersonForm(request.POST if request.method == "POST" else None, initial=restore(request))
    if form.is_valid():
        try:
            user = staff.create_person(
                email=form.cleaned_data["email"],
                name=form.cleaned_data["name"],
                actor=_actor(request),
                why=WHY,
            )
        except members.MembershipError as problem:
            form.add_error("email", str(problem))
        else:
            messages.success(
                request,
                (gettext("%(email)s was added. Next, create the link.") % {"email": user.email}),
            )
            return redirect("server_person", user.pk)
    return render(request, "devices/server/person_new.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def server_household_new(request: HttpRequest) -> HttpResponse:
    """A household for a person; the administrator does not become a member."""
    form = NewHouseholdForm(
        request.POST if request.method == "POST" else None, initial=restore(request)
    )
    if form.is_valid():
        owner = User.objects.filter(
            email__iexact=form.cleaned_data["owner"], is_active=True
        ).first()
        if owner is None:
            form.add_error(
                "owner", gettext("This address is not registered here. Add the person first.")
            )
        else:
            try:
                household = members.create_household(
                    name=form.cleaned_data["name"],
                    time_zone=form.cleaned_data["time_zone"],
                    owner=owner,
                    actor=_actor(request),
                    why=WHY,
                )
            except members.MembershipError as problem:
                form.add_error("owner", str(problem))
            else:
                values = {"household": household, "email": owner.email}
                messages.success(
                    request, gettext("%(household)s now belongs to %(email)s.") % values
                )
                return redirect("server_people")
    return render(request, "devices/server/household_new.html", {"form": form})


@require_safe
@admin_required
def server_person(request: HttpRequest, pk: int) -> HttpResponse:
    """One person: roles, sessions, and what can be done about the sign-in."""
    return _page(request, _user(pk))


def _page(request: HttpRequest, user: User, link: str = "", code: str = "") -> HttpResponse:
    found = user.memberships.select_related("household").order_by("household__name", "pk")
    values = {
        "one": user,
        "listed": Paginator(found, PER_PAGE).get_page(request.GET.get("page")),
        "form": StaffRoleForm(initial={"role": user.staff_role}),
        "link": link,
        "code": code,
        "needs_code": factor_proof.is_needed(user),
    }
    return render(request, "devices/server/person.html", values)


@never_cache
@require_POST
@admin_required
def server_person_act(request: HttpRequest, pk: int) -> HttpResponse:
    """Do one of the things the person's page offers."""
    user, actor = _user(pk), _actor(request)
    act = request.POST.get("act", "")
    try:
        if act == "link":
            households = [one.household for one in user.memberships.select_related("household")]
            path = password_links.make_path(
                user,
                maker=password_links.Maker(current_user(request)),
                actor=actor,
                households=households,
                why=WHY,
            )
            return _page(request, user, settings.PUBLIC_URL + path)
        if act == "code":
            return _page(request, user, code=staff.make_factor_code(user, actor=actor, why=WHY))
        if act == "role":
            form = StaffRoleForm(request.POST)
            is_changed = form.is_valid() and staff.set_staff_role(
                user, StaffRole(form.cleaned_data["role"]), actor=actor, why=WHY
            )
            if not is_changed:
                messages.warning(request, gettext("Nothing was changed."))
                return redirect("server_person", user.pk)
        elif act == "close":
            staff.close(user, actor=actor, why=WHY)
        elif act == "reopen":
            staff.reopen(user, actor=actor, why=WHY)
        elif act == "sessions":
            staff.sign_out_everywhere(user, actor=actor, why=WHY)
        elif act == "address":
            staff.confirm_address(user, actor=actor, why=WHY)
        else:
            raise Http404("no such act")
        messages.success(request, gettext("Done. Recorded in the audit trail."))
    except members.MembershipError as problem:
        messages.warning(
            request, (gettext("%(problem)s Nothing was changed.") % {"problem": problem})
        )
    return redirect("server_person", user.pk)


def _user(pk: int) -> User:
    user = User.objects.filter(pk=pk).first()
    if user is None:
        raise Http404("no such person")
    return user


def _actor(request: HttpRequest) -> Actor:
    return replace(request_actor(request), role=StaffRole.ADMINISTRATOR)
