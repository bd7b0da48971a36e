"""Cloud accounts: linking and unlinking, their sessions, and what trouble with them means.

`link_account` and `unlink_account` talk to the cloud themselves, for a password must never enter a
queue; the others only write.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from devices.cloud.client import RainmakerClient
from devices.cloud.errors import (
    AnswerLost,
    AnswerUnreadable,
    Busy,
    CloudError,
    HubOffline,
    NoOtaStatus,
    NotAllowed,
    NotTrusted,
    NotYourHub,
    OurBug,
    ServerTrouble,
    SignInAgain,
    TryLater,
    Unreachable,
)
from devices.cloud.refusals import KNOWN_CODES
from devices.cloud.types import Tokens
from devices.clouds import require_allowed
from devices.models import (
    AccountState,
    Actor,
    AuditEvent,
    CloudAccount,
    Household,
    Outcome,
    Source,
    Suspect,
    Topic,
    audit,
    count_unknown,
    tell,
)
from devices.models.account import Unsealable, seal, unseal
from devices.poison import label
from devices.troubles import CLOUD_CODES
from devices.wake import wake_chores

log = logging.getLogger(__name__)

_EXPLAINED = KNOWN_CODES | CLOUD_CODES.keys()
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

    The password is used once; it is kept, encrypted, only when keep_password says so, and else
    one kept earlier is deleted. Raises CloudError, whose text is for people; then nothing is
    linked, and the attempt is in the trail. Waits for the cloud, 20 s at most.
    """
    base_url, email = base_url.strip().rstrip("/"), email.strip()
    try:
        require_allowed(base_url)
        with make_client(base_url, read_timeout_s=12, total_timeout_s=20) as client:
            tokens = client.sign_in(email, password)
    except CloudError as problem:
        audit.record(
            actor,
            "account.link",
            f"Linking a cloud account failed: {problem}",
            household=household,
            outcome=Outcome.REFUSED if isinstance(problem, SignInAgain) else Outcome.FAILED,
            detail={"cloud": base_url, "trouble": trouble_code(problem), "code": problem.code},
        )
        raise
    with transaction.atomic():
        audit.lock()
        account, is_new = CloudAccount.objects.select_for_update().get_or_create(
            household=household, base_url=base_url, email=email
        )
        was = account.state
        keep_tokens(account, tokens)
        account.sealed_password = seal(password) if keep_password else ""
        account.sign_in_tries, account.next_sign_in_at = 0, None
        account.state = AccountState.LINKED
        account.failures, account.resume_at = 0, None
        account.trouble = account.trouble_text = ""
        account.next_sync_at = account.answered_at = timezone.now()
        if is_new or was == AccountState.UNLINKED:
            account.linked_at = timezone.now()
        account.save()
        Suspect.release([label(("account", account.pk))])
        verb = "linked" if is_new or was == AccountState.UNLINKED else "reconnected"
        audit.record(
            actor,
            f"account.{verb}",
            f"A cloud account at {account.cloud_host} was {verb}."
            + (" Its password is kept, to sign in again without a person." * keep_password),
            household=household,
            detail={
                "cloud": base_url,
                "account_id": account.pk,
                "password_kept": keep_password,
            }
            | account.mark,
        )
        wake_chores()
    return account


