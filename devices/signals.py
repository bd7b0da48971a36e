"""Reactions to signals: record sign-ins, end access with a password, schedule after migrations."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from allauth.account.internal.flows.login import get_authentication_records, record_authentication
from allauth.account.signals import password_changed, password_reset
from allauth.account.views import INTERNAL_RESET_SESSION_KEY
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.signals import (
    authentication_failed,
    authenticator_added,
    authenticator_removed,
    authenticator_reset,
)
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import connections
from django.db.models.signals import post_migrate
from django.http import HttpRequest
from django.utils import timezone

from devices.audit import log as audit_log
from devices.audit import marks, triggers
from devices.households import password_links
from devices.households.access_end import end_access
from devices.installs.lifecycle import unsent
from devices.middleware import begin
from devices.models import Actor, AuditAction, AuditHead, OtaJob, Outcome
from devices.notifications import push_devices
from devices.permissions import roles_of
from devices.planning import planner
from devices.security.rate_limits import spend
from devices.security.request_origin import origin
from devices.taskqueue.allow_list import keep_schedules

KINDS = {
    "totp": "an authenticator app",
    "webauthn": "a passkey or security key",
    "recovery_codes": "recovery codes",
}


def connect() -> None:
    """Connect the receivers; called once when the app is ready."""
    post_migrate.connect(_migrated, sender=apps.get_app_config("django_q"))
    unsent.connect(_unsent)
    user_logged_in.connect(_signed_in)
    user_logged_out.connect(_signed_out)
    user_login_failed.connect(_sign_in_failed)
    password_changed.connect(_password_changed)
    password_reset.connect(_password_reset)
    authenticator_added.connect(_factor_added)
    authenticator_removed.connect(_factor_removed)
    authenticator_reset.connect(_factor_reset)
    authentication_failed.connect(_factor_failed)
    # codes of another library, which its page would decrypt and show; none were ever taken over
    RecoveryCodes._get_migrated_codes = lambda _self: None


# So many wrong codes for one person within this time are allowed, from all addresses together.
MOST_WRONG_FACTORS, WRONG_FACTORS_S = 10, 300


def _unsent(job: OtaJob, look_at: datetime, now: datetime, **_: Any) -> bool:
    return planner.wait_again(job, look_at, now)


def _migrated(using: str, plan: Sequence[object] = (), **_: Any) -> None:
    keep_schedules()
    # A migration that rebuilds a table, as SQLite needs it, loses its triggers. A start that finds
    # nothing to migrate locks no table that other machines write to.
    if plan or not triggers.are_in_place(connections[using]):
        triggers.install(connections[using])
    _keep_trail(using)


def _keep_trail(using: str) -> None:
    """Make sure that the trail has its head and its first mark, once its tables are of today."""
    head = AuditHead._meta
    with connections[using].cursor() as cursor:
        if head.db_table not in connections[using].introspection.table_names(cursor):
            return
        columns = connections[using].introspection.get_table_description(cursor, head.db_table)
    if {field.column for field in head.concrete_fields} <= {column.name for column in columns}:
        audit_log.ensure_head()
        marks.begin()


def _signed_in(request: HttpRequest, user: Any, **_: Any) -> None:
    request.user = user
    begin(request)
    for last in get_authentication_records(request, user)[-1:]:
        last["reauthenticated"] = True  # what was just shown is not asked for again in a moment
        request.session.modified = True
    _record(request, user, AuditAction.PERSON_SIGNED_IN, f"{user.email} signed in.")
    push_devices.end_of_others(request, user, _actor(request, user))


def _signed_out(request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        over = "SESSION_OVER" in request.META
        action = AuditAction.PERSON_SESSION_OVER if over else AuditAction.PERSON_SIGNED_OUT
        words = "was signed out: the session was over" if over else "signed out"
        _record(request, user, action, f"{user.email} {words}.")
        if not over:  # a session that is over is no wish to get nothing more
            push_devices.end_here(request, user, _actor(request, user))


def _password_changed(request: HttpRequest, user: Any, **_: Any) -> None:
    with audit_log.locked():
        ended = end_access(user)
        words = f"{user.email} changed the password."
        _record(request, user, AuditAction.PERSON_PASSWORD_CHANGED, words, detail=ended)
    update_session_auth_hash(request, user)  # this one session goes on
    UserSession.objects.create_from_request(request)


def _password_reset(request: HttpRequest, user: Any, **_: Any) -> None:
    token = request.session.get(INTERNAL_RESET_SESSION_KEY, "")
    maker = password_links.maker_of(user, token) or password_links.BY_MAIL
    is_mailed = maker == password_links.BY_MAIL
    with audit_log.locked():
        ended = end_access(user)
        if user.is_address_unproven:
            # an earlier user of this account may have been another person
            ended |= _forget_ways_in(user)
        # a mailed link proves the address; one that another person passed on proves nothing
        user.password_by_link_at = timezone.now() if maker.user is not None else None
        user.is_address_unproven = user.is_address_unproven and not is_mailed
        user.save(update_fields=["password_by_link_at", "is_address_unproven"])
        words = f"{user.email} set a new password by {maker.name}; every session ended."
        maker_id = maker.user.pk if maker.user is not None else None
        _record(
            request,
            user,
            AuditAction.PERSON_PASSWORD_RESET,
            words,
            detail={"made_by": maker_id, **ended},
        )


def _forget_ways_in(user: Any) -> dict[str, object]:
    """Remove second factors, passkeys and the issuer's link; return how many, for the trail."""
    ended = {"factors": Authenticator.objects.filter(user=user).delete()[0]}
    if apps.is_installed("allauth.socialaccount"):
        from allauth.socialaccount.models import SocialAccount

        ended["identities"] = SocialAccount.objects.filter(user=user).delete()[0]
    return {what: count for what, count in ended.items() if count}


