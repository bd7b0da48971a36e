"""Making and revoking personal tokens."""

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from devices.models import Actor, ApiToken, Household, Scope, User, audit
from devices.policies import Right, may

MOST_A_PERSON = 20


class NotPossible(Exception):
    """What was asked for cannot be done; nothing was changed. str() is a sentence for people."""


def make(
    household: Household, *, user: User, name: str, scope: Scope, actor: Actor
) -> tuple[ApiToken, str]:
    """Return a new token and its text, to be shown once. Raises NotPossible."""
    if scope == Scope.INSTALL and not may(user, Right.INSTALL, household):
        raise NotPossible(
            gettext("Your role here may look, but not install: choose a token that reads.")
        )
    with transaction.atomic():
        audit.lock()
        good = ApiToken.objects.filter(user=user, household=household, revoked_at=None)
        if good.count() >= MOST_A_PERSON:
            raise NotPossible(
                gettext("You have %(n)s tokens here: revoke one first.") % {"n": MOST_A_PERSON}
            )
        token, text = ApiToken.make(user, household, name=name, scope=scope)
        audit.record(
            actor,
            "token.made",
            f"{actor.name} made the token “{name}” for {household}: it may {_words(scope)}.",
            household=household,
            why=f"role {actor.role}",
            detail={"token_id": token.pk, "scope": scope.value},
        )
    return token, text


def revoke(token: ApiToken, *, actor: Actor) -> None:
    """End the token at once. Safe on repeat."""
    with transaction.atomic():
        audit.lock()
        good = ApiToken.objects.filter(pk=token.pk, revoked_at=None)
        if not good.update(revoked_at=timezone.now()):
            return
        audit.record(
            actor,
            "token.revoked",
            f"{actor.name} revoked the token “{token.name}” of {token.user.email}.",
            household=token.household,
            why=f"role {actor.role}",
            detail={"token_id": token.pk, "scope": token.scope},
        )


def _words(scope: Scope) -> str:
    return "read and install" if scope == Scope.INSTALL else "read"
