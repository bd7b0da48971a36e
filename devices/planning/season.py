"""Store a household for winter, and wake it in spring: nothing starts by itself meanwhile."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import Case, CharField, Exists, OuterRef, Q, Value
from django.db.models import When as Where
from django.db.models.functions import Coalesce

from devices.audit import log as audit_log
from devices.fleet.checks import ask_check
from devices.models import (
    Actor,
    AuditAction,
    Household,
    Node,
    Plan,
    PlanState,
    State,
    When,
    database_clock,
)
from devices.models.message import Message, MessageCode
from devices.planning.plans import move_to
from devices.taskqueue.wakeups import wake_installs

# Storing a household is suggested when all its hubs have been offline for so long.
AWAY_FOR = timedelta(days=30)
# The list of what to look at in spring is shown for so long.
SPRING_LASTS = timedelta(days=30)


def store(household: Household, *, actor: Actor, now: datetime | None = None) -> None:
    """Store the household for winter: its plans wait until that ends. What was to start now, in
    turn, ends: in spring it would be a surprise. Safe to repeat.
    """
    now = now or database_clock.now()
    with audit_log.locked():
        awake = Household.objects.filter(pk=household.pk, stored_at=None)
        if not awake.update(stored_at=now, stored_by_name=actor.name):
            return
        _news(household, now)
        ended = _end_turns(household, actor, now)
        waiting = Plan.objects.waiting().filter(household=household).wake(now)
        audit_log.record(
            actor,
            AuditAction.HOUSEHOLD_STORED,
            f"{actor.name} stored {household} for winter: its plans wait.",
            household=household,
            at=now,
            why=f"role {actor.role}",
            detail={"plans": waiting, "ended": ended},
        )


def _end_turns(household: Household, actor: Actor, now: datetime) -> int:
    """End the plans that were to start now, in the turn of their queue; return how many."""
    turns = Plan.objects.waiting().filter(household=household, when=When.NOW)
    plans = list(turns.select_related("household", "node__account", "batch", "proposal"))
    why = Message.of(MessageCode.PLAN_STORED)
    for plan in plans:
        note = f"The plan of {plan} ended: {why.english}"
        move_to(plan, PlanState.CANCELLED, actor=actor, note=note, now=now, reason=why)
    return len(plans)


def wake(household: Household, *, actor: Actor, now: datetime | None = None) -> None:
    """End the winter: plans go on with the time that they had left, and the hubs are checked. Safe
    to repeat.

    A plan for a set time and the answer to a proposal keep their end: what was missed meanwhile
    does not start late.
    """
    now = now or database_clock.now()
    with audit_log.locked():
        stored = Household.objects.filter(pk=household.pk, stored_at__isnull=False).first()
        if stored is None or stored.stored_at is None:
            return
        Household.objects.filter(pk=household.pk).update(
            stored_at=None, stored_by_name="", season_ended_at=now
        )
        waiting = Plan.objects.waiting().filter(household=household)
        paused = list(waiting.filter(proposal=None).exclude(when__in=[When.AT, When.NOW]))
        for plan in paused:
            plan.expires_at += now - max(stored.stored_at, plan.requested_at)
            plan.changes += 1  # calendars take the later end over
        Plan.objects.bulk_update(paused, ["expires_at", "changes"])
        waiting.wake(now)
        _news(household, now)
        audit_log.record(
            actor,
            AuditAction.HOUSEHOLD_WOKEN,
            f"{actor.name} woke {household} from winter, after {(now - stored.stored_at).days} "
            "days: its plans go on.",
            household=household,
            at=now,
            why=f"role {actor.role}",
            detail={"stored_at": stored.stored_at.isoformat(), "plans": len(paused)},
        )
        hubs = Node.objects.present().filter(account__household=household)
        ask_check(hubs.select_related("account__household"), actor=actor, now=now)


def _news(household: Household, now: datetime) -> None:
    household.refresh_from_db()
    Node.objects.filter(account__household=household).touch_all(now)
    wake_installs()


class SeasonKind(StrEnum):
    """What there is to say about the season of a household."""

    STORED = "stored"
    SPRING = "spring"  # the winter ended a short while ago
    SUGGESTED = "suggested"  # all hubs have been away for so long that it is probably winter


def seasons_of(
    seen: Collection[int], managed: Collection[int], now: datetime
) -> list[tuple[Household, SeasonKind]]:
    """Return the households whose season is worth a line on the list, of those that are seen. Only
    who manages a household is asked to store it. One query.
    """
    kind = Case(
        Where(Q(stored_at__isnull=False), then=Value(SeasonKind.STORED.value)),
        Where(season_ended_at__gt=now - SPRING_LASTS, then=Value(SeasonKind.SPRING.value)),
        Where(Q(pk__in=managed) & _all_away(now), then=Value(SeasonKind.SUGGESTED.value)),
        default=None,
        output_field=CharField(),
    )
    found = Household.objects.filter(pk__in=seen).annotate(season=kind).exclude(season=None)
    return [(one, SeasonKind(one.season)) for one in found.order_by("name", "pk")]


def kind_of(household: Household, now: datetime) -> SeasonKind | None:
    """Return what there is to say about the season of a household; None: nothing. One query."""
    found = seasons_of([household.pk], [household.pk], now)
    return found[0][1] if found else None


def _all_away(now: datetime) -> Q:
    """Return which households have hubs, and all of them have been offline for long."""
    hubs = Node.objects.present().filter(account__household=OuterRef("pk"))
    hubs = hubs.annotate(away_since=Coalesce("online_changed_at", "first_seen_at"))
    is_away = Q(is_online=False, away_since__lte=now - AWAY_FOR)
    return Q(Exists(hubs)) & ~Q(Exists(hubs.exclude(is_away)))


@dataclass(frozen=True, slots=True)
class Awakening:
    """One hub in spring: what is done, and what is still to come."""

    node: Node
    woke_up: bool
    """Has it been online since the winter ended?"""
    was_checked: bool
    """Has the cloud been asked for its firmware since then?"""
    is_verified: bool
    """Is nothing newer offered, or was an install verified since then?"""

    @property
    def is_done(self) -> bool:
        return self.woke_up and self.was_checked and self.is_verified


def awakenings(household: Household) -> list[Awakening]:
    """Return the hubs of the household with what happened since its winter ended, by name. Four
    queries.
    """
    since = household.season_ended_at
    if since is None:
        return []
    hubs = Node.objects.present_once().filter(account__household=household)
    return [_awakening(node, since) for node in hubs.for_list().order_by("name", "pk")]


def _awakening(node: Node, since: datetime) -> Awakening:
    was_online_at = node.online_changed_at
    woke_up = node.is_online is True or (was_online_at is not None and was_online_at > since)
    was_checked = node.checked_at is not None and node.checked_at > since
    job = node.latest_job
    has_proof = (
        job is not None
        and job.state == State.VERIFIED
        and job.fell_back_at is None
        and job.ended_at is not None
        and job.ended_at > since
    )
    is_current = was_checked and node.new_offer is None
    return Awakening(node, woke_up, was_checked, woke_up and (has_proof or is_current))
