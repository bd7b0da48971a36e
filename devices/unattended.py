"""Signing in again without a person, for accounts whose password was kept for that.

The password is kept only when the person who linked the account asked for it. One attempt for
each pause, and the pauses grow: a cloud that ends every session at once is not asked in a circle.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from devices.accounts import keep_tokens, tell_signed_out, trouble_code
from devices.cloud.client import RainmakerClient
from devices.cloud.errors import CloudError, SignInAgain, TryLater
from devices.cloud.types import Tokens
from devices.models import AccountState, Actor, CloudAccount, Outcome, audit
from devices.models.account import Unsealable, unseal

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
WHY = "the password was kept for this when the account was linked"


def sign_in(client: RainmakerClient, account: CloudAccount) -> Tokens:
    """Sign in with the kept password. Raises CloudError."""
    try:
        password = unseal(account.sealed_password)
    except Unsealable as problem:
        raise SignInAgain("The kept password cannot be opened.", was_sent=False) from problem
    return client.sign_in(account.email, password)


def signed_in(account: CloudAccount, tokens: Tokens, now: datetime) -> None:
    """Record that the account is linked again, unless a person was faster."""
    keep_tokens(account, tokens)
    with transaction.atomic():
        audit.lock()
        waiting = _still_waiting(account)
        if not waiting.update(
            state=AccountState.LINKED,
            sealed_access_token=account.sealed_access_token,
            sealed_refresh_token=account.sealed_refresh_token,
            access_expires_at=account.access_expires_at,
            cloud_user_id=account.cloud_user_id,
            failures=0,
            resume_at=None,
            trouble="",
            trouble_text="",
            next_sync_at=now,
            answered_at=now,
            **_next_attempt(account, now),
        ):
            return
        account.nodes.filter(gone_at__isnull=True).touch_all(now)
        audit.record(
            Actor.worker(),
            "account.reconnected",
            f"The cloud account at {account.cloud_host} was signed in again by itself.",
            household=account.household,
            why=WHY,
            at=now,
            detail={"account_id": account.pk},
        )


def not_signed_in(account: CloudAccount, problem: CloudError, now: datetime) -> None:
    """Record that the attempt failed and when the next one is due.

    A password the cloud calls wrong is forgotten: trying it again could lock the account.
    """
    is_wrong = trouble_code(problem) == "wrong_password"
    changes = _next_attempt(account, now)
    if isinstance(problem, TryLater) and problem.retry_after_s:
        asked = now + timedelta(seconds=problem.retry_after_s)
        changes["next_sign_in_at"] = max(changes["next_sign_in_at"], asked)
    if is_wrong:
        changes["sealed_password"] = ""
    with transaction.atomic():
        audit.lock()
        if not _still_waiting(account).update(
            trouble=trouble_code(problem), trouble_text=str(problem)[:300], **changes
        ):
            return
        audit.record(
            Actor.worker(),
            "account.sign_in_failed",
            f"The cloud account at {account.cloud_host} could not be signed in again by itself"
            + (": its password is no longer right, and was deleted here." if is_wrong else "."),
            household=account.household,
            outcome=Outcome.FAILED,
            why=WHY,
            at=now,
            detail={
                "account_id": account.pk,
                "trouble": trouble_code(problem),
                "code": problem.code,
                "status": problem.status,
            },
        )
        if is_wrong:
            tell_signed_out(account, now)


def put_off(account: CloudAccount, now: datetime) -> None:
    """Wait a pause before the next attempt."""
    CloudAccount.objects.filter(pk=account.pk).update(**_next_attempt(account, now))


def forget_password(account: CloudAccount, *, actor: Actor) -> bool:
    """Delete the kept password; False when there was none. The session goes on."""
    with transaction.atomic():
        audit.lock()
        kept = CloudAccount.objects.filter(pk=account.pk).exclude(sealed_password="")
        if not kept.update(sealed_password=""):
            return False
        account.sealed_password = ""
        audit.record(
            actor,
            "account.password_forgotten",
            f"The password kept for {account.cloud_host} was deleted; the session goes on.",
            household=account.household,
            at=timezone.now(),
            detail={"account_id": account.pk},
        )
    return True


def _still_waiting(account: CloudAccount) -> models.QuerySet[CloudAccount]:
    """Select the account as long as it waits for a sign-in with the very password we tried.

    Encrypted anew meanwhile, it is another text; then the next attempt comes soon enough.
    """
    return CloudAccount.objects.filter(
        pk=account.pk, state=AccountState.SIGNED_OUT, sealed_password=account.sealed_password
    )


def _next_attempt(account: CloudAccount, now: datetime) -> dict[str, Any]:
    last = account.next_sign_in_at
    is_quiet = last is None or now - last > LONGEST_PAUSE
    tries = 0 if is_quiet else account.sign_in_tries
    pause = min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE)
    return {"next_sign_in_at": now + pause, "sign_in_tries": tries + 1}
