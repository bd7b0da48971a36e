"""What happened, is the hub safe, what to do now: in plain words, the same every time, offline.

The sentences are data: `catalogue` for installs, `troubles` for talks with the cloud, `hubwords`
for a hub's own words. An unknown text or code is quoted and never guessed at.
"""

import re
from dataclasses import dataclass, replace

from django.db.models import Q
from django.utils.translation import gettext, gettext_lazy, gettext_noop

from devices.catalogue import JOBS, Explanation, Tone
from devices.hubwords import (
    NO_KNOWN_WORD,
    REASONS,
    TEXTS,
    WORDS,
    HubWords,
    Stage,
    explain_report,
    one_line,
)
from devices.models.ota import LIVE, OtaJob, State
from devices.troubles import CLOUD_CODES, OTHER_TROUBLE, TROUBLES

__all__ = [
    "Explanation",
    "HubWords",
    "Stage",
    "Tone",
    "every_entry",
    "explain_cloud_code",
    "explain_job",
    "explain_report",
    "explain_trouble",
    "read_code",
    "shown_with",
]

NO_WORDS = gettext_lazy("The hub has not said anything about it.")
UNSEEN = gettext_lazy("We cannot see it right now.")


def explain_job(job: OtaJob) -> Explanation:
    """Return what is to be said about this install now. No query."""
    state = State(job.state)
    words = explain_report(job.cloud_word, job.cloud_info) if job.cloud_word else None
    key = _situation(job, words) if job.is_live else job.outcome
    entry = JOBS.get((state, key)) or JOBS[state, ""]
    told = entry.filled(
        hub=one_line(job.hub_name) or gettext("Your hub"),
        from_version=one_line(job.from_version) or gettext("its earlier version"),
        to_version=one_line(job.to_version) or gettext("the new version"),
        version_seen=one_line(job.version_seen) or gettext("no version"),
        words=words.sentence if words else str(NO_WORDS),
        answer=_quoted(gettext("It answered:"), job.push_answer),
        sight=gettext("The cloud last showed it as connected.") if job.is_online else str(UNSEEN),
        listening=gettext("A late word is still heard and would be shown here.")
        if _hears(job)
        else "",
    )
    if job.is_live and job.trouble:
        trouble = explain_trouble(job.trouble, job.trouble_text)
        told = replace(told, what=f"{told.what} {trouble.headline} {trouble.what}")
    return told


def explain_trouble(code: str, text: str = "") -> Explanation:
    """Return what is to be said about this trouble; the text that came with it is quoted."""
    entry = TROUBLES.get(code, OTHER_TROUBLE)
    return entry.filled(
        trouble=one_line(code, 48) or gettext("nothing"), text=_quoted(gettext("In detail:"), text)
    )


