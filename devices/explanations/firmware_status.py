"""Look up what a hub's status and text mean."""

import re
from dataclasses import dataclass
from datetime import timedelta

from django.utils.translation import gettext

from devices.explanations.firmware_messages import (
    DETAILS,
    NO_KNOWN_WORD,
    REASONS,
    SYNONYMS,
    TEXTS,
    UNKNOWN_REASON,
    WORDS,
    FailureReason,
    Stage,
    StatusText,
    StatusWord,
)
from devices.models.outcome import InstallOutcome
from devices.models.text import one_line


@dataclass(frozen=True, slots=True)
class FirmwareStatus:
    """One report in plain language."""

    code: str
    """Short support code, such as "TW-H12"."""
    title: str
    sentence: str
    stage: Stage | None
    is_final_failure: bool
    """Whether the hub will not try again by itself."""
    delay: timedelta | None
    """How long the hub may reasonably wait before it goes on; None when it is not waiting."""
    is_known: bool
    outcome: InstallOutcome | None
    """How an install ended with a rejected or failed report; None for any other."""


ATTEMPT = r"(?:ota )?attempt (?P<i>\d{1,3}) ?/ ?(?P<n>\d{1,3}) failed(?: ?: ?(?P<why>.*))?"
_FLAGS = re.ASCII | re.IGNORECASE
_TEXTS = tuple((text, re.compile(text.pattern, _FLAGS)) for text in TEXTS)
_REASONS = tuple((reason, re.compile(reason.pattern, _FLAGS)) for reason in REASONS)
_DETAILS = tuple((re.compile(pattern, _FLAGS), phrase) for pattern, phrase in DETAILS)
_ATTEMPT = re.compile(ATTEMPT, _FLAGS)


def normalized_word(word: str) -> str:
    """Return the status word in the spelling of WORDS; a word not in there comes back tidied."""
    tidy = one_line(word).lower().replace("_", "-")
    return SYNONYMS.get(tidy, tidy)


def explain_report(word: str, info: str) -> FirmwareStatus:
    """Return what one report means. Any letter case, spacing and closing dots will do."""
    text_sent = one_line(info)
    tidy = text_sent.rstrip(" .…")
    status = normalized_word(word)
    meaning = WORDS.get(status)
    if meaning is None:
        return _unknown_word(one_line(word, 64), text_sent)
    if not tidy:
        return _by_word(meaning, gettext(meaning.sentence), is_known=True)
    for text, pattern in _TEXTS:
        if text.word == status or (text.word == "in-progress" and status == "started"):
            found = pattern.fullmatch(tidy)
            if found:
                return _by_text(text, meaning, found.groupdict())
    if status == "failed":
        return _by_reason(meaning, text_sent, tidy)
    return _unknown_text(meaning, status, text_sent)


def _by_word(word: StatusWord, sentence: str, *, is_known: bool) -> FirmwareStatus:
    return FirmwareStatus(
        word.code,
        gettext(word.title),
        sentence,
        word.stage,
        word.is_final_failure,
        word.delay,
        is_known,
        word.outcome,
    )


def _by_text(text: StatusText, word: StatusWord, found: dict[str, str | None]) -> FirmwareStatus:
    attempts = int(found.get("k") or 1)
    sentence = gettext(text.sentence).format(
        percent=found.get("percent"),
        attempt=gettext(" (attempt %(i)s of %(n)s)") % found if found.get("i") else "",
        after=gettext(", after %(n)s attempts") % {"n": attempts} if attempts > 1 else "",
        to=gettext(" to version %(version)s") % found if found.get("version") else "",
    )
    return FirmwareStatus(
        text.code,
        gettext(text.title or word.title),
        sentence,
        text.stage or word.stage,
        text.is_final_failure or word.is_final_failure,
        text.delay or word.delay,
        True,
        text.outcome or word.outcome,
    )


def _by_reason(word: StatusWord, text_sent: str, tidy: str) -> FirmwareStatus:
    attempt = _ATTEMPT.fullmatch(tidy)
    why = (attempt["why"] or "").strip() if attempt else tidy
    reason = next((known for known, pattern in _REASONS if pattern.match(why)), None)
    if attempt is None and reason is None:
        return _unknown_text(word, "failed", text_sent)
    start, then = gettext("An attempt failed"), gettext("The hub may try again on its own.")
    if attempt:
        numbers = {"i": int(attempt["i"]), "n": int(attempt["n"])}
        start = gettext("Attempt %(i)s of %(n)s failed") % numbers
        if int(attempt["i"]) < int(attempt["n"]):
            then = gettext("The hub will make the next attempt on its own.")
        else:
            then = gettext("The hub may start over on its own after about five minutes.")
    phrase = _phrase(reason, why)
    if reason is None and why:
        then += " " + gettext("Unrecognised reason: “%(text)s”.") % {"text": text_sent}
    return FirmwareStatus(
        reason.code if reason else UNKNOWN_REASON,
        gettext(word.title),
        f"{start}: {phrase}. {then}" if phrase else f"{start}. {then}",
        None,
        False,
        None,
        reason is not None or not why,
        InstallOutcome.ATTEMPTS_FAILED,
    )


def _phrase(reason: FailureReason | None, why: str) -> str:
    if reason is None:
        return ""
    more = next((phrase for pattern, phrase in _DETAILS if pattern.search(why)), "")
    phrase = gettext(reason.phrase)
    return f"{phrase} ({gettext(more)})" if more else phrase


def _unknown_text(word: StatusWord, status: str, text_sent: str) -> FirmwareStatus:
    unknown = gettext(
        "Unrecognised message: “%(text)s”. We rely only on the status “%(status)s”."
    ) % {"text": text_sent, "status": status}
    return _by_word(word, f"{gettext(word.sentence)} {unknown}", is_known=False)


def _unknown_word(word: str, text_sent: str) -> FirmwareStatus:
    if word:
        quote = f"{word}: {text_sent}" if text_sent else word
        sentence = gettext("The cloud sent an unrecognised status: “%(quote)s”.") % {"quote": quote}
    elif text_sent:
        sentence = gettext("The cloud sent no status, only this message: “%(text)s”.") % {
            "text": text_sent
        }
    else:
        sentence = gettext("The cloud sent no status.")
    return _by_word(NO_KNOWN_WORD, f"{sentence} {gettext(NO_KNOWN_WORD.sentence)}", is_known=False)
