"""The first visit, and a person's own page."""

from django.contrib import messages
from django.contrib.auth import login
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from devices import welcome as link
from devices.forms import ProfileForm, WelcomeForm
from devices.middleware import origin
from devices.models import Actor, Role, User, audit
from devices.people import create_household
from devices.views.access import person, signed_in
from devices.views.typed import typed

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def welcome(request: HttpRequest, token: str) -> HttpResponse:
    """The first owner and household, by the one-time link from the terminal."""
    if not link.is_valid(token):
        return render(request, "devices/welcome_over.html", status=410)
    form = WelcomeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = _found(request, form)
        login(request, user, backend=BACKEND)
        messages.success(request, gettext("Welcome. Next, link the account your hubs are in."))
        return redirect("account_link")
    return render(request, "devices/welcome.html", {"form": form})


def _found(request: HttpRequest, form: WelcomeForm) -> User:
    told = form.cleaned_data
    with transaction.atomic():
        audit.lock()
        user = User.objects.create_user(told["email"], told["password"], name=told["name"])
        create_household(
            name=told["household"],
            time_zone=told["time_zone"],
            owner=user,
            actor=Actor.person(user, role=Role.OWNER, via="web", **origin(request)),
            why="one-time link from the terminal",
        )
    return user


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def profile(request: HttpRequest) -> HttpResponse:
    """The person's name, households and ways to change the password or leave."""
    user = person(request)
    now = {"name": user.name, "search_key": user.search_key}
    if kept := typed(request):
        now = kept | {"search_key": "search_key" in kept}
    form = ProfileForm(request.POST if request.method == "POST" else None, initial=now)
    if form.is_valid():
        user.name = form.cleaned_data["name"]
        user.search_key = form.cleaned_data["search_key"]
        user.save(update_fields=["name", "search_key"])
        messages.success(request, gettext("Saved."))
        return redirect("profile")
    return render(request, "devices/profile.html", {"form": form})
