"""Turns an answer that is not a success into the CloudError whose remedy fits.

The meanings of the codes are those of the ESP RainMaker API 3.8.0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from devices.rainmaker.errors import (
    AnswerUnreadable,
    Busy,
    CallRefused,
    CloudError,
    HubOffline,
    NoOtaStatus,
    NotPermitted,
    NotYourHub,
    OfferGone,
    OurBug,
    ServerTrouble,
    SignInAgain,
    TellPerson,
)
from devices.rainmaker.http import Answer
from devices.rainmaker.redaction import redacted

LONGEST_WAIT_S = 3600.0
_NOT_YOURS = "This hub is not in the cloud account."
_GONE = "The cloud no longer offers this update for the hub; check for updates again."
_WRONG_PASSWORD = "The cloud did not accept the e-mail address and password."  # noqa: S105
_BY_CODE: dict[int, tuple[type[CloudError], str]] = {
    100002: (OurBug, "The cloud does not know the API version that was asked for."),
    100006: (OurBug, "The cloud calls the request's body invalid."),
    100009: (OurBug, "The cloud says that the hub's id is missing from the request."),
    100010: (NotYourHub, _NOT_YOURS),
    100012: (OurBug, "The cloud calls a value in the request invalid."),
    100015: (NotYourHub, "The cloud knows no such hub."),
    100070: (Busy, "The cloud receives too many requests; it asks to be left alone for a while."),
    101002: (SignInAgain, "The cloud calls the e-mail address malformed."),
    101009: (SignInAgain, _WRONG_PASSWORD),
    101015: (SignInAgain, "The cloud account has not been confirmed yet."),
    101016: (SignInAgain, "The cloud did not accept the sign-in."),
    101017: (SignInAgain, "The cloud no longer accepts the session; sign in again."),
    101036: (OurBug, "The cloud calls the sign-out malformed."),
    101037: (SignInAgain, "The cloud calls the user name malformed."),
    101058: (SignInAgain, "The cloud wants a new password first; reset it in the phone app."),
    102001: (HubOffline, "The hub is offline, so the cloud did not send it the update."),
    103001: (NotYourHub, _NOT_YOURS),
    103013: (NotYourHub, _NOT_YOURS),
    103020: (NotYourHub, _NOT_YOURS),
    104015: (TellPerson, "The cloud finds no firmware image for this hub."),
    105014: (OurBug, "The cloud says that the update's job id is missing from the request."),
    105018: (OurBug, "The cloud says that the hub's id is missing from the request."),
    105024: (NoOtaStatus, "The cloud has no update status for this hub."),
    105036: (OfferGone, "The cloud says that this update is not meant for this hub."),
    105046: (OurBug, "The cloud calls a tag in the request malformed."),
    105061: (OfferGone, _GONE),
    105078: (Busy, "The cloud is updating other hubs first; it asks to try again later."),
}
KNOWN_CODES = frozenset(_BY_CODE)
# A sign-in or an extension with one of these codes was refused for good; other answers may pass.
SESSION_OVER_CODES = frozenset({101009, 101015, 101016, 101017, 101058})
_CALL_REFUSED = "The cloud refused a call (%s). The session stays open; we will try again."
_NOT_PERMITTED = "The cloud does not let this account do that (HTTP 403)"
# What the API's documentation says where it gives no code, for answers that carry none either.
_CODE_OF_PHRASE = {
    "node does not belong to user": 103020,
    "nodeid is missing": 105018,
    "nodeid missing": 105018,
    "ota job id missing": 105014,
    "ota job id is missing": 105014,
    "ota image not found": 104015,
    "ota status not found": 105024,
    "invalid request body": 100006,
    "node is offline": 102001,
    "too much traffic": 105078,
}


def says_failure(data: object, *, acts: bool) -> bool:
    """Return whether an answer says in words that the request failed, with any HTTP status.

    "failed" is a word for an update too, so it counts only in the answer to a request that acts.
    """
    if not isinstance(data, dict):
        return False
    word = data.get("status")
    if not isinstance(word, str):
        return word is None and _code(data) in KNOWN_CODES
    return word.strip().lower() in ({"failure", "failed", "error"} if acts else {"failure"})


def refusal(
    answer: Answer, data: object, *, acts: bool, now: datetime, secrets: Iterable[str] = ()
) -> CloudError:
    """Return the error that an unsuccessful answer means.

    data is its parsed body, None when it has no readable one. acts: the request was to
    change something, so that an answer of 5xx leaves open whether it did, unless it carries a code
    of the cloud that is a refusal. A page of a proxy or a firewall is never the cloud's refusal.
    """
    secrets = tuple(secrets)
    fields = data if isinstance(data, dict) else {}
    code = _code(fields)
    words = fields.get("description") or fields.get("message")
    description = redacted(words, secrets) if isinstance(words, str) else ""
    kind, sentence = _kind(answer, fields, code, description, acts=acts)
    is_client_error = 400 <= answer.status < 500 and kind is not AnswerUnreadable
    refused = (is_client_error and isinstance(words, str)) or code in _BY_CODE
    if 200 <= answer.status < 300 and says_failure(data, acts=acts):
        refused = True
    if answer.status >= 500 and issubclass(kind, ServerTrouble):
        refused = False
    error = kind(
        sentence,
        endpoint=answer.endpoint,
        status=answer.status,
        code=code,
        description=description,
        excerpt=redacted(answer.text, secrets),
        was_sent=None if acts and answer.status >= 500 and not refused else True,
        refused=refused,
    )
    if isinstance(error, (Busy, ServerTrouble)):
        error.retry_after_s = retry_after_s(answer.headers.get("Retry-After", ""), now)
    return error


def _kind(
    answer: Answer, fields: dict[str, object], code: int | None, description: str, *, acts: bool
) -> tuple[type[CloudError], str]:
    status = answer.status
    known = _BY_CODE.get(code or 0)
    if known and issubclass(known[0], SignInAgain) and not answer.endpoint.endswith("/login2"):
        known = CallRefused, _CALL_REFUSED % f"{status}, code {code}"
    if status >= 500:
        if known and issubclass(known[0], (TellPerson, Busy)):
            return known
        return ServerTrouble, f"The cloud has trouble of its own (HTTP {status})."
    if status == 423:
        return Busy, _BY_CODE[105078][1]
    if status == 429:
        return Busy, _BY_CODE[100070][1]
    if known:
        return known
    if status == 403 and (code is not None or (acts and fields)):
        return NotPermitted, _in_its_words(_NOT_PERMITTED, description, code)
    if status in {401, 403}:
        return CallRefused, _CALL_REFUSED % status
    if code is None:
        phrase = description.casefold().rstrip(".! ")
        meant = next((c for p, c in _CODE_OF_PHRASE.items() if phrase.startswith(p)), 0)
        if meant:
            return _BY_CODE[meant]
    else:
        return TellPerson, _in_its_words("The cloud refused the request", description, code)
    if not 200 <= status < 300 and not 400 <= status < 500:
        return AnswerUnreadable, f"The cloud answered in an unexpected way (HTTP {status})."
    if not _is_of_cloud(fields):
        return AnswerUnreadable, (
            f"Something answered with HTTP {status}, but not in the words of a RainMaker cloud."
        )
    if status == 404 and answer.endpoint.endswith("/ota_status"):
        return NoOtaStatus, _BY_CODE[105024][1]
    kind = OurBug if 400 <= status < 500 else TellPerson
    return kind, _in_its_words(f"The cloud refused the request (HTTP {status})", description)


def _is_of_cloud(fields: dict[str, object]) -> bool:
    """Is this an answer in the cloud's own form? A gateway in front of it sends a message alone."""
    return any(name in fields for name in ("status", "error_code", "description"))


def _in_its_words(sentence: str, description: str, code: int | None = None) -> str:
    number = f" (code {code})" if code is not None else ""
    return f"{sentence}{number}: {description}" if description else f"{sentence}{number}."


def _code(fields: dict[str, object]) -> int | None:
    code = fields.get("error_code")
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) < 10:
        return int(code)
    if isinstance(code, int) and not isinstance(code, bool) and 0 < code < 10**9:
        return code
    return None


def retry_after_s(header: str, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, between 0 and an hour."""
    header = header.strip()
    try:
        seconds = float(header)
    except ValueError:
        try:
            at = parsedate_to_datetime(header)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT_S)
