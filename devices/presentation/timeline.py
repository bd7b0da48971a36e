"""What happened to one hub, or in a household, as lines of one timeline, newest first.

A page costs the same few queries however long the past is: each source gives the newest lines
before the place where the page begins, and the newest of all are shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext, gettext_lazy

from devices.accounts.sessions import events_of
from devices.explanations.explain import explain_job
from devices.models import (
    AuditAction,
    AuditEvent,
    Household,
    Node,
    Notice,
    Offer,
    OtaJob,
    Outcome,
    Plan,
    PlanState,
    Proposal,
    State,
    Topic,
    VersionCause,
    VersionChange,
)
from devices.models.parsing import parse_int
from devices.models.text import mask_emails
from devices.notifications.messages import sentence
from devices.presentation.badges import of_job, of_plan, of_proposal
from devices.presentation.formatting import when_words
from devices.presentation.install_story import start_of
from devices.presentation.plan_text import by as plan_by

LONGEST_TIMELINE = 100
PER_PAGE = 50
Row = TypeVar("Row", bound=Model)
Shown = tuple[str | Promise, str, str]
# Events of the cloud account on the timeline: text, tone, icon.
ACCOUNT_EVENTS: dict[str, Shown] = {
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
# Further events of a household that no table but the trail keeps.
HOUSEHOLD_EVENTS: dict[str, Shown] = ACCOUNT_EVENTS | {
    AuditAction.ACCOUNT_LINKED: (gettext_lazy("Cloud account linked"), "quiet", "cloud"),
    AuditAction.INSTALL_REQUEST_REFUSED: (
        gettext_lazy("An install could not be started"),
        "attention",
        "alert",
    ),
    AuditAction.PROPOSAL_ANSWER_REFUSED: (
        gettext_lazy("An answer to a proposal could not be carried out"),
        "attention",
        "alert",
    ),
    AuditAction.QUEUE_STOPPED: (gettext_lazy("Update queue stopped"), "attention", "alert"),
    AuditAction.QUEUE_EXPIRED: (
        gettext_lazy("Update queue expired before its end"),
        "attention",
        "alert",
    ),
    AuditAction.HUB_FOUND: (gettext_lazy("Hub found in the cloud account"), "quiet", "hub"),
    AuditAction.HUB_LEFT: (gettext_lazy("Hub left the cloud account"), "attention", "alert"),
    AuditAction.HUB_BACK: (gettext_lazy("Hub is back in the cloud account"), "quiet", "hub"),
    AuditAction.ACCESS_STAFF: (gettext_lazy("Staff looked into this household"), "quiet", "people"),
    AuditAction.HOUSEHOLD_SUPPORT: (gettext_lazy("Support access changed"), "quiet", "key"),
    AuditAction.HOUSEHOLD_POLICY_CHANGED: (
        gettext_lazy("Update policy changed"),
        "quiet",
        "calendar",
    ),
    AuditAction.HOUSEHOLD_POLICY_RESTS: (gettext_lazy("Update policy rests"), "attention", "alert"),
    AuditAction.HOUSEHOLD_STORED: (gettext_lazy("Stored for winter"), "quiet", "moon"),
    AuditAction.HOUSEHOLD_WOKEN: (gettext_lazy("No longer stored for winter"), "quiet", "moon"),
    AuditAction.HOUSEHOLD_JOINED: (gettext_lazy("A person joined"), "quiet", "people"),
    AuditAction.HOUSEHOLD_LEFT: (gettext_lazy("A person left"), "quiet", "people"),
    AuditAction.HOUSEHOLD_REMOVED: (gettext_lazy("A person was removed"), "quiet", "people"),
    AuditAction.INSTALL_PUT_BACK: (gettext_lazy("Settings put back"), "quiet", "info"),
}


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One line of the history of a hub or a household."""

    at: datetime
    words: str
    tone: str
    icon: str
    link: str = ""
    sub: str = ""
    hub: str = ""
    """Which hub, and its page: where lines of several stand together."""
    hub_link: str = ""

    def masked(self) -> "TimelineEvent":
        """Return it with the e-mail addresses of people masked."""
        return replace(self, words=mask_emails(self.words), sub=mask_emails(self.sub))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: at this moment, after so many of its lines that were shown before."""

    at: datetime
    shown: int = 0

    @classmethod
    def read(cls, text: str) -> "Place | None":
        """Return the place that an address names, as str() writes it; None when it names none."""
        stamp, _, shown = text.partition("-")
        micros = parse_int(stamp, largest=LATEST_STAMP)
        if micros is None:
            return None
        at = datetime.fromtimestamp(micros // 1_000_000, tz=UTC)
        at = at.replace(microsecond=micros % 1_000_000)
        return cls(at, parse_int(shown, largest=MOST_ALIKE) or 0)

    def __str__(self) -> str:
        micros = int(self.at.replace(microsecond=0).timestamp()) * 1_000_000 + self.at.microsecond
        return f"{micros}-{self.shown}"


# The last microsecond that a datetime can hold, and so many lines of one moment have a place each.
LATEST_STAMP = 253_402_300_799_999_999
MOST_ALIKE = 5_000


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """Some lines, newest first, and where those before them are, if there are any."""

    lines: list[TimelineEvent]
    older: Place | None = None


def timeline_of(node: Node) -> list[TimelineEvent]:
    """Return the newest of everything that happened to this hub, newest first. Nine queries.

    With what happened under an earlier node id, and the installs from another account that shares
    the hub.
    """
    before = earlier_rows(node)
    rows = [node.pk, *(other.pk for other in before)]
    mine = Q(node__in=rows)
    put_back = AuditEvent.objects.filter(
        household_id=node.account.household_id,
        action=AuditAction.INSTALL_PUT_BACK,
        node_id__in=rows,
    )
    cut = _Cut(None, LONGEST_TIMELINE)
    lines = [
        *_installs(OtaJob.objects.filter(mine | Q(node__in=node.twins())), cut),
        *_changes(VersionChange.objects.filter(mine), cut),
        *_offers(Offer.objects.filter(mine), cut),
        *_earlier(node, before),
        *_of_account(node),
        *_of_trail(put_back, cut),
        *_proposals(node.proposals.all(), cut),
        *_plans(Plan.objects.filter(mine), cut),
    ]
    return sorted(lines, key=lambda line: line.at, reverse=True)[:LONGEST_TIMELINE]


def household_timeline(household: Household, place: Place | None = None) -> TimelinePage:
    """Return a page of what happened to all hubs of a household, what its people were notified of,
    and who let whom in. Nine queries, however long it is.
    """
    cut = _Cut(place, PER_PAGE + (place.shown if place is not None else 0) + 1)
    mine, hubs_of_mine = Q(household=household), Q(node__account__household=household)
    trail = AuditEvent.objects.filter(
        household_id=household.pk, action__in=list(HOUSEHOLD_EVENTS), sequence__gte=1
    )
    lines = [
        *_installs(OtaJob.objects.filter(mine), cut),
        *_changes(VersionChange.objects.filter(hubs_of_mine), cut),
        *_offers(Offer.objects.filter(hubs_of_mine), cut),
        *_of_trail(trail, cut),
        *_proposals(Proposal.objects.filter(mine), cut),
        *_plans(Plan.objects.filter(mine), cut),
        *_notices(Notice.objects.filter(mine), cut),
    ]
    # the order of lines of one moment is that of the sources, the same on each page
    lines.sort(key=lambda line: line.at, reverse=True)
    alike = 0
    if place is not None:
        alike = sum(line.at == place.at for line in lines[: place.shown])
        lines = lines[alike:]
    shown = lines[:PER_PAGE]
    if len(lines) <= PER_PAGE:
        return TimelinePage(shown)
    last = shown[-1].at
    n = sum(line.at == last for line in shown)
    is_same = place is not None and last == place.at
    return TimelinePage(shown, Place(last, n + (alike if is_same else 0)))


@dataclass(frozen=True, slots=True)
class _Cut:
    """Which rows of a source can be on the page: so many, from a place on."""

    place: Place | None
    most: int

    def of(self, rows: QuerySet[Row], at: str) -> QuerySet[Row]:
        """Return the newest of these rows by that time."""
        if self.place is not None:
            rows = rows.filter(**{f"{at}__lte": self.place.at})
        return rows.order_by(f"-{at}", "-pk")[: self.most]


def _installs(jobs: QuerySet[OtaJob], cut: _Cut) -> Iterator[TimelineEvent]:
    for job in cut.of(jobs, "requested_at"):
        standing, link = of_job(job), reverse("install", args=[job.pk])
        values = {"version": job.to_version, "state": _within(standing.words)}
        words = gettext("Install of %(version)s: %(state)s") % values
        sub = start_of(job)
        if job.went_wrong:
            sub = f"{sub} · {explain_job(job).code}"
        yield TimelineEvent(
            job.requested_at,
            words,
            standing.tone,
            standing.icon,
            link,
            sub,
            *_hub(job.node_id, job.hub_name),
        )


def _changes(changes: QuerySet[VersionChange], cut: _Cut) -> Iterator[TimelineEvent]:
    for change in cut.of(changes.select_related("job", "node"), "at"):
        is_first = change.cause == VersionCause.FIRST
        words = (
            gettext("First seen with %(to_version)s")
            if is_first
            else gettext("Now reports %(to_version)s (before: %(from_version)s)")
        ) % {"to_version": change.to_version, "from_version": change.from_version}
        tone = "attention" if change.cause == VersionCause.OUTSIDE else "quiet"
        sub = "" if is_first else _why(change)
        yield TimelineEvent(change.at, words, tone, "info", "", sub, *_of(change.node))


def _offers(offers: QuerySet[Offer], cut: _Cut) -> Iterator[TimelineEvent]:
    offers = offers.select_related("node")
    for offer in cut.of(offers, "first_seen_at"):
        words = gettext("%(fw_version)s offered") % {"fw_version": offer.fw_version}
        sub = gettext("job %(ota_job_id)s") % {"ota_job_id": offer.ota_job_id}
        yield TimelineEvent(offer.first_seen_at, words, "new", "up", "", sub, *_of(offer.node))
    for offer in cut.of(offers.filter(ended_at__isnull=False), "ended_at"):
        if offer.ended_at is not None:
            words = gettext("Offer of %(fw_version)s ended") % {"fw_version": offer.fw_version}
            sub = offer.get_end_reason_display()
            yield TimelineEvent(offer.ended_at, words, "quiet", "dash", "", sub, *_of(offer.node))


def _earlier(node: Node, before: list[Node]) -> Iterator[TimelineEvent]:
    for other in before:
        words = gettext("Known as %(node_id)s until then") % {"node_id": other.node_id}
        sub = gettext("same serial number: %(serial)s") % {"serial": node.serial}
        at = max(node.first_seen_at, other.first_seen_at)
        yield TimelineEvent(at, words, "quiet", "hub", reverse("hub", args=[other.pk]), sub)


def _why(change: VersionChange) -> str:
    """Return why the version changed, as far as it is proven."""
    is_proven = change.job is None or change.job.state == State.VERIFIED
    if change.cause == VersionCause.INSTALL and not is_proven:
        return gettext("Reported during an install from this dashboard")
    return change.get_cause_display()


def earlier_rows(node: Node) -> list[Node]:
    """Return what a present hub was known as before; empty for a hub that is not present."""
    return node.known_as() if node.is_listed else []


def _of_account(node: Node) -> Iterator[TimelineEvent]:
    """Yield the events of the hub's cloud account since the hub was first seen."""
    for event in events_of(node.account, ACCOUNT_EVENTS).filter(at__gte=node.first_seen_at):
        yield _of_event(event, ACCOUNT_EVENTS[event.action])


