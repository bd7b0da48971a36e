"""The badges of hubs and installs: a text, a tone, an icon. Never colour alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace

from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy, override

from devices.backup.schedule import CUT_OFF_AFTER
from devices.explanations.explain import explain_report
from devices.models import (
    LIVE,
    UNSENT,
    AccountState,
    AuditEvent,
    AuditGroup,
    BackupRun,
    CloudAccount,
    FetchState,
    Household,
    ImageFetch,
    InstallOutcome,
    Node,
    OtaJob,
    Outcome,
    Plan,
    Proposal,
    ProposalState,
    State,
)
from devices.models.attention import Attention
from devices.models.install import TROUBLED
from devices.models.version_text import is_same_version
from devices.presentation import plan_text
from devices.presentation.formatting import when_words

# The list shows a verified install for so long, then only "Up to date".
FRESH = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Badge:
    """One badge. Tones: good, running, attention, new, quiet."""

    words: str
    tone: str
    icon: str
    since: datetime | None = None
    """When set, the badge also shows how long ago."""


VERDICTS: dict[str, tuple[str | Promise, str, str]] = {
    State.VERIFIED: (gettext_lazy("Verified"), "good", "check"),
    State.UNVERIFIED: (gettext_lazy("Not verified"), "attention", "alert"),
    State.REJECTED: (gettext_lazy("Refused by the hub"), "attention", "alert"),
    State.FAILED: (gettext_lazy("Install failed"), "attention", "alert"),
    State.LOST: (gettext_lazy("No report from the hub"), "attention", "alert"),
    State.CANCELLED: (gettext_lazy("Cancelled"), "quiet", "dash"),
    State.EXPIRED: (gettext_lazy("Expired, not sent"), "quiet", "dash"),
    State.REFUSED: (gettext_lazy("Not sent"), "quiet", "dash"),
}
# The fields of an install that the words of an outcome may hold.
IN_BADGES = ("from_version", "to_version", "version_seen")
# How History and the Overview sort installs.
VERDICT_SHOWS: dict[str, tuple[str | Promise, list[str]]] = {
    "": (gettext_lazy("All"), []),
    "running": (gettext_lazy("Running"), sorted(LIVE)),
    "verified": (gettext_lazy("Verified"), [State.VERIFIED]),
    "attention": (gettext_lazy("Not verified"), [str(state) for state in TROUBLED]),
    "unsent": (gettext_lazy("Not sent"), sorted(UNSENT)),
}
PROPOSED: dict[str, tuple[str, str]] = {
    ProposalState.OPEN: ("new", "up"),
    ProposalState.TONIGHT: ("running", "moon"),
    ProposalState.ACCEPTED: ("good", "check"),
}
FETCHED: dict[str, tuple[str | Promise, str, str]] = {
    FetchState.WAITING: (gettext_lazy("in progress"), "running", "running"),
    FetchState.VERIFIED: (gettext_lazy("verified"), "good", "check"),
    FetchState.UNVERIFIED: (gettext_lazy("not verified"), "quiet", "info"),
    FetchState.REFUSED: (gettext_lazy("refused"), "attention", "alert"),
    FetchState.FAILED: (gettext_lazy("not downloaded"), "attention", "alert"),
}


def of_job(job: OtaJob) -> Badge:
    """Return the badge of an install."""
    if job.fell_back_at is not None:
        back = gettext("Verified, then back to %(version)s") % {"version": job.from_version}
        return Badge(back, "attention", "alert")
    if job.arrived_late_at is not None:
        late = gettext("Runs %(version)s after all") % {"version": job.to_version}
        return Badge(late, "quiet", "info")
    if job.state in VERDICTS:
        words, tone, icon = VERDICTS[job.state]
        return Badge(job.outcome_title or str(words), tone, icon)
    if job.state == State.REQUESTED:
        return Badge(gettext("Waiting to be sent"), "running", "clock")
    if job.state == State.PUSHING:
        return Badge(gettext("Sending"), "running", "running")
    if job.state == State.RETRYING:
        return Badge(gettext("Attempt failed, may retry"), "running", "running")
    if job.state == State.VERIFYING:
        return Badge(gettext("Checking the new version"), "running", "running", job.pushed_at)
    report = explain_report(job.cloud_word, job.cloud_info)
    words = report.title if job.cloud_word and report.is_known else gettext("Installing")
    return Badge(words, "running", "running", job.pushed_at)


def of_event(event: AuditEvent) -> Badge:
    """Return the badge of an audit entry; for an install the words of the install's own badge."""
    group, _, what = event.action.partition(".")
    if group == AuditGroup.INSTALL and what in VERDICTS:
        words, tone, icon = VERDICTS[what]
        facts = {name: event.detail.get(name) for name in IN_BADGES}
        if event.detail.get("outcome") in InstallOutcome and all(
            value for name, value in facts.items() if name in _named(event.detail["outcome"])
        ):
            words = str(InstallOutcome(event.detail["outcome"]).label).format(
                job=SimpleNamespace(**facts)
            )
        return Badge(str(words), tone, icon)
    if group == AuditGroup.INSTALL and what in State:
        return Badge(str(State(what).label), "running", "running")
    is_done = event.outcome == Outcome.DONE
    tone, icon = ("good", "check") if is_done else ("attention", "alert")
    return Badge(event.get_outcome_display(), tone, icon)


