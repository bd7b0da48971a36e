"""The story of one install: its steps so far and ahead, and what each of its witnesses reports.

A step is green only when it is known, not when the cloud or the hub merely claims it.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from django.utils.translation import gettext, gettext_lazy

from devices.explanations.explain import (
    Stage,
    explain_report,
    explain_trouble,
    in_quotes,
    is_unasked,
)
from devices.models import UNSENT, OtaJob, Report, State
from devices.models.text import isolate
from devices.models.version_text import is_same_version
from devices.presentation.badges import of_job


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of the way, with the hub's own words for it."""

    title: str
    tone: str
    """"done", "now", "claim" (reported, not confirmed), "bad" or "ahead"."""
    at: datetime | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Witness:
    """One of the three facts that end an install."""

    icon: str
    title: str
    words: str
    tone: str
    """"agrees", "speaking", "disagrees" or ""."""
    at: datetime | None = None
    """When it happened, if it is an event: an answer that is asked for again and again has no age.
    """


# How the planner began an install, by the way it came; a person confirmed all others.
_BEGUN = {
    "policy": gettext_lazy("Started by the update policy of %(name)s"),
    "plan": gettext_lazy("Started as planned by %(name)s"),
    "queue": gettext_lazy("Started in the queue of %(name)s"),
    "proposal": gettext_lazy("Started as %(name)s answered a proposal"),
}


def start_of(job: OtaJob) -> str:
    """Return who confirmed the install, or what started it when no person pressed a button."""
    words = (
        str(_BEGUN[job.requested_via]) if job.is_by_planner else gettext("Confirmed by %(name)s")
    )
    return words % {"name": isolate(job.requested_by_name)}


def steps_of(job: OtaJob, reports: list[Report]) -> list[Step]:
    """Return what happened so far, then what is still ahead."""
    back = gettext("Back online with %(to_version)s") % {"to_version": job.to_version}
    steps = [Step(start_of(job), "done", job.requested_at)]
    if job.state in UNSENT:
        steps.append(Step(_end_of(job), "bad", job.ended_at, job.push_answer))
        return steps + _late(job)
    if job.pushed_at is not None:
        answer = in_quotes(job.push_answer) if job.push_answer else ""
        title = gettext("Sent to the cloud, accepted")
        if not answer:  # it was lost, or the server was restored since
            title = gettext("Sent earlier") if job.restored_at else gettext("Sent to the cloud")
        steps.append(Step(title, "done", job.pushed_at, answer))
    elif job.claimed_at is not None and job.restored_at is not None:
        words = gettext("Checking whether it was sent after the backup was made.")
        steps.append(Step(gettext("Restored from a backup"), "now", job.restored_at, words))
    elif job.claimed_at is not None:
        words, tone = "", "now"
        if job.push_unknown:
            words = gettext("No clear answer. Checking with the cloud; nothing is sent again.")
        if not job.is_live:
            words, tone = gettext("No clear answer. Nothing was sent again."), "bad"
        steps.append(Step(gettext("Sending to the cloud"), tone, job.claimed_at, words))
    else:
        trouble = explain_trouble(job.trouble).headline if job.trouble else ""
        steps.append(Step(gettext("Waiting to be sent to the cloud"), "now", None, trouble))
    reached = Stage.SENT if job.pushed_at is not None else Stage.CONFIRMED
    for report in _by_stage(reports):
        meaning = explain_report(report.word, report.info)
        stage = meaning.stage or reached
        tone = "bad" if report.meaning in {"failed", "rejected"} else "done"
        if report.meaning == "success" and job.version_agreed_at is None:
            # a claim: the hub does not report the new version (yet)
            tone, stage = "claim", min(stage, Stage.RESTARTING)
        reached = max(reached, stage)
        words = in_quotes(report.info or report.word)
        steps.append(Step(meaning.title, tone, report.heard_at, words))
    if job.version_agreed_at is not None and job.is_online and reached < Stage.BACK_ONLINE:
        reached = Stage.BACK_ONLINE
        steps.append(Step(back, "done", job.version_agreed_at))
    if not job.is_live:
        if job.state == State.VERIFIED and job.fell_back_at is not None:
            steps.append(Step(gettext("Verified"), "done", job.ended_at))
            return [*steps, Step(of_job(job).words, "bad", job.fell_back_at)]
        tone = "done" if job.state == State.VERIFIED else "bad"
        return [*steps, Step(_end_of(job), tone, job.ended_at), *_late(job)]
    if steps[-1].tone in {"done", "claim"} and len(steps) > 1:
        last = steps[-1]
        steps[-1] = Step(last.title, "now", last.at, last.words)
    ahead = {
        Stage.STARTED: gettext("The hub starts the update"),
        Stage.DOWNLOADING: gettext("Downloading"),
        Stage.RESTARTING: gettext("Restarting with the new firmware"),
        Stage.BACK_ONLINE: back,
        Stage.VERIFIED: gettext("Verified"),
    }
    return steps + [Step(words, "ahead") for stage, words in ahead.items() if stage > reached]


