"""What the badge of a hub or an install says: a word, a tone, a shape. Never colour alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from devices.explain import explain_report
from devices.models import Node, OtaJob, State
from devices.templatetags.show import when_words
from devices.views.listing import Attention

# For so long the list says that an install was verified, afterwards only that all is well.
FRESH = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Standing:
    """One badge. Tones: good, running, attention, new, quiet."""

    words: str
    tone: str
    icon: str
    since: datetime | None = None
    """When set, the badge also says for how long."""


OUTCOMES = {
    "claimed_success_same_version": "Claimed success, still {job.from_version}",
    "claimed_success_other_version": "Claimed success, reports {job.version_seen}",
    "version_without_success": "Reports {job.to_version}, never confirmed",
    "version_despite_rejected": "Reports {job.to_version}, yet rejected",
    "version_despite_failed": "Reports {job.to_version}, yet failed",
    "not_seen_online": "Not seen online again",
    "rolled_back": "Went back to {job.from_version}",
    "offer_changed": "Not sent, the offer changed",
}
VERDICTS: dict[str, tuple[str, str, str]] = {
    State.VERIFIED: ("Verified", "good", "check"),
    State.UNVERIFIED: ("Not proven", "attention", "alert"),
    State.REJECTED: ("Refused by the hub", "attention", "alert"),
    State.FAILED: ("Install failed", "attention", "alert"),
    State.LOST: ("No word from the hub", "attention", "alert"),
    State.CANCELLED: ("Cancelled", "quiet", "dash"),
    State.EXPIRED: ("Expired unsent", "quiet", "dash"),
    State.REFUSED: ("Not sent", "quiet", "dash"),
}


def of_job(job: OtaJob) -> Standing:
    """Return the badge of an install."""
    if job.state in VERDICTS:
        words, tone, icon = VERDICTS[job.state]
        return Standing(OUTCOMES.get(job.outcome, words).format(job=job), tone, icon)
    if job.state == State.REQUESTED:
        return Standing("Waiting to be sent", "running", "clock")
    if job.state == State.PUSHING:
        return Standing("Being sent", "running", "running")
    if job.state == State.RETRYING:
        return Standing("Attempt failed, may try again", "running", "running")
    if job.state == State.VERIFYING:
        return Standing("Checking the new version", "running", "running", job.pushed_at)
    heard = explain_report(job.cloud_word, job.cloud_info)
    words = heard.title if job.cloud_word and heard.is_known else "Installing"
    return Standing(words, "running", "running", job.pushed_at)


def of_hub(node: Node, attention: Attention, now: datetime) -> Standing:
    """Return the badge of a hub on the list; reads what `for_list` fetched."""
    job = node.latest_job
    if job is not None and attention in {Attention.TROUBLE, Attention.RUNNING}:
        return of_job(job)
    if attention == Attention.SIGNED_OUT:
        return Standing("Account signed out", "attention", "key")
    if node.is_online is False:
        since = f" since {when_words(node.online_changed_at)}" if node.online_changed_at else ""
        return Standing(f"Offline{since}", "quiet", "moon")
    if attention == Attention.NEW:
        return Standing("New firmware", "new", "up")
    if job is not None and job.to_version == node.fw_version and job.ended_at is not None:
        if job.state == State.VERIFIED and now - job.ended_at < FRESH:
            return Standing(f"Verified {when_words(job.ended_at)}", "good", "check")
        if job.needs_person:
            return Standing(f"Runs {node.fw_version}, not proven", "quiet", "info")
    if node.checked_at is None:
        return Standing("Not checked yet", "quiet", "clock")
    if node.check_trouble:
        return Standing("Could not be checked", "quiet", "info")
    return Standing("Up to date", "good", "check")
