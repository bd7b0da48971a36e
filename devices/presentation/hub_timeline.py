"""Everything that happened to a hub, as lines of one timeline."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext, gettext_lazy

from devices.accounts.sessions import events_of
from devices.models import (
    AuditAction,
    AuditEvent,
    Node,
    Offer,
    OtaJob,
    Outcome,
    Plan,
    PlanState,
    Proposal,
    State,
    VersionCause,
    VersionChange,
)
from devices.presentation.badges import of_job, of_plan, of_proposal
from devices.presentation.formatting import when_words
from devices.presentation.install_story import start_of
from devices.presentation.plan_text import by as plan_by

LONGEST_TIMELINE = 100
# Events of the cloud account on the timeline: text, tone, icon.
ACCOUNT_EVENTS: dict[str, tuple[str | Promise, str, str]] = {
    AuditAction.ACCOUNT_LINKED: (gettext_lazy("Cloud account linked again"), "quiet", "cloud"),
    AuditAction.ACCOUNT_UNLINKED: (gettext_lazy("Cloud account unlinked"), "quiet", "dash"),
    AuditAction.ACCOUNT_SIGNED_OUT: (
        gettext_lazy("Cloud account signed out by the cloud"),
        "attention",
        "alert",
    ),
    AuditAction.ACCOUNT_RECONNECTED: (
        gettext_lazy("Cloud account signed in again"),
        "quiet",
        "cloud",
    ),
}


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One line of a hub's history."""

    at: datetime
    words: str
    tone: str
    icon: str
    link: str = ""
    sub: str = ""


def timeline_of(node: Node) -> list[TimelineEvent]:
    """Return everything that happened to this hub, newest first. Eight queries.

    With what happened under an earlier node id, and the installs from another account that shares
    the hub.
    """
    lines = []
    before = earlier_rows(node)
    rows = [node.pk, *(other.pk for other in before)]
    jobs = OtaJob.objects.filter(Q(node__in=rows) | Q(node__in=node.twins()))
    for job in jobs.order_by("-requested_at")[:LONGEST_TIMELINE]:
        standing, link = of_job(job), reverse("install", args=[job.pk])
        values = {"version": job.to_version, "state": _within(standing.words)}
        words = gettext("Install of %(version)s: %(state)s") % values
        sub = start_of(job)
        lines.append(
            TimelineEvent(job.requested_at, words, standing.tone, standing.icon, link, sub)
        )
    changes = VersionChange.objects.filter(node__in=rows).select_related("job")
    for change in changes.order_by("-at")[:LONGEST_TIMELINE]:
        is_first = change.cause == VersionCause.FIRST
        words = (
            gettext("First seen with %(to_version)s")
            if is_first
            else gettext("Now reports %(to_version)s (before: %(from_version)s)")
        ) % {"to_version": change.to_version, "from_version": change.from_version}
        tone = "attention" if change.cause == VersionCause.OUTSIDE else "quiet"
        sub = "" if is_first else _why(change)
        lines.append(TimelineEvent(change.at, words, tone, "info", sub=sub))
    offers = Offer.objects.filter(node__in=rows)
    for offer in offers.order_by("-first_seen_at")[:LONGEST_TIMELINE]:
        words = gettext("%(fw_version)s offered") % {"fw_version": offer.fw_version}
        sub = gettext("job %(ota_job_id)s") % {"ota_job_id": offer.ota_job_id}
        lines.append(TimelineEvent(offer.first_seen_at, words, "new", "up", sub=sub))
        if offer.ended_at is not None:
            words = gettext("Offer of %(fw_version)s ended") % {"fw_version": offer.fw_version}
            sub = offer.get_end_reason_display()
            lines.append(TimelineEvent(offer.ended_at, words, "quiet", "dash", sub=sub))
    for other in before:
        words = gettext("Known as %(node_id)s until then") % {"node_id": other.node_id}
        sub = gettext("same serial number: %(serial)s") % {"serial": node.serial}
        at = max(node.first_seen_at, other.first_seen_at)
        lines.append(TimelineEvent(at, words, "quiet", "hub", reverse("hub", args=[other.pk]), sub))
    lines += _of_account(node)
    lines += _put_back(node, rows)
    proposed = node.proposals.order_by("-created_at")[:LONGEST_TIMELINE]
    lines += [_of_proposal(proposal) for proposal in proposed]
    plans = Plan.objects.filter(node__in=rows).exclude(state=PlanState.STARTED)
    plans = plans.select_related("household")
    lines += [_of_plan(plan) for plan in plans.order_by("-requested_at")[:LONGEST_TIMELINE]]
    return sorted(lines, key=lambda line: line.at, reverse=True)[:LONGEST_TIMELINE]