def _factor_added(request: HttpRequest, user: Any, authenticator: Any, **_: Any) -> None:
    kind = KINDS.get(authenticator.type, authenticator.type)
    if authenticator.type != "recovery_codes":
        # a factor that was just set up need not be shown again in this session
        record_authentication(request, user, "mfa", id=authenticator.pk, type=authenticator.type)
    _record(
        request,
        user,
        AuditAction.PERSON_FACTOR_ADDED,
        f"{user.email} added {kind}.",
        detail={"kind": kind},
    )


def _factor_removed(request: HttpRequest, user: Any, authenticator: Any, **_: Any) -> None:
    kind = KINDS.get(authenticator.type, authenticator.type)
    _record(
        request,
        user,
        AuditAction.PERSON_FACTOR_REMOVED,
        f"{user.email} removed {kind}.",
        detail={"kind": kind},
    )


def _factor_reset(request: HttpRequest, user: Any, authenticator: Any, **_: Any) -> None:
    kind = KINDS.get(authenticator.type, authenticator.type)
    words = f"{user.email} created new {kind}."
    _record(request, user, AuditAction.PERSON_FACTOR_RESET, words, detail={"kind": kind})


def _factor_failed(request: HttpRequest, user: Any, **_: Any) -> None:
    words = f"The second factor of {user.email} was not right."
    _record(request, user, AuditAction.PERSON_FACTOR_FAILED, words, outcome=Outcome.REFUSED)
    if spend(f"factor:{user.pk}", MOST_WRONG_FACTORS, WRONG_FACTORS_S):
        # each further guess costs the password again, from every address
        request.session.flush()


def _sign_in_failed(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    tried = str(credentials.get("email") or credentials.get("username") or "")[:254]
    actor = Actor(name=tried or "unknown")
    audit_log.record(
        replace(actor, **origin(request)) if request is not None else actor,
        AuditAction.PERSON_SIGN_IN_FAILED,
        f"A sign-in as {tried or 'an empty name'} failed.",
        outcome=Outcome.REFUSED,
    )


def _record(
    request: HttpRequest,
    user: Any,
    action: AuditAction,
    sentence: str,
    outcome: str = Outcome.DONE,
    detail: Mapping[str, object] | None = None,
) -> None:
    actor = _actor(request, user)
    audit_log.record(actor, action, sentence, outcome=outcome, detail=detail or {})


def _actor(request: HttpRequest, user: Any) -> Actor:
    return Actor.person(user, role=roles_of(user), via="web", **origin(request))
