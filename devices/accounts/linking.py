"""Link and unlink cloud accounts.

Both call the cloud directly: a password must never enter a queue.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from django.utils import timezone

from devices.accounts.allowed_clouds import require_allowed
from devices.accounts.sessions import events_of, keep_tokens, tokens_of
from devices.audit import log as audit_log
from devices.explanations.error_codes import error_code
from devices.models import (
    AccountState,
    Actor,
    AuditAction,
    CloudAccount,
    Household,
    Outcome,
    Plan,
    Suspect,
)
from devices.rainmaker.address_guard import cloud_key
from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.errors import AnotherUser, CloudError, SignInAgain
from devices.rainmaker.http import checked_base_url
from devices.security.encryption import encrypt
from devices.taskqueue.quarantine import label
from devices.taskqueue.wakeups import wake_sync

log = logging.getLogger(__name__)
ClientMaker = Callable[..., RainmakerClient]


def link_account(
    *,
    household: Household,
    base_url: str,
    email: str,
    password: str,
    actor: Actor,
    keep_password: bool = False,
    make_client: ClientMaker = RainmakerClient,
) -> CloudAccount:
    """Sign in to the cloud and link (or reconnect) the account; its hubs follow by the worker.

    An account that the household has already is signed in again, however its cloud and e-mail
    address are spelled this time: its user id at the cloud decides. The password is used once; it
    is kept, encrypted, only when keep_password says so, and else one kept earlier is deleted.
    Raises CloudError, whose text is for people; then nothing is linked, and the attempt is in the
    trail. Waits for the cloud, 20 s at most.
    """
    base_url, email = base_url.strip(), email.strip()
    try:
        require_allowed(base_url)
        base_url = checked_base_url(base_url)
        with make_client(base_url, read_timeout_s=12, total_timeout_s=20) as client:
            tokens = client.sign_in(email, password)
            if not tokens.user_id:
                tokens = replace(tokens, user_id=_asked_user_id(client))
        _known_account(household, base_url, email, tokens.user_id)
    except CloudError as problem:
        audit_log.record(
            actor,
            AuditAction.ACCOUNT_LINK,
            f"Linking a cloud account failed: {problem}",
            household=household,
            outcome=Outcome.REFUSED
            if isinstance(problem, SignInAgain | AnotherUser)
            else Outcome.FAILED,
            detail={"cloud": base_url, "trouble": error_code(problem), "code": problem.code},
        )
        raise
    with audit_log.locked():
        found = _known_account(household, base_url, email, tokens.user_id)
        account = found or CloudAccount(household=household, base_url=base_url, email=email)
        was = account.state
        taken = household.accounts.filter(base_url=account.base_url, email=email)
        is_renamed = bool(found) and account.email.lower() != email.lower()
        if is_renamed and taken.exclude(pk=account.pk).exists():
            keep_password = False  # an earlier row keeps that address: this row's is another one
        elif is_renamed:
            account.email = email  # the same user has another address at the cloud now
        keep_tokens(account, tokens)
        account.sealed_password = encrypt(password) if keep_password else ""
        account.sign_in_tries, account.next_sign_in_at = 0, None
        account.state = AccountState.LINKED
        account.failures, account.resume_at = 0, None
        account.trouble = account.trouble_text = ""
        now = account.next_sync_at = account.answered_at = timezone.now()
        is_link = found is None or was == AccountState.UNLINKED
        if is_link:
            account.linked_at = now
        account.save()
        account.nodes.filter(gone_at__isnull=True).touch_all(now)
        Plan.objects.filter(node__account=account).wake(now)
        Suspect.release([label(("account", account.pk))])
        audit_log.record(
            actor,
            AuditAction.ACCOUNT_LINKED if is_link else AuditAction.ACCOUNT_RECONNECTED,
            f"A cloud account at {account.cloud_host} was {'linked' if is_link else 'reconnected'}."
            + (" Its password is kept, to sign in again without a person." * keep_password),
            household=household,
            detail={"cloud": base_url, "account_id": account.pk, "password_kept": keep_password}
            | account.mark,
        )
        wake_sync()
    return account


def _asked_user_id(client: RainmakerClient) -> str:
    """Return the signed-in user's id, "" when the cloud does not say."""
    try:
        return client.user().user_id
    except CloudError as problem:
        log.info("the cloud does not say whose session it is: %s", error_code(problem))
        return ""


def _known_account(
    household: Household, base_url: str, email: str, user_id: str
) -> CloudAccount | None:
    """Return the household's account that this sign-in is for, None when it is a new one.

    The same user at the same cloud is the same account. Raises AnotherUser when the account with
    this very address is linked for another user: its hubs are not that user's.
    """
    key = cloud_key(base_url)
    rows = [one for one in household.accounts.all() if cloud_key(one.base_url) == key]
    exact = next((one for one in rows if one.email == email), None)
    alike = [one for one in rows if one.email.lower() == email.lower()]
    is_other = bool(exact and user_id and exact.cloud_user_id not in {"", user_id})
    if exact is not None and is_other and not exact.is_unlinked:
        raise AnotherUser(
            "The cloud answered with the session of another user; it is not used.", was_sent=True
        )
    same = [one for one in rows if user_id and one.cloud_user_id == user_id]
    unknown = [one for one in alike if not (user_id and one.cloud_user_id)]
    candidates = [exact] if exact else same + unknown
    if exact and exact.is_unlinked:
        candidates += [one for one in same if not one.is_unlinked]
    return min(
        candidates, key=lambda one: (one.is_unlinked, one != exact, one not in same), default=None
    )


def unlink_account(
    account: CloudAccount, *, actor: Actor, make_client: ClientMaker = RainmakerClient
) -> None:
    """Forget the account's secrets and stop asking its cloud. Hubs and history stay on record.

    Signing out at the cloud is tried for a few seconds and not insisted on.
    """
    tokens = tokens_of(account)
    with audit_log.locked():
        account.state = AccountState.UNLINKED
        account.forget_secrets()
        account.trouble = account.trouble_text = ""
        account.save()
        now = timezone.now()
        account.nodes.filter(gone_at__isnull=True).touch_all(now, check_asked_at=None)
        audit_log.record(
            actor,
            AuditAction.ACCOUNT_UNLINKED,
            f"A cloud account at {account.cloud_host} was unlinked.",
            household=account.household,
            detail={"cloud": account.base_url, "account_id": account.pk} | account.mark,
        )
    if tokens is None:
        return
    try:
        require_allowed(account.base_url)
        with make_client(
            account.base_url,
            tokens=tokens,
            connect_timeout_s=2,
            read_timeout_s=3,
            total_timeout_s=5,
        ) as client:
            client.sign_out()
    except CloudError as problem:
        log.info("sign-out at the cloud failed: %s", error_code(problem))


def unlinked_at(account: CloudAccount) -> datetime | None:
    """Return when the account was unlinked, if the trail still has it. One query at most."""
    if not account.is_unlinked:
        return None
    return max(
        (event.at for event in events_of(account, [AuditAction.ACCOUNT_UNLINKED])), default=None
    )
