"""Personal tokens of programs and calendars: make, find, revoke."""

from collections.abc import Collection
from datetime import datetime

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext

from devices.audit import log as audit_log
from devices.models import Actor, ApiToken, AuditAction, Household, Role, Scope, User
from devices.models.api_token import FOR_PROGRAMS, MARK
from devices.permissions import Right, may, role_in
from devices.security.factor_proof import has_second_factor
from devices.security.one_time_tokens import digest_of, make_token

MOST_A_PERSON = 20
WORDS = {
    Scope.READ: "read",
    Scope.INSTALL: "read and install",
    Scope.CALENDAR: "show what is planned in a calendar",
}


class TokenError(Exception):
    """What was asked for cannot be done; nothing was changed. str() is a sentence for people."""


def make(
    household: Household, *, user: User, name: str, scope: Scope, actor: Actor
) -> tuple[ApiToken, str]:
    """Return a new token and its text, to be shown once. Raises TokenError."""
    if scope == Scope.INSTALL and not may(user, Right.INSTALL, household):
        raise TokenError(gettext("Your role does not allow installing. Choose a read-only token."))
    if scope == Scope.CALENDAR and not _belongs(user, household):
        raise TokenError(gettext("Only people of the household can have its calendar."))
    with audit_log.locked():
        good = ApiToken.objects.filter(user=user, household=household, revoked_at=None)
        if good.count() >= MOST_A_PERSON:
            raise TokenError(
                gettext("You already have %(n)s tokens here. Revoke one first.")
                % {"n": MOST_A_PERSON}
            )
        token, text = create(user, household, name=name, scope=scope)
        audit_log.record(
            actor,
            AuditAction.TOKEN_MADE,
            f"{actor.name} made the token “{name}” for {household}: it may {WORDS[scope]}.",
            household=household,
            why=f"role {actor.role}",
            detail={"token_id": token.pk, "scope": scope.value},
        )
    return token, text


def create(user: User, household: Household, *, name: str, scope: Scope) -> tuple[ApiToken, str]:
    """Return a new token, saved, and its text, which is stored nowhere."""
    text = MARK + make_token()
    token = ApiToken.objects.create(
        user=user, household=household, name=name, scope=scope, digest=digest_of(text)
    )
    return token, text


def find(text: str, now: datetime, scopes: Collection[Scope] = FOR_PROGRAMS) -> ApiToken | None:
    """Return the token of one of these scopes that works now, or None. One query; two for staff.

    Staff are held to the rules of their pages: a second factor, and the times of their sessions.
    """
    if not text.startswith(MARK):
        return None
    good = ApiToken.objects.filter(revoked_at=None, user__is_active=True, scope__in=scopes)
    token = good.select_related("user", "household").filter(digest=digest_of(text)).first()
    if token is None or not may(token.user, Right.LOOK, token.household):
        return None
    if token.scope == Scope.CALENDAR and not _belongs(token.user, token.household):
        return None
    if token.user.staff_role and not _is_session_like(token, now):
        return None
    return token


def _is_session_like(token: ApiToken, now: datetime) -> bool:
    used_at = token.last_used_at or token.created_at
    is_over = now - token.created_at > settings.STAFF_LONGEST or now - used_at > settings.STAFF_IDLE
    return not is_over and has_second_factor(token.user)


def revoke(token: ApiToken, *, actor: Actor) -> None:
    """End the token at once. Safe on repeat."""
    with audit_log.locked():
        good = ApiToken.objects.filter(pk=token.pk, revoked_at=None)
        if not good.update(revoked_at=timezone.now()):
            return
        audit_log.record(
            actor,
            AuditAction.TOKEN_REVOKED,
            f"{actor.name} revoked the token “{token.name}” of {token.user.email}.",
            household=token.household,
            why=f"role {actor.role}",
            detail={"token_id": token.pk, "scope": token.scope},
        )


def _belongs(user: User, household: Household) -> bool:
    return role_in(user, household) in Role.values