def _of_trail(events: QuerySet[AuditEvent], cut: _Cut) -> Iterator[TimelineEvent]:
    """Yield what only the trail keeps, such as settings that were put back, or could not be."""
    # opaque to the planner: the index of the household and the action finds the few rows
    for event in cut.of(events.alias(moment=Coalesce("at", "at")), "moment"):
        line = _of_event(event, HOUSEHOLD_EVENTS[event.action])
        if event.action == AuditAction.INSTALL_PUT_BACK:
            line = replace(line, link=reverse("install", args=[event.job_id]), sub="")
            if event.outcome != Outcome.DONE:
                words = gettext("Settings could not be put back")
                line = replace(line, words=words, tone="attention")
        yield line


def _of_event(event: AuditEvent, shown: Shown) -> TimelineEvent:
    words, tone, icon = shown
    is_person = event.actor_user_id is not None
    sub = gettext("by %(name)s") % {"name": event.actor_name} if is_person else ""
    hub = _hub(event.node_id, event.hub_name) if event.node_id is not None else ()
    return TimelineEvent(event.at, str(words), tone, icon, "", sub, *hub)


def _proposals(proposals: QuerySet[Proposal], cut: _Cut) -> Iterator[TimelineEvent]:
    for proposal in cut.of(proposals, "created_at"):
        standing = of_proposal(proposal)
        words = gettext("Proposal of %(version)s: %(state)s") % {
            "version": proposal.to_version,
            "state": _within(standing.words),
        }
        yield TimelineEvent(
            proposal.created_at,
            words,
            standing.tone,
            standing.icon,
            reverse("proposal", args=[proposal.pk]),
            _who_proposed(proposal),
            *_hub(proposal.node_id, proposal.hub_name),
        )


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


