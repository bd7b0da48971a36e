"""The short code under which a failed cloud call is explained."""

from datetime import datetime
from typing import Any

from devices.explanations.cloud_messages import CLOUD_CODES, TroubleCode
from devices.explanations.unknown_messages import count_unknown
from devices.models import Source
from devices.rainmaker.error_mapping import KNOWN_CODES
from devices.rainmaker.errors import (
    AnotherUser,
    AnswerLost,
    AnswerUnreadable,
    Busy,
    CallRefused,
    CloudError,
    HubOffline,
    NoOtaStatus,
    NotAllowed,
    NotPermitted,
    NotTrusted,
    NotYourHub,
    OurBug,
    ServerTrouble,
    SignInAgain,
    Unreachable,
)

_EXPLAINED = KNOWN_CODES | CLOUD_CODES.keys()


def count_unknown_code(problem: CloudError, now: datetime) -> None:
    """Count an error number of the cloud that is not explained yet."""
    if problem.code is not None and problem.code not in _EXPLAINED:
        count_unknown(Source.CLOUD, str(problem.code), problem.description, now)


# Fields of a row with which all is well.
NO_ERROR: dict[str, Any] = {"trouble": "", "trouble_text": ""}


def last_error(problem: CloudError) -> dict[str, Any]:
    """Return what a row keeps of a failure: its code and the words that came with it."""
    return {"trouble": error_code(problem).value, "trouble_text": str(problem)[:300]}


def error_code(problem: CloudError) -> TroubleCode:
    """Return the short code under which a failure is explained to people."""
    if isinstance(problem, Busy):
        return TroubleCode.TOO_MANY if problem.status == 429 else TroubleCode.BUSY
    if isinstance(problem, SignInAgain):
        return TroubleCode.WRONG_PASSWORD if problem.code == 101009 else TroubleCode.SIGNED_OUT
    kinds: tuple[tuple[type[CloudError], TroubleCode], ...] = (
        (ServerTrouble, TroubleCode.SERVER_TROUBLE),
        (Unreachable, TroubleCode.UNREACHABLE),
        (AnswerLost, TroubleCode.ANSWER_LOST),
        (AnswerUnreadable, TroubleCode.UNREADABLE),
        (CallRefused, TroubleCode.CALL_REFUSED),
        (NotPermitted, TroubleCode.NOT_PERMITTED),
        (AnotherUser, TroubleCode.ANOTHER_USER),
        (NotAllowed, TroubleCode.NOT_ALLOWED),
        (NotTrusted, TroubleCode.NOT_TRUSTED),
        (NotYourHub, TroubleCode.NOT_MINE),
        (HubOffline, TroubleCode.HUB_OFFLINE),
        (NoOtaStatus, TroubleCode.NO_STATUS),
        (OurBug, TroubleCode.OUR_BUG),
    )
    for kind, code in kinds:
        if isinstance(problem, kind):
            return code
    return CLOUD_CODES.get(problem.code or 0, (TroubleCode.REFUSED, ""))[0]