def _named(outcome: str) -> set[str]:
    """Return the fields of the install that the words of this outcome need."""
    with override("en"):
        return {name for name in IN_BADGES if f"job.{name}" in str(InstallOutcome(outcome).label)}


def of_proposal(proposal: Proposal) -> Badge:
    """Return the badge of a proposal."""
    tone, icon = PROPOSED.get(proposal.state, ("quiet", "dash"))
    return Badge(proposal.get_state_display(), tone, icon)


def of_plan(plan: Plan, household: Household) -> Badge:
    """Return the badge of a plan of this household: when it starts, or how it ended."""
    if plan.job is not None:
        return of_job(plan.job)
    if not plan.is_waiting:
        return Badge(plan.get_state_display(), "quiet", "dash")
    if plan.is_put_aside(household):
        return Badge(gettext("After winter"), "quiet", "moon")
    return Badge(plan_text.short(plan, household), "new", "clock")


def of_fetch(fetch: ImageFetch) -> Badge:
    """Return the badge of a firmware file: its version and its state."""
    words, tone, icon = FETCHED[fetch.state]
    return Badge(f"{fetch.fw_version} {words}", tone, icon)


def of_backup(run: BackupRun, now: datetime) -> Badge:
    """Return the badge of a backup: how far it is, or how it ended."""
    if run.is_waiting:
        return Badge(gettext("Waiting for a worker"), "running", "clock")
    if run.ended_at is None and now - run.started_at > CUT_OFF_AFTER:
        return Badge(gettext("Cut off"), "attention", "alert")
    if run.ended_at is None:
        words = gettext("Verifying the backup") if run.file else gettext("Making the backup")
        return Badge(words, "running", "running")
    if run.trouble:
        return Badge(gettext("Failed"), "attention", "alert")
    return Badge(gettext("Verified"), "good", "check")


def of_account(account: CloudAccount) -> Badge:
    """Return the badge of a cloud account."""
    if account.state == AccountState.SIGNED_OUT:
        return Badge(gettext("Sign in again"), "attention", "key")
    if account.trouble:
        return Badge(gettext("Cannot be checked right now"), "attention", "alert")
    if account.list_trouble:
        return Badge(gettext("Some hubs may be missing"), "attention", "alert")
    if account.synced_at is not None:
        return Badge(gettext("Linked"), "good", "check")
    return Badge(gettext("Loading for the first time"), "running", "clock")


def of_hub(node: Node, attention: Attention, now: datetime) -> Badge:
    """Return the badge of a hub on the list; reads what `for_list` fetched."""
    job = node.latest_job
    if job is not None and attention in {Attention.TROUBLE, Attention.RUNNING}:
        return of_job(job)
    plan = node.plan
    if attention == Attention.PLANNED and plan is not None:
        return of_plan(plan, node.account.household)
    if attention == Attention.SIGNED_OUT:
        return Badge(gettext("Account signed out"), "attention", "key")
    if attention == Attention.STORED:
        return Badge(gettext("Stored for winter"), "quiet", "moon")
    if node.is_online is False:
        since = (
            (
                gettext(" since %(online_changed_at)s")
                % {"online_changed_at": when_words(node.online_changed_at)}
            )
            if node.online_changed_at
            else ""
        )
        return Badge((gettext("Offline%(since)s") % {"since": since}), "quiet", "moon")
    if attention == Attention.OLDER:
        return Badge(gettext("Older firmware offered"), "attention", "alert")
    if attention == Attention.NEW:
        if node.offer is not None and node.offer.is_being_installed(now):
            return Badge(gettext("Being updated, not from here"), "running", "running")
        return Badge(gettext("New firmware"), "new", "up")
    if attention == Attention.DISMISSED and node.dismissed_offer is not None:
        words = gettext("%(version)s dismissed")
        return Badge(words % {"version": node.dismissed_offer.fw_version}, "quiet", "dash")
    is_installed = job is not None and is_same_version(job.to_version, node.fw_version)
    if job is not None and is_installed and job.ended_at is not None:
        if job.state == State.VERIFIED and now - job.ended_at < FRESH:
            return Badge(
                (gettext("Verified %(ended_at)s") % {"ended_at": when_words(job.ended_at)}),
                "good",
                "check",
            )
        if job.went_wrong:
            return Badge(
                (gettext("Reports %(fw_version)s, not verified") % {"fw_version": node.fw_version}),
                "quiet",
                "info",
            )
    if node.check_trouble:
        return Badge(gettext("Could not be checked"), "quiet", "info")
    if node.checked_at is None:
        return Badge(gettext("Not checked yet"), "quiet", "clock")
    return Badge(gettext("Up to date"), "good", "check")