def _plans(plans: QuerySet[Plan], cut: _Cut) -> Iterator[TimelineEvent]:
    """Yield when each was planned, with how it stands; a started plan is its install."""
    plans = plans.exclude(state=PlanState.STARTED).select_related("household")
    stood = plans.alias(stands_since=Coalesce("ended_at", "requested_at"))
    for plan in cut.of(stood, "stands_since"):
        standing = of_plan(plan, plan.household)
        values = {"version": plan.to_version, "state": _within(standing.words)}
        words = gettext("Plan of %(version)s: %(state)s") % values
        sub = gettext("planned by %(name)s") % {"name": plan_by(plan)}
        if not plan.is_waiting and plan.reason:
            sub = f"{sub}. {plan.reason}"
        yield TimelineEvent(
            plan.ended_at or plan.requested_at,
            words,
            standing.tone,
            standing.icon,
            reverse("planned"),
            sub,
            *_hub(plan.node_id, plan.hub_name),
        )


def _notices(notices: QuerySet[Notice], cut: _Cut) -> Iterator[TimelineEvent]:
    """Yield what people were notified of, word for word as of now, and how far it got."""
    notices = notices.exclude(topic=Topic.TEST).select_related("household", "job__node__account")
    for notice in cut.of(notices.prefetch_related("deliveries"), "at"):
        words = gettext("Notification: %(topic)s") % {"topic": Topic(notice.topic).label}
        sub = f"{sentence(notice)} {_how_far(notice)}"
        yield TimelineEvent(notice.at, words, "quiet", "info", notice.path, sub)


def _how_far(notice: Notice) -> str:
    """Return how many messages about it were taken, wait, or will not be sent."""
    every = list(notice.deliveries.all())
    sent = sum(one.sent_at is not None for one in every)
    waiting = sum(one.is_waiting for one in every)
    values = {"sent": sent, "waiting": waiting, "dropped": len(every) - sent - waiting}
    words = gettext("(Messages sent: %(sent)s, waiting: %(waiting)s, not sent: %(dropped)s)")
    return words % values


def _of(node: Node) -> tuple[str, str]:
    return _hub(node.pk, str(node))


def _hub(pk: int, name: str) -> tuple[str, str]:
    """Return a hub's name and its page."""
    return name, reverse("hub", args=[pk])


def _within(words: str) -> str:
    """Return the text for the middle of a sentence: German keeps its capitals."""
    is_kept = (get_language() or "").startswith("de")
    return words if is_kept else words[:1].lower() + words[1:]
