"""One hub: what is known of it, what it is offered, and everything that happened to it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language, gettext, gettext_lazy
from django.views.decorators.http import require_safe

from devices.accounts import told_of, unlinked_at
from devices.installs import typical
from devices.models import Node, Proposal, VersionCause
from devices.policies import Right, may, may_answer, why_unfit
from devices.templatetags.show import when_words
from devices.views.access import hub_for, person, signed_in
from devices.views.live import frame_mark, live
from devices.views.standing import of_job, of_proposal

VERSIONS = 8
HAPPENINGS = 100
FILES = 10

# What the timeline tells of the hub's cloud account: words, tone, icon.
ACCOUNT_DEEDS = {
    "account.linked": (gettext_lazy("Its cloud account was linked again"), "quiet", "cloud"),
    "account.unlinked": (gettext_lazy("Its cloud account was unlinked"), "quiet", "dash"),
    "account.signed_out": (
        gettext_lazy("Its cloud account was signed out by the cloud"),
        "attention",
        "alert",
    ),
    "account.reconnected": (
        gettext_lazy("Its cloud account was signed in again"),
        "quiet",
        "cloud",
    ),
}


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of a hub's history."""

    at: datetime
    words: str
    tone: str
    icon: str
    link: str = ""
    sub: str = ""


@require_safe
@signed_in
def hub(request: HttpRequest, pk: int) -> HttpResponse:
    """The hub's page."""
    return render(request, "devices/hub.html", _hub(request, hub_for(request, pk)))


@require_safe
@signed_in
def hub_live(request: HttpRequest, pk: int) -> HttpResponse:
    """The same as a fragment; 204 without a body when nothing changed."""
    node = hub_for(request, pk)
    mark = _mark(request, node)
    return live(request, mark, "devices/_hub.html", lambda: _hub(request, node))


def _mark(request: HttpRequest, node: Node) -> str:
    return f"{node.revision}.{frame_mark(request)}"


def _hub(request: HttpRequest, node: Node) -> dict[str, object]:
    user, household, offer = person(request), node.account.household, node.offer
    job = node.latest_job
    files = list(node.fetches.select_related("image").order_by("-asked_at")[:FILES])
    is_unlinked, now, is_new = node.account.is_unlinked, timezone.now(), node.new_offer is not None
    may_install = may(user, Right.INSTALL, household)
    return {
        "node": node,
        "mark": _mark(request, node),
        "offer": offer,
        "is_new": is_new,
        "job": job,
        "needs_person": job is not None and job.needs_person and job.to_version != node.fw_version,
        "job_standing": of_job(job) if job is not None else None,
        "is_unlinked": is_unlinked,
        "unlinked_at": unlinked_at(node.account),
        "reasons": why_unfit(node, offer, now) if is_new else [],
        "runtime": timedelta(minutes=node.runtime_minutes or 0),
        "typical": typical(node.model, offer.fw_version) if offer is not None else None,
        "may_check": may(user, Right.CHECK, household) and not is_unlinked,
        "may_install": may_install,
        "may_answer": may_answer(user, household),
        "may_propose": bool(user.staff_role) and may(user, Right.PROPOSE, household),
        "proposal": node.proposals.undecided(now).first() if is_new else None,
        "files": files,
        "is_fetching": any(fetch.is_waiting for fetch in files),
        "happenings": _happenings(node),
        "versions": list(node.version_changes.order_by("-at")[:VERSIONS])[::-1],
    }


def _happenings(node: Node) -> list[Happening]:
    """Return everything that happened to this hub, newest first. Five queries."""
    lines = []
    for job in node.jobs.order_by("-requested_at")[:HAPPENINGS]:
        standing = of_job(job)
        lines.append(
            Happening(
                job.requested_at,
                gettext("Install of %(version)s: %(state)s")
                % {"version": job.to_version, "state": _within(standing.words)},
                standing.tone,
                standing.icon,
                reverse("install", args=[job.pk]),
                (
                    gettext("confirmed by %(requested_by_name)s")
                    % {"requested_by_name": job.requested_by_name}
                ),
            )
        )
    for change in node.version_changes.order_by("-at")[:HAPPENINGS]:
        is_first = change.cause == VersionCause.FIRST
        words = (
            (gettext("First seen with %(to_version)s") % {"to_version": change.to_version})
            if is_first
            else (
                gettext("Reports %(to_version)s instead of %(from_version)s")
                % {"to_version": change.to_version, "from_version": change.from_version}
            )
        )
        tone = "attention" if change.cause == VersionCause.OUTSIDE else "quiet"
        sub = "" if is_first else change.get_cause_display()
        lines.append(Happening(change.at, words, tone, "info", sub=sub))
    for offer in node.offers.order_by("-first_seen_at")[:HAPPENINGS]:
        words = gettext("Offered %(fw_version)s") % {"fw_version": offer.fw_version}
        lines.append(
            Happening(
                offer.first_seen_at,
                words,
                "new",
                "up",
                sub=(gettext("job %(ota_job_id)s") % {"ota_job_id": offer.ota_job_id}),
            )
        )
        if offer.ended_at is not None:
            words = gettext("Offer of %(fw_version)s ended") % {"fw_version": offer.fw_version}
            sub = offer.get_end_reason_display()
            lines.append(Happening(offer.ended_at, words, "quiet", "dash", sub=sub))
    lines += _of_account(node)
    proposed = node.proposals.order_by("-created_at")[:HAPPENINGS]
    lines += [_of_proposal(proposal) for proposal in proposed]
    return sorted(lines, key=lambda line: line.at, reverse=True)[:HAPPENINGS]


def _of_account(node: Node) -> list[Happening]:
    """Return what became of the hub's cloud account since the hub is known."""
    lines = []
    for event in told_of(node.account, ACCOUNT_DEEDS).filter(at__gte=node.first_seen_at):
        words, tone, icon = ACCOUNT_DEEDS[event.action]
        is_person = event.actor_user_id is not None
        sub = gettext("by %(name)s") % {"name": event.actor_name} if is_person else ""
        lines.append(Happening(event.at, str(words), tone, icon, sub=sub))
    return lines


def _of_proposal(proposal: Proposal) -> Happening:
    standing = of_proposal(proposal)
    words = gettext("Proposal of %(version)s: %(state)s") % {
        "version": proposal.to_version,
        "state": _within(standing.words),
    }
    link = reverse("proposal", args=[proposal.pk])
    sub = _who_proposed(proposal)
    return Happening(proposal.created_at, words, standing.tone, standing.icon, link, sub)


def _who_proposed(proposal: Proposal) -> str:
    """Return who proposed it, and who answered when."""
    said = gettext("Proposed by %(proposed_by_name)s.") % {
        "proposed_by_name": proposal.proposed_by_name
    }
    if proposal.decided_at is None:
        return said
    answered = gettext("%(decided_by_name)s answered %(decided_at)s.") % {
        "decided_by_name": proposal.decided_by_name,
        "decided_at": when_words(proposal.decided_at),
    }
    return f"{said} {answered}"


def _within(words: str) -> str:
    """Return the words as they stand inside a sentence: German keeps its capitals."""
    is_kept = (get_language() or "").startswith("de")
    return words if is_kept else words[:1].lower() + words[1:]