def explain_cloud_code(code: int) -> Explanation:
    """Return what is to be said about an error_code of the cloud's OTA calls."""
    trouble, meaning = CLOUD_CODES.get(code, ("refused", UNKNOWN_NUMBER))
    entry = TROUBLES[trouble].filled(text="")
    return replace(
        entry,
        code=f"TW-C{code}",
        what=" ".join(
            [gettext(meaning), gettext("The cloud's number for this is %(code)s.") % {"code": code}]
        ),
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """One support code and all that it stands for, as far as can be said without a case."""

    code: str
    about: str
    headline: str
    sentences: tuple[str, ...]


UNKNOWN_NUMBER = gettext_noop("We do not know this number; the cloud's own words tell more.")
# What stands for the placeholders where there is no hub and no version to speak of.
GENERAL = {
    "hub": gettext_lazy("the hub"),
    "from_version": gettext_lazy("its earlier version"),
    "to_version": gettext_lazy("the new version"),
    "version_seen": gettext_lazy("another version"),
    "words": "",
    "answer": "",
    "sight": "",
    "listening": "",
    "text": "",
    "trouble": gettext_lazy("this"),
}


def every_entry() -> list[Entry]:
    """Return all support codes in the order of the catalogues."""
    found = [
        _entry(one, gettext("An install: %(state)s") % {"state": State(key[0]).label})
        for key, one in JOBS.items()
    ]
    found += [_entry(one, gettext("Talking with the cloud")) for one in TROUBLES.values()]
    found.append(_entry(OTHER_TROUBLE, gettext("Talking with the cloud")))
    found += [
        _entry(explain_cloud_code(code), gettext("An answer of the cloud")) for code in CLOUD_CODES
    ]
    found += [_said(word.code, name, "", gettext(word.sentence)) for name, word in WORDS.items()]
    for text in TEXTS:
        told = explain_report(text.word, text.example)
        found.append(_said(text.code, text.word, text.example, told.sentence))
    for reason in REASONS:
        told = explain_report("failed", f"OTA Attempt 1/3 failed: {reason.example}")
        found.append(_said(reason.code, "failed", reason.example, told.sentence))
    found.append(
        _said(NO_KNOWN_WORD.code, gettext("any other"), "", gettext(NO_KNOWN_WORD.sentence))
    )
    return found


def _entry(told: Explanation, about: str) -> Entry:
    told = told.filled(**{name: str(words) for name, words in GENERAL.items()})
    sentences = [
        told.what,
        gettext("Is the hub safe? %(answer)s") % {"answer": told.is_safe},
        gettext("What to do: %(todo)s") % {"todo": told.todo},
    ]
    headline = told.headline[:1].upper() + told.headline[1:]
    return Entry(told.code, about, headline, tuple(filter(None, sentences)))


def _said(code: str, word: str, info: str, sentence: str) -> Entry:
    quote = f"“{word}: {info}”" if info else f"“{word}”"
    return Entry(
        code,
        gettext("A hub's report"),
        gettext("The report %(quote)s") % {"quote": quote},
        (sentence,),
    )


def read_code(text: str) -> str:
    """Return the text as a support code, as people may type one ("tw r02"), or ""."""
    found = re.fullmatch(r"(?:TW)?[ -]*([A-Z])[ -]*(\d{2,6})", text.strip().upper())
    return f"TW-{found[1]}{found[2]}" if found else ""


def shown_with(code: str) -> Q:
    """Return what selects the installs on whose page this support code stands; none for most."""
    for (state, key), entry in JOBS.items():
        if entry.code == code:
            return Q(state=state) & (_is_so(state, key))
    trouble = next((key for key, entry in TROUBLES.items() if entry.code == code), None)
    return Q(trouble=trouble) if trouble else Q(pk__in=[])


def _is_so(state: State, key: str) -> Q:
    if state not in LIVE:
        named = [other for one, other in JOBS if one == state and other]
        return Q(outcome=key) if key else ~Q(outcome__in=named)
    so = {
        "push_unknown": Q(push_unknown=True, restored_at=None),
        "restored": Q(push_unknown=True) & ~Q(restored_at=None),
        "delayed": ~Q(delayed_since=None),
        "restarting": ~Q(restarting_at=None) & Q(back_online_at=None),
        "offline": Q(is_online=False),
    }
    return so.get(key, Q())


def _situation(job: OtaJob, words: HubWords | None) -> str:
    if job.state == State.PUSHING and job.push_unknown:
        return "restored" if job.restored_at else "push_unknown"
    if job.state != State.RUNNING or words is None:
        return "offline" if job.state == State.RUNNING and job.is_online is False else ""
    if words.delay is not None:
        return "delayed"
    if words.stage == Stage.RESTARTING and job.back_online_at is None:
        return "restarting"
    return "offline" if job.is_online is False else ""


def _hears(job: OtaJob) -> bool:
    return job.state == State.LOST and job.is_listening


def _quoted(start: str, text: str) -> str:
    clean = one_line(text).rstrip(" .")
    return f"{start} “{clean}”." if clean else ""
