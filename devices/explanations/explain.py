"""Explain what happened, whether the hub is safe and what to do: the same every time, offline.

The sentences are data: install_messages.py for installs, cloud_messages.py for failed calls,
firmware_messages.py for a hub's reports. An unknown text or code is quoted, never guessed.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import formats, timezone
from django.utils.translation import gettext, gettext_lazy, gettext_noop, pgettext_lazy

from devices.explanations.cloud_messages import (
    CLOUD_CODES,
    CLOUD_ERRORS,
    OTHER_CLOUD_ERROR,
    TroubleCode,
)
from devices.explanations.firmware_messages import NO_KNOWN_WORD, REASONS, TEXTS, WORDS, Stage
from devices.explanations.firmware_status import FirmwareStatus, explain_report
from devices.explanations.install_messages import JOBS, Explanation, Tone
from devices.models.install import FOLLOWED, LIVE, OtaJob, State
from devices.models.outcome import InstallOutcome
from devices.models.text import one_line

__all__ = [
    "Explanation",
    "FirmwareStatus",
    "Stage",
    "Tone",
    "every_entry",
    "explain_cloud_code",
    "explain_job",
    "explain_report",
    "explain_trouble",
    "is_unasked",
    "read_code",
    "shown_with",
]
NO_WORDS = gettext_lazy("The hub has not reported anything about it.")
UNSEEN = gettext_lazy("We cannot confirm that it is connected.")
ASKED_ABOUT = FOLLOWED - {State.PUSHING}
# Polls of a hub in trouble are at most a minute apart (installs/timings.py).
UNASKED_AFTER = timedelta(minutes=3)


def explain_job(job: OtaJob) -> Explanation:
    """Return the explanation of this install as it is now. No query."""
    state = State(job.state)
    words = explain_report(job.cloud_word, job.cloud_info) if job.cloud_word else None
    key = _situation(job, words) if job.is_live else job.outcome
    if state == State.VERIFIED and job.fell_back_at is not None:
        key = "fell_back"
    elif job.arrived_late_at is not None:
        key = "arrived_late"
    of_state = {"unasked": State.RUNNING, "arrived_late": State.UNVERIFIED}.get(key, state)
    entry = JOBS.get((of_state, key))
    explained = (entry or JOBS[state, ""]).filled(
        hub=one_line(job.hub_name) or gettext("Your hub"),
        from_version=one_line(job.from_version) or gettext("its previous version"),
        to_version=one_line(job.to_version) or gettext("the new version"),
        version_seen=one_line(_version_seen(job)) or gettext("no version"),
        ended=str(job.outcome_title if job.outcome in InstallOutcome else state.label),
        words=words.sentence if words else str(NO_WORDS),
        answer=_quoted(gettext("The cloud's answer:"), job.push_answer),
        sight=gettext("The cloud last showed it as connected.") if job.is_online else str(UNSEEN),
        listening=gettext("A later report would still appear here.") if _listens(job) else "",
        asked=_last_asked(job),
    )
    if job.state == State.REFUSED and job.trouble == TroubleCode.NOT_PERMITTED:
        trouble = explain_trouble(job.trouble)
        what = f"{explained.what} {trouble.what}".strip()
        explained = replace(explained, what=what, todo=trouble.todo)
    if job.is_live and job.trouble:
        trouble = explain_trouble(job.trouble, job.trouble_text)
        explained = replace(explained, what=f"{explained.what} {trouble.headline} {trouble.what}")
    return explained


def code_of(state: State, result: str) -> str:
    """Return the support code of installs that stand like this: see `models.install.result`."""
    return (JOBS.get((state, result)) or JOBS[state, ""]).code


def is_unasked(job: OtaJob, now: datetime | None = None) -> bool:
    """Return whether the cloud was not asked lately about an install that was sent."""
    if job.state not in ASKED_ABOUT or job.asked_at is None:
        return False
    return (now or timezone.now()) - job.asked_at > UNASKED_AFTER


def _version_seen(job: OtaJob) -> str:
    """Return the version as the hub spelled it; of an old verified row only ours is kept."""
    is_proven = job.state == State.VERIFIED and not job.version_seen
    return job.to_version if is_proven else job.version_seen


def _last_asked(job: OtaJob) -> str:
    if job.asked_at is None:
        return ""
    at = formats.date_format(timezone.localtime(job.asked_at), "DATETIME_FORMAT")
    return gettext("The cloud was last asked about it: %(at)s.") % {"at": at.rstrip(".")}


def explain_trouble(code: str, text: str = "") -> Explanation:
    """Return the explanation of this trouble; the text that came with it is quoted."""
    entry = CLOUD_ERRORS.get(code, OTHER_CLOUD_ERROR)
    return entry.filled(
        trouble=one_line(code, 48) or gettext("nothing"), text=_quoted(gettext("Details:"), text)
    )


def explain_cloud_code(code: int) -> Explanation:
    """Return the explanation of an error_code of the cloud's OTA calls."""
    trouble, meaning = CLOUD_CODES.get(code, (TroubleCode.REFUSED, UNKNOWN_NUMBER))
    entry = CLOUD_ERRORS[trouble].filled(text="")
    return replace(
        entry,
        code=f"TW-C{code}",
        what=" ".join(
            [gettext(meaning), gettext("Cloud error number: %(code)s.") % {"code": code}]
        ),
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """One support code and what it stands for, without a particular hub."""

    code: str
    about: str
    headline: str
    sentences: tuple[str, ...]
    area: str
    """What the page of codes groups it under."""


UNKNOWN_NUMBER = gettext_noop(
    "We do not know this error number; the cloud's message may explain more."
)
# What replaces the placeholders where there is no particular hub and version. A name and numbers,
# as on real pages: an article ("the hub") would need another case in other languages.
TO_VERSION = "5.4.0"
GENERAL = {
    "hub": pgettext_lazy("name of a hub", "Example hub"),
    "from_version": "5.3.2",
    "to_version": TO_VERSION,
    "version_seen": "5.3.9",
    "words": "",
    "answer": "",
    "sight": "",
    "listening": "",
    "asked": "",
    "text": "",
    "trouble": gettext_lazy("this"),
    "ended": gettext_lazy("Not verified"),
}


def every_entry() -> list[Entry]:
    """Return all support codes in the order of the catalogues."""
    installs, clouds, answers = (
        gettext("Installs"),
        gettext("Cloud connection"),
        gettext("Cloud answer"),
    )
    found = [
        _entry(
            one,
            gettext("Install: %(state)s") % {"state": State(state).label},
            installs,
            # a hub that is verified reports what was installed
            **({"version_seen": TO_VERSION} if state == State.VERIFIED else {}),
        )
        for (state, _), one in JOBS.items()
    ]
    found += [_entry(one, clouds, clouds) for one in CLOUD_ERRORS.values()]
    found.append(_entry(OTHER_CLOUD_ERROR, clouds, clouds))
    found += [_entry(explain_cloud_code(code), answers, answers) for code in CLOUD_CODES]
    found += [
        _report_entry(word.code, name, "", gettext(word.sentence)) for name, word in WORDS.items()
    ]
    for text in TEXTS:
        explained = explain_report(text.word, text.example)
        found.append(_report_entry(text.code, text.word, text.example, explained.sentence))
    for reason in REASONS:
        explained = explain_report("failed", f"OTA Attempt 1/3 failed: {reason.example}")
        found.append(_report_entry(reason.code, "failed", reason.example, explained.sentence))
    found.append(
        _report_entry(NO_KNOWN_WORD.code, gettext("any other"), "", gettext(NO_KNOWN_WORD.sentence))
    )
    return found


def _entry(explained: Explanation, about: str, area: str, **named: str) -> Entry:
    explained = explained.filled(**{name: str(words) for name, words in GENERAL.items()} | named)
    sentences = [
        explained.what,
        gettext("Is the hub safe? %(answer)s") % {"answer": explained.is_safe},
        gettext("What to do: %(todo)s") % {"todo": explained.todo},
    ]
    words = tuple(filter(None, sentences))
    return Entry(explained.code, about, explained.headline, words, area)


def _report_entry(code: str, word: str, info: str, sentence: str) -> Entry:
    quote = in_quotes(f"{word}: {info}" if info else word)
    about, headline = gettext("Hub report"), gettext("Report %(quote)s") % {"quote": quote}
    return Entry(code, about, headline, (sentence,), about)


def read_code(text: str) -> str:
    """Return the text as a support code, as people may type one ("tw r02"), or ""."""
    found = re.fullmatch(r"(?:TW)?[ -]*([A-Z])[ -]*(\d{2,6})", text.strip().upper())
    return f"TW-{found[1]}{found[2]}" if found else ""


def shown_with(code: str) -> Q:
    """Return what selects the installs on whose page this support code stands; none for most."""
    for (state, key), entry in JOBS.items():
        if entry.code == code:
            return _is_so(state, key)
    trouble = next((key for key, entry in CLOUD_ERRORS.items() if entry.code == code), None)
    return Q(trouble=trouble) if trouble else Q(pk__in=[])


def _is_so(state: State, key: str) -> Q:
    """Return what selects the installs to which this entry of JOBS belongs."""
    if key == "fell_back":
        return Q(state=state) & ~Q(fell_back_at=None)
    if key == "arrived_late":
        return ~Q(arrived_late_at=None)
    if state not in LIVE:
        named = [other for one, other in JOBS if one == state and other]
        so = Q(state=state, fell_back_at=None, arrived_late_at=None)
        return so & (Q(outcome=key) if key else ~Q(outcome__in=named))
    unasked = Q(state__in=ASKED_ABOUT, asked_at__lt=timezone.now() - UNASKED_AFTER)
    if key == "unasked":
        return unasked
    # as _situation decides, the first that is so
    situations = {
        "push_unknown": Q(push_unknown=True, restored_at=None),
        "restored": Q(push_unknown=True) & ~Q(restored_at=None),
        "delayed": ~Q(delayed_since=None),
        "restarting": Q(cloud_info__istartswith="rebooting", back_online_at=None),
        "offline": Q(is_online=False),
    }
    so = Q(state=state) & ~unasked
    for other, condition in situations.items():
        if other == key:
            return so & condition
        if (state, other) in JOBS:
            so &= ~condition
    return so


def _situation(job: OtaJob, words: FirmwareStatus | None) -> str:
    if job.state == State.PUSHING and job.push_unknown:
        return "restored" if job.restored_at else "push_unknown"
    if is_unasked(job):
        return "unasked"
    if job.state != State.RUNNING or words is None:
        can_be_away = job.state in {State.RUNNING, State.VERIFYING}
        return "offline" if can_be_away and job.is_online is False else ""
    if words.delay is not None:
        return "delayed"
    if words.stage == Stage.RESTARTING and job.back_online_at is None:
        return "restarting"
    return "offline" if job.is_online is False else ""


def _listens(job: OtaJob) -> bool:
    return job.state == State.LOST and job.is_listening


def in_quotes(text: str) -> str:
    """Return the text in the quotation marks of the reader's language."""
    return gettext("“%(text)s”") % {"text": text}


def _quoted(start: str, text: str) -> str:
    clean = one_line(text).rstrip(" .")
    return f"{start} {in_quotes(clean)}." if clean else ""
