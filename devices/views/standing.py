"""What the badge of a hub or an install says: a word, a tone, a shape. Never colour alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy

from devices.explain import explain_report
from devices.models import Node, OtaJob, Proposal, ProposalState, State
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


OUTCOMES: dict[str, str | Promise] = {
    "claimed_success_same_version": gettext_lazy("Claimed success, still {job.from_version}"),
    "claimed_success_other_version": gettext_lazy("Claimed success, reports {job.version_seen}"),
    "version_without_success": gettext_lazy("Reports {job.to_version}, never confirmed"),
    "version_despite_rejected": gettext_lazy("Reports {job.to_version}, yet rejected"),
    "version_despite_failed": gettext_lazy("Reports {job.to_version}, yet failed"),
    "not_seen_online": gettext_lazy("Not seen online again"),
    "rolled_back": gettext_lazy("Went back to {job.from_version}"),
    "offer_changed": gettext_lazy("Not sent, the offer changed"),
}
VERDICTS: dict[str, tuple[str | Promise, str, str]] = {
    State.VERIFIED: (gettext_lazy("Verified"), "good", "check"),
    State.UNVERIFIED: (gettext_lazy("Not proven"), "attention", "alert"),
    State.REJECTED: (gettext_lazy("Refused by the hub"), "attention", "alert"),
    State.FAILED: (gettext_lazy("Install failed"), "attention", "alert"),
    State.LOST: (gettext_lazy("No word from the hub"), "attention", "alert"),
    State.CANCELLED: (gettext_lazy("Cancelled"), "quiet", "dash"),
    State.EXPIRED: (gettext_lazy("Expired unsent"), "quiet", "dash"),
    State.REFUSED: (gettext_lazy("Not sent"), "quiet", "dash"),
}
PROPOSED: dict[str, tuple[str, str]] = {
    ProposalState.OPEN: ("new", "up"),
    ProposalState.TONIGHT: ("running", "moon"),
    ProposalState.ACCEPTED: ("good", "check"),
}


def of_job(job: OtaJob) -> Standing:
    """Return the badge of an install."""
    if job.state in VERDICTS:
        words, tone, icon = VERDICTS[job.state]
        return Standing(str(OUTCOMES.get(job.outcome, words)).format(job=job), tone, icon)
    if job.state == State.REQUESTED:
        return Standing(gettext("Waiting to be sent"), "running", "clock")
    if job.state == State.PUSHING:
        return Standing(gettext("Being sent"), "running", "running")
    if job.state == State.RETRYING:
        return Standing(gettext("Attempt failed, may try again"), "running", "running")
    if job.state == State.VERIFYING:
        return Standing(gettext("Checking the new version"), "running", "running", job.pushed_at)
    heard = explain_report(job.cloud_word, job.cloud_info)
    words = heard.title if job.cloud_word and heard.is_known else gettext("Installing")
    return Standing(words, "running", "running", job.pushed_at)


def of_proposal(proposal: Proposal) -> Standing:
    """Return the badge of a proposal."""
    tone, icon = PROPOSED.get(proposal.state, ("quiet", "dash"))
    return Standing(proposal.get_state_display(), tone, icon)


def of_hub(node: Node, attention: Attention, now: datetime) -> Standing:
    """Return the badge of a hub on the list; reads what `for_list` fetched."""
    job = node.latest_job
    if job is not None and attention in {Attention.TROUBLE, Attention.RUNNING}:
        return of_job(job)
    if attention == Attention.SIGNED_OUT:
        return Standing(gettext("Account signed out"), "attention", "key")
    if node.is_online is False:
        since = (
            (
                gettext(" since %(online_changed_at)s")
                % {"online_changed_at": when_words(node.online_changed_at)}
            )
            if node.online_changed_at
            else ""
        )
        return Standing((gettext("Offline%(since)s") % {"since": since}), "quiet", "moon")
    if attention == Attention.NEW:
        return Standing(gettext("New firmware"), "new", "up")
    if job is not None and job.to_version == node.fw_version and job.ended_at is not None:
        if job.state == State.VERIFIED and now - job.ended_at < FRESH:
            return Standing(
                (gettext("Verified %(ended_at)s") % {"ended_at": when_words(job.ended_at)}),
                "good",
                "check",
            )
        if job.needs_person:
            return Standing(
                (gettext("Runs %(fw_version)s, not proven") % {"fw_version": node.fw_version}),
                "quiet",
                "info",
            )
    if node.checked_at is None:
        return Standing(gettext("Not checked yet"), "quiet", "clock")
    if node.check_trouble:
        return Standing(gettext("Could not be checked"), "quiet", "info")
    return Standing(gettext("Up to date"), "good", "check")
