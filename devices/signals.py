"""What happens by itself: sign-ins are recorded, schedules exist after every migration."""

from dataclasses import replace
from typing import Any

from allauth.account.signals import password_changed
from django.apps import apps
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import connections
from django.db.models.signals import post_migrate
from django.http import HttpRequest

from devices import guards
from devices.middleware import origin
from devices.models import Actor, Outcome, audit
from devices.policies import roles_of
from devices.tasks import keep_schedules


def connect() -> None:
    """Connect the receivers; called once when the app is ready."""
    post_migrate.connect(_migrated, sender=apps.get_app_config("django_q"))
    user_logged_in.connect(_signed_in)
    user_logged_out.connect(_signed_out)
    user_login_failed.connect(_sign_in_failed)
    password_changed.connect(_password_changed)


def _migrated(using: str, **_: Any) -> None:
    keep_schedules()
    # a migration that makes a table anew, as SQLite needs it, would lose its triggers
    guards.install(connections[using])


def _signed_in(request: HttpRequest, user: Any, **_: Any) -> None:
    _record(request, user, "person.signed_in", f"{user.email} signed in.")


def _signed_out(request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        _record(request, user, "person.signed_out", f"{user.email} signed out.")


def _password_changed(request: HttpRequest, user: Any, **_: Any) -> None:
    _record(request, user, "person.password_changed", f"{user.email} changed the password.")


def _sign_in_failed(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    tried = str(credentials.get("email") or credentials.get("username") or "")[:254]
    actor = Actor(name=tried or "unknown")
    audit.record(
        replace(actor, **origin(request)) if request is not None else actor,
        "person.sign_in_failed",
        f"A sign-in as {tried or 'nobody'} failed.",
        outcome=Outcome.REFUSED,
    )


def _record(request: HttpRequest, user: Any, action: str, sentence: str) -> None:
    actor = Actor.person(user, role=roles_of(user), via="web", **origin(request))
    audit.record(actor, action, sentence)