def _why(change: VersionChange) -> str:
    """Return why the version changed, as far as it is proven."""
    is_proven = change.job is None or change.job.state == State.VERIFIED
    if change.cause == VersionCause.INSTALL and not is_proven:
        return gettext("Reported during an install from this dashboard")
    return change.get_cause_display()


def earlier_rows(node: Node) -> list[Node]:
    """Return what a present hub was known as before; empty for a hub that is not present."""
    return node.known_as() if node.is_listed else []


def _of_account(node: Node) -> list[TimelineEvent]:
    """Return the events of the hub's cloud account since the hub was first seen."""
    lines = []
    for event in events_of(node.account, ACCOUNT_EVENTS).filter(at__gte=node.first_seen_at):
        words, tone, icon = ACCOUNT_EVENTS[event.action]
        is_person = event.actor_user_id is not None
        sub = gettext("by %(name)s") % {"name": event.actor_name} if is_person else ""
        lines.append(TimelineEvent(event.at, str(words), tone, icon, sub=sub))
    return lines


def _put_back(node: Node, rows: list[int]) -> list[TimelineEvent]:
    """Return when the hub's settings were put back as before an install, or could not be."""
    events = AuditEvent.objects.filter(
        household_id=node.account.household_id,
        action=AuditAction.INSTALL_PUT_BACK,
        node_id__in=rows,
    )
    lines = []
    for event in events.order_by("-sequence")[:LONGEST_TIMELINE]:
        words, tone = gettext("Settings put back"), "quiet"
        if event.outcome != Outcome.DONE:
            words, tone = gettext("Settings could not be put back"), "attention"
        link = reverse("install", args=[event.job_id])
        lines.append(TimelineEvent(event.at, words, tone, "info", link))
    return lines


def _of_plan(plan: Plan) -> TimelineEvent:
    """Return when it was planned, with how it stands; a started plan is its install."""
    standing = of_plan(plan, plan.household)
    values = {"version": plan.to_version, "state": _within(standing.words)}
    words = gettext("Plan of %(version)s: %(state)s") % values
    sub = gettext("planned by %(name)s") % {"name": plan_by(plan)}
    at = plan.ended_at or plan.requested_at
    if not plan.is_waiting and plan.reason:
        sub = f"{sub}. {plan.reason}"
    return TimelineEvent(at, words, standing.tone, standing.icon, reverse("planned"), sub)


def _of_proposal(proposal: Proposal) -> TimelineEvent:
    standing = of_proposal(proposal)
    words = gettext("Proposal of %(version)s: %(state)s") % {
        "version": proposal.to_version,
        "state": _within(standing.words),
    }
    link = reverse("proposal", args=[proposal.pk])
    sub = _who_proposed(proposal)
    return TimelineEvent(proposal.created_at, words, standing.tone, standing.icon, link, sub)


def _who_proposed(proposal: Proposal) -> str:
    """Return who proposed it, and who answered when."""
    values = gettext("Proposed by %(proposed_by_name)s.") % {
        "proposed_by_name": proposal.proposed_by_name
    }
    if proposal.decided_at is None:
        return values
    answered = gettext("Answered by %(decided_by_name)s (%(decided_at)s).") % {
        "decided_by_name": proposal.decided_by_name,
        "decided_at": when_words(proposal.decided_at),
    }
    return f"{values} {answered}"


def _within(words: str) -> str:
    """Return the text for the middle of a sentence: German keeps its capitals."""
    is_kept = (get_language() or "").startswith("de")
    return words if is_kept else words[:1].lower() + words[1:]