def _end_of(job: OtaJob) -> str:
    return job.outcome_title or of_job(job).words


def _late(job: OtaJob) -> list[Step]:
    """Return what the hub reported after the install had ended otherwise."""
    if job.arrived_late_at is None:
        return []
    words = gettext("The hub reports %(to_version)s") % {"to_version": job.to_version}
    return [Step(words, "done", job.arrived_late_at)]


def _by_stage(reports: list[Report]) -> list[Report]:
    """Return the reports without the steps between two of the same kind: the evidence has all."""
    kept: list[Report] = []
    for report in reports:
        if report.meaning == "started" and not report.info:
            continue  # the step before it is the same
        if kept and report.percent is not None and kept[-1].percent is not None:
            kept[-1] = report
        else:
            kept.append(report)
    return kept


def witnesses_of(job: OtaJob) -> list[Witness]:
    """Return the three witnesses; one that could not be read the last time adds why."""
    return [
        _with_trouble(_cloud_witness(job), job.status_trouble),
        _with_trouble(_version_witness(job), job.version_trouble),
        _with_trouble(_online_witness(job), job.online_trouble),
    ]


def _with_trouble(witness: Witness, trouble: str) -> Witness:
    if not trouble:
        return witness
    why = gettext("Not readable at the last attempt: %(why)s")
    words = why % {"why": explain_trouble(trouble).headline}
    return replace(witness, words=f"{witness.words} {words}")


def _cloud_witness(job: OtaJob) -> Witness:
    title = gettext("The cloud reports")
    if not job.cloud_word:
        words = gettext("No report about this attempt.")
        if job.is_live and not is_unasked(job):
            words = gettext("No report about this attempt yet.")
        return Witness("cloud", title, words, "")
    words = in_quotes(job.cloud_word)
    if job.cloud_meaning == "success":
        words = gettext("%(words)s: the cloud reports success.") % {"words": words}
        return Witness("cloud", title, words, "agrees", job.cloud_said_at)
    if job.cloud_meaning in {"failed", "rejected"}:
        words += f": {in_quotes(job.cloud_info)}." if job.cloud_info else "."
        return Witness("cloud", title, words, "disagrees", job.cloud_said_at)
    words = gettext("%(words)s. Not final yet.") % {"words": words}
    return Witness("cloud", title, words, "speaking")


def _version_witness(job: OtaJob) -> Witness:
    title = gettext("The hub reports")
    if job.arrived_late_at is not None:
        words = gettext("version %(to_version)s, reported after the install had ended.")
        words %= {"to_version": job.to_version}
        return Witness("hub", title, words, "agrees", job.arrived_late_at)
    versions = {"version_seen": job.version_seen, "to_version": job.to_version}
    if not job.version_seen and job.version_seen_at is not None:
        words = gettext("no version: the hub does not say which one it runs.")
        return Witness("hub", title, words, "disagrees" if job.success_at else "")
    if not job.version_seen:
        return Witness("hub", title, gettext("Version not read yet."), "")
    if job.version_agreed_at is not None:
        words = gettext("version %(version_seen)s, the new one.") % versions
        return Witness("hub", title, words, "agrees", job.version_agreed_at)
    if is_same_version(job.version_seen, job.from_version):
        words = gettext("version %(version_seen)s, as before.") % versions
        if job.is_live:
            words += gettext(" Waiting for %(to_version)s.") % versions
        tone = "disagrees" if job.success_at is not None else ""
        return Witness("hub", title, words, tone)
    words = gettext("version %(version_seen)s, not %(to_version)s.") % versions
    return Witness("hub", title, words, "disagrees")


def _online_witness(job: OtaJob) -> Witness:
    title = gettext("Back online")
    if job.is_online is False:
        words = (
            gettext("Offline right now.") if job.is_live else gettext("Offline at the last check.")
        )
        if job.restarting_at is not None and job.is_live:
            words = gettext("Offline, as expected: it reported a restart.")
            return Witness("wifi", title, words, "speaking", job.restarting_at)
        return Witness("wifi", title, words, "speaking" if job.is_live else "disagrees")
    if job.back_online_at is not None or (job.is_online and job.version_agreed_at is not None):
        words = gettext("Connected.")
        if job.back_online_at and job.offline_seen_at:
            words = gettext("Seen offline, then connected again.")
        elif job.back_online_at:
            # known only from the time that the cloud gives with the connection
            words = gettext("Connected; the cloud reports a new connection since the update.")
        agrees = "agrees" if job.version_agreed_at is not None else "speaking"
        since = job.back_online_at or job.version_agreed_at
        return Witness("wifi", title, words, agrees, since)
    if job.is_online and job.restarting_at is not None:
        words = gettext("Online; it reported a restart but has not been seen offline.")
        return Witness("wifi", title, words, "", job.restarting_at)
    if job.is_online:
        return Witness("wifi", title, gettext("Online; no restart reported yet."), "")
    return Witness("wifi", title, gettext("Connection status unknown."), "")
