"""Tokens for links: random ones that a row keeps the digest of, and signed ones without a row.

A signed token names who made it, for whom and for what, with a digest of how each of them stood
at that moment. It stops working as soon as one of them stands differently.
"""

import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import Any

from django.core import signing
from django.utils.crypto import salted_hmac

from devices.models import Household, User


def make_token() -> str:
    """Return 256 random bits as text for an address."""
    return secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    """Return what a row keeps of a token. It is random enough to need no salt or slow hash."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def mail_mark(token: str) -> str:
    """Return what only the mail adds to a link: it proves that the mail was read."""
    return salted_hmac("mailed link", token, algorithm="sha256").hexdigest()[:32]


def is_mail_mark(token: str, mark: str) -> bool:
    return hmac.compare_digest(mark.encode(errors="replace"), mail_mark(token).encode())


def sign(purpose: str, facts: list[Any]) -> str:
    """Return a signed token of letters, digits, "-" and "_"; `read` gives the facts back."""
    text = signing.dumps(facts, salt=f"link:{purpose}")
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read(purpose: str, token: str, valid_for: timedelta | None = None) -> list[Any] | None:
    """Return the facts of a token of ours for this purpose, or None when it is not, or too old."""
    try:
        text = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        facts = signing.loads(text, salt=f"link:{purpose}", max_age=valid_for)
    except (ValueError, signing.BadSignature):
        return None
    return facts if isinstance(facts, list) else None


def standing(user: User, household: Household | None = None, *facts: object) -> str:
    """Return a digest of how this person stands: address, open or closed, staff role, access
    epoch, membership of the household or of each, and the further facts. One query.
    """
    held = user.memberships.order_by("pk")
    if household is not None:
        held = held.filter(household=household)
    places = [membership.standing for membership in held]
    stands = [user.pk, user.access_epoch, user.is_active, user.email, user.staff_role]
    text = json.dumps([*stands, places, *facts])
    return salted_hmac("standing", text, algorithm="sha256").hexdigest()[:32]
