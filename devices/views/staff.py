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

from devices import people, staff
from devices.forms import FoundingForm, PersonForm, StaffRoleForm
from devices.models import Actor, StaffRole, User
from devices.views.access import actor_in, administrator
from devices.views.typed import typed

PER_PAGE = 50
WHY = "an administrator of this server"


@require_safe
@administrator
def server_people(request: HttpRequest) -> HttpResponse:
    """Everybody who has a sign-in here."""
    search = request.GET.get("q", "").strip()[:100]
    found = User.objects.order_by("email").prefetch_related("memberships__household")
    for word in search.split():
        found = found.filter(Q(email__icontains=word) | Q(name__icontains=word))
    listed = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "devices/server_people.html", {"listed": listed, "search": search})


@require_http_methods(["GET", "HEAD", "POST"])
@administrator
def server_person_new(request: HttpRequest) -> HttpResponse:
    """A sign-in for somebody, who sets the password by a one-time link."""
    form = PersonForm(request.POST if request.method == "POST" else None, initial=typed(request))
    if form.is_valid():
        told = form.cleaned_data
        try:
            user = staff.create_person(
                email=told["email"], name=told["name"], actor=_actor(request), why=WHY
            )
        except people.NotPossible as problem:
            form.add_error("email", str(problem))
        else:
            messages.success(
                request,
                (
                    gettext("%(email)s is known here now. Next, make the link.")
                    % {"email": user.email}
                ),
            )
            return redirect("server_person", user.pk)
    return render(request, "devices/server_person_new.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
@administrator
def server_household_new(request: HttpRequest) -> HttpResponse:
    """A household for somebody: the administrator does not belong to it."""
    form = FoundingForm(request.POST if request.method == "POST" else None, initial=typed(request))
    if form.is_valid():
        told = form.cleaned_data
        owner = User.objects.filter(email__iexact=told["owner"], is_active=True).first()
        if owner is None:
            form.add_error(
                "owner", gettext("Nobody signs in here with this address. Make a sign-in first.")
            )
        else:
            household = people.create_household(
                name=told["name"],
                time_zone=told["time_zone"],
                owner=owner,
                actor=_actor(request),
                why=WHY,
            )
            messages.success(
                request,
                (
                    gettext("%(household)s belongs to %(email)s now.")
                    % {"household": household, "email": owner.email}
                ),
            )
            return redirect("server_people")
    return render(request, "devices/server_household_new.html", {"form": form})


@require_safe
@administrator
def server_person(request: HttpRequest, pk: int) -> HttpResponse:
    """One person: roles, sessions, and what can be done about the sign-in."""
    return _page(request, _user(pk))


def _page(request: HttpRequest, user: User, link: str = "") -> HttpResponse:
    values = {
        "one": user,
        "memberships": user.memberships.select_related("household").order_by("household__name"),
        "form": StaffRoleForm(initial={"role": user.staff_role}),
        "link": link,
    }
    return render(request, "devices/server_person.html", values)


@never_cache
@require_POST
@administrator
def server_person_act(request: HttpRequest, pk: int) -> HttpResponse:
    """Do one of the things the person's page offers."""
    user, actor = _user(pk), _actor(request)
    act = request.POST.get("act", "")
    try:
        if act == "link":
            households = [one.household for one in user.memberships.select_related("household")]
            path = people.reset_link(user, actor=actor, households=households, why=WHY)
            return _page(request, user, settings.PUBLIC_URL + path)
        if act == "role":
            form = StaffRoleForm(request.POST)
            if form.is_valid():
                role = StaffRole(form.cleaned_data["role"])
                staff.set_staff_role(user, role, actor=actor, why=WHY)
        elif act == "close":
            staff.close(user, actor=actor, why=WHY)
        elif act == "reopen":
            staff.reopen(user, actor=actor, why=WHY)
        elif act == "sessions":
            staff.end_sessions(user, actor=actor, why=WHY)
        else:
            raise Http404("no such act")
        messages.success(request, gettext("Done. It is in the audit trail."))
    except people.NotPossible as problem:
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
    return replace(actor_in(request), role=StaffRole.ADMINISTRATOR)
