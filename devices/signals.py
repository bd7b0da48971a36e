"""What happens by itself: sign-ins are recorded, schedules exist after every migration."""

from dataclasses import replace
from typing import Any

from allauth.account.internal.flows.login import record_authentication
from allauth.account.signals import password_changed, password_reset
from allauth.mfa.signals import (
    authentication_failed,
    authenticator_added,
    authenticator_removed,
    authenticator_reset,
)
from django.apps import apps
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import connections
from django.db.models.signals import post_migrate
from django.http import HttpRequest

from devices import guards
from devices.middleware import begin, origin
from devices.models import Actor, Outcome, audit
from devices.policies import roles_of
from devices.tasks import keep_schedules

KINDS = {
    "totp": "an authenticator app",
    "webauthn": "a passkey or security key",
    "recovery_codes": "recovery codes",
}


def connect() -> None:
    """Connect the receivers; called once when the app is ready."""
    post_migrate.connect(_migrated, sender=apps.get_app_config("django_q"))
    user_logged_in.connect(_signed_in)
    user_logged_out.connect(_signed_out)
    user_login_failed.connect(_sign_in_failed)
    password_changed.connect(_password_changed)
    password_reset.connect(_password_reset)
    authenticator_added.connect(_factor_added)
    authenticator_removed.connect(_factor_removed)
    authenticator_reset.connect(_factor_reset)
    authentication_failed.connect(_factor_failed)


def _migrated(using: str, **_: Any) -> None:
    keep_schedules()
    # a migration that makes a table anew, as SQLite needs it, would lose its triggers
    guards.install(connections[using])


def _signed_in(request: HttpRequest, user: Any, **_: Any) -> None:
    begin(request)
    _record(request, user, "person.signed_in", f"{user.email} signed in.")


def _signed_out(request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        over = "SESSION_OVER" in request.META
        action = "person.session_over" if over else "person.signed_out"
        words = "was signed out: the session was over" if over else "signed out"
        _record(request, user, action, f"{user.email} {words}.")


def _password_changed(request: HttpRequest, user: Any, **_: Any) -> None:
    _record(request, user, "person.password_changed", f"{user.email} changed the password.")


def _password_reset(request: HttpRequest, user: Any, **_: Any) -> None:
    words = f"{user.email} set a new password by a one-time link; every session ended."
    _record(request, user, "person.password_reset", words)


def _factor_added(request: HttpRequest, user: Any, authenticator: Any, **_: Any) -> None:
    kind = KINDS.get(authenticator.type, authenticator.type)
    if authenticator.type != "recovery_codes":
        # who has just shown a factor need not show it again in this session
        record_authentication(request, user, "mfa", id=authenticator.pk, type=authenticator.type)
    _record(request, user, "person.factor_added", f"{user.email} added {kind}.", kind=kind)


def _factor_removed(request: HttpRequest, user: Any, authenticator: Any, **_: Any) -> None:
    kind = KINDS.get(authenticator.type, authenticator.type)
    _record(request, user, "person.factor_removed", f"{user.email} removed {kind}.", kind=kind)


def _factor_reset(request: HttpRequest, user: Any, authenticator: Any, **_: Any) -> None:
    kind = KINDS.get(authenticator.type, authenticator.type)
    _record(request, user, "person.factor_reset", f"{user.email} made {kind} anew.", kind=kind)


def _factor_failed(request: HttpRequest, user: Any, **_: Any) -> None:
    words = f"The second factor of {user.email} was not right."
    _record(request, user, "person.factor_failed", words, outcome=Outcome.REFUSED)


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


def _record(
    request: HttpRequest,
    user: Any,
    action: str,
    sentence: str,
    outcome: str = Outcome.DONE,
    **detail: str,
) -> None:
    actor = Actor.person(user, role=roles_of(user), via="web", **origin(request))
    audit.record(actor, action, sentence, outcome=outcome, detail=detail)
