"""What happened, is the hub safe, what to do now: in plain words, the same every time, offline.

The sentences are data: `catalogue` for installs, `troubles` for talks with the cloud, `hubwords`
for a hub's own words. An unknown text or code is quoted and never guessed at.
"""

from dataclasses import replace

from devices.catalogue import JOBS, Explanation, Tone
from devices.hubwords import HubWords, Stage, explain_report, one_line
from devices.models.ota import OtaJob, State
from devices.troubles import CLOUD_CODES, OTHER_TROUBLE, TROUBLES

__all__ = [
    "Explanation",
    "HubWords",
    "Stage",
    "Tone",
    "explain_cloud_code",
    "explain_job",
    "explain_report",
    "explain_trouble",
]

NO_WORDS = "The hub has not said anything about it."
UNSEEN = "We cannot see it right now."


def explain_job(job: OtaJob) -> Explanation:
    """Return what is to be said about this install now. No query."""
    state = State(job.state)
    words = explain_report(job.cloud_word, job.cloud_info) if job.cloud_word else None
    key = _situation(job, words) if job.is_live else job.outcome
    entry = JOBS.get((state, key)) or JOBS[state, ""]
    told = entry.filled(
        hub=one_line(job.hub_name) or "Your hub",
        from_version=one_line(job.from_version) or "its earlier version",
        to_version=one_line(job.to_version) or "the new version",
        version_seen=one_line(job.version_seen) or "no version",
        words=words.sentence if words else NO_WORDS,
        answer=_quoted("It answered:", job.push_answer),
        sight="The cloud last showed it as connected." if job.is_online else UNSEEN,
        listening="A late word is still heard and would be shown here." if _hears(job) else "",
    )
    if job.is_live and job.trouble:
        trouble = explain_trouble(job.trouble, job.trouble_text)
        told = replace(told, what=f"{told.what} {trouble.headline} {trouble.what}")
    return told


def explain_trouble(code: str, text: str = "") -> Explanation:
    """Return what is to be said about this trouble; the text that came with it is quoted."""
    entry = TROUBLES.get(code, OTHER_TROUBLE)
    return entry.filled(trouble=one_line(code, 48) or "nothing", text=_quoted("In detail:", text))


def explain_cloud_code(code: int) -> Explanation:
    """Return what is to be said about an error_code of the cloud's OTA calls."""
    trouble, meaning = CLOUD_CODES.get(
        code, ("refused", "We do not know this number; the cloud's own words tell more.")
    )
    entry = TROUBLES[trouble].filled(text="")
    return replace(
        entry, code=f"TW-C{code}", what=f"{meaning} The cloud's number for this is {code}."
    )


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
