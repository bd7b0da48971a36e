"""Decide whether a failed cloud call is trouble of the account or of one hub."""

from datetime import datetime, timedelta
from typing import Any

from devices.accounts.sessions import record_other_user, sign_out
from devices.explanations.cloud_messages import TroubleCode
from devices.explanations.error_codes import count_unknown_code, error_code, last_error
from devices.models.account import CloudAccount
from devices.models.node import Node
from devices.rainmaker.errors import (
    AnotherUser,
    AnswerLost,
    Busy,
    CallRefused,
    CloudError,
    NotTrusted,
    ServerTrouble,
    SignInAgain,
    Unreachable,
)
from devices.taskqueue.backoff import backoff


def record_failure(
    account: CloudAccount, problem: CloudError, now: datetime, *, hub: Node | None = None
) -> bool:
    """Store what the failure means; True when the whole account now rests for a while.

    hub names the one that the call was about. Its trouble rests the account only when no connection
    came about, when the cloud asks all of us to slow down, or when SICK_HUBS different hubs failed
    alike within SICK_WITHIN and the account had no good answer since.
    """
    count_unknown_code(problem, now)
    if isinstance(problem, SignInAgain):
        sign_out(account, problem, now)
        return True
    if isinstance(problem, AnotherUser):
        record_other_user(account, now)
    is_of_call = isinstance(problem, ServerTrouble | AnswerLost) or (
        isinstance(problem, NotTrusted)
        and not isinstance(problem, AnotherUser)
        and problem.status is not None  # one call was redirected
    )
    is_account_wide = isinstance(problem, Unreachable) or (
        isinstance(problem, Busy) and problem.status == 429
    )
    is_account_wide |= isinstance(problem, NotTrusted) and not is_of_call
    if is_of_call:
        is_account_wide = hub is None or _several_fail_alike(account, hub, problem, now)
    if is_account_wide:
        wait_s = problem.retry_after_s
        rest(account, now, trouble=error_code(problem), text=str(problem), wait_s=wait_s)
    return is_account_wide


def shown_error(account: CloudAccount, problem: CloudError) -> dict[str, Any]:
    """Return the fields that show the failure on the account; none when worse is shown already.

    While another user's session is refused, the calls in between fail for want of a session.
    """
    is_minor = isinstance(problem, CallRefused)
    return {} if is_minor and account.trouble == TroubleCode.ANOTHER_USER else last_error(problem)


def _several_fail_alike(
    account: CloudAccount, hub: Node, problem: CloudError, now: datetime
) -> bool:
    trouble = error_code(problem)
    Node.objects.filter(pk=hub.pk).update(call_failed_at=now, call_trouble=trouble)
    since = now - SICK_WITHIN
    answered_at = CloudAccount.objects.values_list("answered_at", flat=True).get(pk=account.pk)
    sick = account.nodes.filter(
        call_trouble=trouble,
        call_failed_at__gt=max(since, answered_at or since),
        call_failed_at__lte=now,
    )
    return sick.count() >= SICK_HUBS


# So many hubs that fail alike within this time are trouble of the cloud, not of each.
SICK_HUBS = 3
SICK_WITHIN = timedelta(minutes=1)
# A call that fails waits 2 s, then twice as long each time, up to five minutes.
FIRST_BACK_OFF = timedelta(seconds=2)
LONGEST_BACK_OFF = timedelta(minutes=5)
# The longest pause a cloud may ask for and get. A longer one would leave installs unwatched.
LONGEST_RETRY_AFTER = LONGEST_BACK_OFF


def rest(
    account: CloudAccount, now: datetime, *, trouble: str, text: str, wait_s: float | None = None
) -> None:
    """Record that the cloud could not be asked, and do not ask it for a while.

    wait_s is what the cloud asked for (Retry-After); without it the pause doubles. One query.
    """
    current = CloudAccount.objects.get(pk=account.pk)
    if current.resume_at is not None and current.resume_at > now:
        account.resume_at = current.resume_at  # calls that were under way count as one failure
        return
    account.failures = current.failures + 1
    doubled = backoff(account.failures - 1, FIRST_BACK_OFF, LONGEST_BACK_OFF)
    asked = min(timedelta(seconds=wait_s), LONGEST_RETRY_AFTER) if wait_s else None
    account.resume_at = now + (asked or doubled)
    account.trouble, account.trouble_text = trouble, text[:300]
    account.save(update_fields=["failures", "resume_at", "trouble", "trouble_text"])
