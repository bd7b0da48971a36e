"""The session of a cloud account: read it, keep it, end it."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from devices.audit import log as audit_log
from devices.explanations.error_codes import last_error
from devices.models import (
    AccountState,
    Actor,
    AuditAction,
    AuditEvent,
    CloudAccount,
    Outcome,
    Topic,
)
from devices.models.message import Message, MessageCode
from devices.notifications.outbox import notify
from devices.rainmaker.errors import CloudError
from devices.rainmaker.schemas import Tokens
from devices.security.encryption import DecryptionError, decrypt, encrypt

SESSION_FIELDS = (
    "sealed_access_token",
    "sealed_refresh_token",
    "access_expires_at",
    "extend_after",
    "extensions",
)


def any_signed_out(households: Collection[int]) -> bool:
    """Is an account of these households signed out? One query."""
    signed_out = CloudAccount.objects.filter(state=AccountState.SIGNED_OUT)
    return signed_out.filter(household_id__in=households).exists()


def tokens_of(account: CloudAccount) -> Tokens | None:
    """Return the account's session, or None when there is none or it cannot be opened."""
    if not account.sealed_refresh_token and not account.sealed_access_token:
        return None
    try:
        return Tokens(
            access_token=decrypt(account.sealed_access_token),
            refresh_token=decrypt(account.sealed_refresh_token),
            access_expires_at=account.access_expires_at,
            user_id=account.cloud_user_id,
            email=account.email,
            extend_after=account.extend_after,
            extensions=account.extensions,
        )
    except DecryptionError:
        return None


def keep_tokens(account: CloudAccount, tokens: Tokens) -> None:
    """Set the session on the account, sealed; the caller saves."""
    account.sealed_access_token = encrypt(tokens.access_token)
    account.sealed_refresh_token = encrypt(tokens.refresh_token)
    account.access_expires_at = tokens.access_expires_at
    account.extend_after, account.extensions = tokens.extend_after, tokens.extensions
    account.cloud_user_id = tokens.user_id or account.cloud_user_id


def values_of_session(account: CloudAccount) -> dict[str, Any]:
    """Return the fields that keep_tokens() set, to be written to a row."""
    return {name: getattr(account, name) for name in SESSION_FIELDS}


def is_same_secret(one: str, other: str) -> bool:
    """Return whether two encrypted texts are one secret. Encrypted twice, a secret is two texts."""
    try:
        return one == other or decrypt(one) == decrypt(other)
    except DecryptionError:
        return False


def sign_out(account: CloudAccount, problem: CloudError, now: datetime) -> None:
    """Record that the cloud ended the session: a person has to sign in again.

    Nothing changes when a newer session than the given account's was opened meanwhile.
    """
    with audit_log.locked():
        linked = CloudAccount.objects.filter(pk=account.pk, state=AccountState.LINKED)
        stored = linked.values_list("sealed_refresh_token", flat=True).first()
        if stored is None or not is_same_secret(stored, account.sealed_refresh_token):
            return
        linked.update(state=AccountState.SIGNED_OUT, **last_error(problem))
        account.state = AccountState.SIGNED_OUT
        account.nodes.filter(gone_at__isnull=True).touch_all(now, check_asked_at=None)
        audit_log.record(
            Actor.worker(),
            AuditAction.ACCOUNT_SIGNED_OUT,
            f"The cloud at {account.cloud_host} asks to sign in again.",
            household=account.household,
            outcome=Outcome.FAILED,
            at=now,
            detail={"account_id": account.pk, "code": problem.code, "status": problem.status}
            | account.mark,
        )
        if not account.signs_in_by_itself:
            notify_signed_out(account, now)


def notify_signed_out(account: CloudAccount, now: datetime) -> None:
    """Notify the household that a person has to sign in again. One query without subscribers."""
    notify(
        Topic.SIGNED_OUT,
        household=account.household,
        path=reverse("account_reconnect", args=[account.pk]),
        now=now,
        accounts=[account],
        cloud=account.cloud_host,
    )


OTHER_USER_AGAIN = timedelta(days=1)


def events_of(account: CloudAccount, actions: Iterable[str]) -> QuerySet[AuditEvent]:
    """Return the trail's rows with these actions on the account, in no order: sorting would read
    the whole trail of the household.
    """
    return AuditEvent.objects.filter(
        household_id=account.household_id,
        action__in=list(actions),
        detail__account_id=account.pk,
        sequence__gte=1,
    )


def record_other_user(account: CloudAccount, now: datetime) -> None:
    """Record that the cloud answered with another user's session, and notify the household.

    At most once a day and account; the session that was stored stays as it is.
    """
    with audit_log.locked():
        rows = events_of(account, [AuditAction.ACCOUNT_OTHER_USER])
        if rows.filter(at__gt=now - OTHER_USER_AGAIN).exists():
            return
        audit_log.record(
            Actor.worker(),
            AuditAction.ACCOUNT_OTHER_USER,
            f"The cloud at {account.cloud_host} answered with the session of another user; it was "
            "not used.",
            household=account.household,
            outcome=Outcome.REFUSED,
            at=now,
            detail={"account_id": account.pk} | account.mark,
        )
        notify(
            Topic.SIGNED_OUT,
            household=account.household,
            path=reverse("account_reconnect", args=[account.pk]),
            now=now,
            accounts=[account],
            message=Message.of(MessageCode.ACCOUNT_OTHER_USER, cloud=account.cloud_host),
            cloud=account.cloud_host,
        )