def unlink_account(
    account: CloudAccount, *, actor: Actor, make_client: ClientMaker = RainmakerClient
) -> None:
    """Forget the account's secrets and stop asking its cloud. Hubs and history stay on record.

    Signing out at the cloud is tried for a few seconds and not insisted on.
    """
    tokens = tokens_of(account)
    with transaction.atomic():
        audit.lock()
        account.state = AccountState.UNLINKED
        account.forget_secrets()
        account.trouble = account.trouble_text = ""
        account.save()
        now = timezone.now()
        account.nodes.filter(gone_at__isnull=True).touch_all(now, check_asked_at=None)
        audit.record(
            actor,
            "account.unlinked",
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
        log.info("sign-out at the cloud failed: %s", trouble_code(problem))


def unlinked_at(account: CloudAccount) -> datetime | None:
    """Return when the account was unlinked, as far as the trail still tells. One query at most."""
    if not account.is_unlinked:
        return None
    return max((event.at for event in told_of(account, ["account.unlinked"])), default=None)


def told_of(account: CloudAccount, actions: Iterable[str]) -> QuerySet[AuditEvent]:
    """Return what the trail still tells of these deeds on the account, in no order: an order would
    have the whole trail of the household read.
    """
    return AuditEvent.objects.filter(
        household_id=account.household_id,
        action__in=list(actions),
        detail__account_id=account.pk,
    )


def tokens_of(account: CloudAccount) -> Tokens | None:
    """Return the account's session, or None when there is none or it cannot be opened."""
    if not account.sealed_refresh_token and not account.sealed_access_token:
        return None
    try:
        return Tokens(
            access_token=unseal(account.sealed_access_token),
            refresh_token=unseal(account.sealed_refresh_token),
            access_expires_at=account.access_expires_at,
            user_id=account.cloud_user_id,
            email=account.email,
        )
    except Unsealable:
        return None


def keep_tokens(account: CloudAccount, tokens: Tokens) -> None:
    """Set the session on the account, sealed; the caller saves."""
    account.keep_tokens(
        access=tokens.access_token,
        refresh=tokens.refresh_token,
        expires_at=tokens.access_expires_at,
        cloud_user_id=tokens.user_id,
    )


def account_failed(account: CloudAccount, problem: CloudError, now: datetime) -> bool:
    """Note what the failure means for the whole account; True when it is now left alone.

    A reply that only concerns one hub (its garbage, its refusal, its congestion) never does.
    """
    count_unknown_code(problem, now)
    if isinstance(problem, SignInAgain):
        sign_out(account, problem, now)
        return True
    is_account_wide = isinstance(
        problem, ServerTrouble | Unreachable | AnswerLost | NotTrusted
    ) or (isinstance(problem, Busy) and problem.status == 429)
    if is_account_wide:
        wait_s = problem.retry_after_s if isinstance(problem, TryLater) else None
        account.rest(now, trouble=trouble_code(problem), text=str(problem), wait_s=wait_s)
    return is_account_wide


def count_unknown_code(problem: CloudError, now: datetime) -> None:
    """Count an error number of the cloud that is not explained yet."""
    if problem.code is not None and problem.code not in _EXPLAINED:
        count_unknown(Source.CLOUD, str(problem.code), problem.description, now)


def sign_out(account: CloudAccount, problem: CloudError, now: datetime) -> None:
    """Record that the cloud no longer accepts the session: a person has to sign in again."""
    with transaction.atomic():
        audit.lock()
        # the very session that was refused, not one that somebody has opened since
        linked = CloudAccount.objects.filter(
            pk=account.pk,
            state=AccountState.LINKED,
            sealed_refresh_token=account.sealed_refresh_token,
        )
        if not linked.update(
            state=AccountState.SIGNED_OUT,
            trouble=trouble_code(problem),
            trouble_text=str(problem)[:300],
        ):
            return
        account.state = AccountState.SIGNED_OUT
        account.nodes.filter(gone_at__isnull=True).touch_all(now, check_asked_at=None)
        audit.record(
            Actor.worker(),
            "account.signed_out",
            f"The cloud at {account.cloud_host} asks to sign in again.",
            household=account.household,
            outcome=Outcome.FAILED,
            at=now,
            detail={"account_id": account.pk, "code": problem.code, "status": problem.status}
            | account.mark,
        )
        if not account.signs_in_by_itself:
            tell_signed_out(account, now)


def tell_signed_out(account: CloudAccount, now: datetime) -> None:
    """Tell the household that a person has to sign in again. One query when nobody asked."""
    tell(
        Topic.SIGNED_OUT,
        household=account.household,
        path=reverse("account_reconnect", args=[account.pk]),
        now=now,
        accounts=[account],
        cloud=account.cloud_host,
    )


def trouble_code(problem: CloudError) -> str:
    """Return the short code under which a failure is explained to people."""
    if isinstance(problem, Busy):
        return "too_many" if problem.status == 429 else "busy"
    if isinstance(problem, SignInAgain):
        return "wrong_password" if problem.code == 101009 else "signed_out"
    kinds: tuple[tuple[type[CloudError], str], ...] = (
        (ServerTrouble, "server_trouble"),
        (Unreachable, "unreachable"),
        (AnswerLost, "answer_lost"),
        (AnswerUnreadable, "unreadable"),
        (NotAllowed, "not_allowed"),
        (NotTrusted, "not_trusted"),
        (NotYourHub, "not_mine"),
        (HubOffline, "hub_offline"),
        (NoOtaStatus, "no_status"),
        (OurBug, "our_bug"),
    )
    for kind, code in kinds:
        if isinstance(problem, kind):
            return code
    return {104015: "image_not_found", 105036: "not_for_hub"}.get(problem.code or 0, "refused")
