"""A proof to ask for before a second factor is set up right after a password link.

Another person passed that link on and may have used it. Without a proof beyond it, they could add
a factor of their own and keep the account. Enough are: a factor shown in this session, an address
confirmed by e-mail, a code from an administrator, or a day without anybody objecting.
"""

import hmac
from datetime import timedelta

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from devices.models import User

WAIT = timedelta(hours=24)
_CODE_PERIOD_S = 3600


def has_second_factor(user: User) -> bool:
    """Did this person set up two-step sign-in? Recovery codes alone are none."""
    factors = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]
    return bool(is_mfa_enabled(user, factors))


def is_needed(user: User) -> bool:
    """Was the password set by a link of another person a short time ago?"""
    at = user.password_by_link_at
    return at is not None and timezone.now() < at + WAIT


def is_missing(request: HttpRequest, user: User) -> bool:
    """Does this session lack the proof?"""
    shown = (one.get("method") for one in get_authentication_records(request, user))
    return is_needed(user) and "mfa" not in shown


def is_fresh(request: HttpRequest, user: User) -> bool:
    """Was a second factor shown in this session within the last five minutes?"""
    shown = get_authentication_records(request, user)
    oldest = timezone.now().timestamp() - settings.ACCOUNT_REAUTHENTICATION_TIMEOUT
    return any(one.get("method") == "mfa" and one.get("at", 0) > oldest for one in shown)


def accept(user: User) -> None:
    """Record that the proof was given."""
    user.password_by_link_at = None
    user.save(update_fields=["password_by_link_at"])


def make_code(user: User, hours_ago: int = 0) -> str:
    """Return eight digits for this person and this hour. They end with the next sign-out
    everywhere, new password, or change of staff role.
    """
    hour = int(timezone.now().timestamp()) // _CODE_PERIOD_S - hours_ago
    facts = repr([user.pk, user.access_epoch, user.password, hour])
    digest = salted_hmac("factor code", facts, algorithm="sha256").hexdigest()
    return f"{int(digest, 16) % 10**8:08}"


def is_code(user: User, text: str) -> bool:
    """Is this the code of this hour or of the one before?"""
    typed = text.replace(" ", "").encode(errors="replace")
    this_hour, last_hour = (make_code(user, hours_ago).encode() for hours_ago in (0, 1))
    return hmac.compare_digest(typed, this_hour) or hmac.compare_digest(typed, last_hour)
