"""Signing in again without a person, for accounts whose password was kept for that.

The password is kept only when the person who linked the account asked for it. There is one attempt
per pause, and the pauses grow, so a cloud that ends every session at once gets few sign-ins.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.utils import timezone

from devices.accounts.sessions import (
    is_same_secret,
    keep_tokens,
    notify_signed_out,
    record_other_user,
    values_of_session,
)
from devices.audit import log as audit_log
from devices.explanations.cloud_messages import TroubleCode
from devices.explanations.error_codes import NO_ERROR, error_code, last_error
from devices.models import AccountState, Actor, AuditAction, CloudAccount, Outcome, Plan
from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.errors import AnotherUser, CloudError, SignInAgain
from devices.rainmaker.schemas import Tokens
from devices.security.encryption import DecryptionError, decrypt
from devices.taskqueue.backoff import backoff

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
WHY = "the password was kept for this when the account was linked"


def sign_in(client: RainmakerClient, account: CloudAccount) -> Tokens:
    """Sign in with the kept password, as the user that was linked. Raises CloudError."""
    try:
        password = decrypt(account.sealed_password)
    except DecryptionError as problem:
        raise SignInAgain("The kept password cannot be opened.", was_sent=False) from problem
    return client.sign_in(account.email, password, user_id=account.cloud_user_id)


def on_signed_in(account: CloudAccount, tokens: Tokens, now: datetime) -> None:
    """Record that the account is linked again, unless a person did so meanwhile."""
    keep_tokens(account, tokens)
    with audit_log.locked():
        waiting = _still_waiting(account)
        if not waiting.update(
            state=AccountState.LINKED,
            **values_of_session(account),
            cloud_user_id=account.cloud_user_id,
            failures=0,
            resume_at=None,
            **NO_ERROR,
            next_sync_at=now,
            answered_at=now,
            **_next_attempt(account, now),
        ):
            return
        account.nodes.filter(gone_at__isnull=True).touch_all(now)
        Plan.objects.filter(node__account=account).wake(now)
        audit_log.record(
            Actor.worker(),
            AuditAction.ACCOUNT_RECONNECTED,
            f"The cloud account at {account.cloud_host} was signed in again automatically.",
            household=account.household,
            why=WHY,
            at=now,
            detail={"account_id": account.pk},
        )


def on_failed(account: CloudAccount, problem: CloudError, now: datetime) -> None:
    """Record that the attempt failed and when the next one is due.

    A wrong password is deleted: trying it again could lock the account.
    """
    is_wrong = error_code(problem) == TroubleCode.WRONG_PASSWORD
    changes = _next_attempt(account, now)
    if problem.retry_after_s:
        asked = now + timedelta(seconds=problem.retry_after_s)
        changes["next_sign_in_at"] = max(changes["next_sign_in_at"], asked)
    if is_wrong:
        changes["sealed_password"] = ""
    if isinstance(problem, AnotherUser):
        record_other_user(account, now)
    with audit_log.locked():
        if not _still_waiting(account).update(**last_error(problem), **changes):
            return
        audit_log.record(
            Actor.worker(),
            AuditAction.ACCOUNT_SIGN_IN_FAILED,
            f"The cloud account at {account.cloud_host} could not be signed in again automatically"
            + (": its password is no longer right, and was deleted here." if is_wrong else "."),
            household=account.household,
            outcome=Outcome.FAILED,
            why=WHY,
            at=now,
            detail={
                "account_id": account.pk,
                "trouble": error_code(problem),
                "code": problem.code,
                "status": problem.status,
            },
        )
        if is_wrong:
            notify_signed_out(account, now)


def defer(account: CloudAccount, now: datetime) -> None:
    """Wait a pause before the next attempt."""
    CloudAccount.objects.filter(pk=account.pk).update(**_next_attempt(account, now))


def forget_password(account: CloudAccount, *, actor: Actor) -> bool:
    """Delete the kept password; False when there was none. The session goes on."""
    with audit_log.locked():
        kept = CloudAccount.objects.filter(pk=account.pk).exclude(sealed_password="")
        if not kept.update(sealed_password=""):
            return False
        account.sealed_password = ""
        audit_log.record(
            actor,
            AuditAction.ACCOUNT_PASSWORD_FORGOTTEN,
            f"The password kept for {account.cloud_host} was deleted; the session goes on.",
            household=account.household,
            at=timezone.now(),
            detail={"account_id": account.pk},
        )
    return True


def _still_waiting(account: CloudAccount) -> models.QuerySet[CloudAccount]:
    """Select the account while it waits for a sign-in with the same password as we tried."""
    waiting = CloudAccount.objects.filter(pk=account.pk, state=AccountState.SIGNED_OUT)
    stored = waiting.values_list("sealed_password", flat=True).first()
    is_same = stored is not None and is_same_secret(stored, account.sealed_password)
    return waiting if is_same else waiting.none()


def _next_attempt(account: CloudAccount, now: datetime) -> dict[str, Any]:
    last = account.next_sign_in_at
    is_quiet = last is None or now - last > LONGEST_PAUSE
    tries = 0 if is_quiet else account.sign_in_tries
    pause = backoff(tries, FIRST_PAUSE, LONGEST_PAUSE)
    return {"next_sign_in_at": now + pause, "sign_in_tries": tries + 1}
