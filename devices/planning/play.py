"""Play the next day in fast time: when would each waiting plan start, and why not before?

The questions are the planner's own (`waits`), asked at later times. Hubs are taken as they were
last read: one that is offline or in use stays so. Nothing here writes or asks a cloud.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from devices.explanations.reasons import Reason, ReasonCode
from devices.installs.statistics import typical
from devices.models import Household, OtaJob, Plan, UpdatePolicy
from devices.planning.waits import Around, end_of, next_look, why_not_now

LASTS = timedelta(days=1)
MOST = 100
# An install takes so long where none has been seen yet.
TAKES = timedelta(minutes=10)
# Reasons that pass with time alone; what a hub does is not foreseen.
PASSES = {ReasonCode.TOO_EARLY, ReasonCode.OUTSIDE_WINDOW, ReasonCode.ACCOUNT_RESTING}


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a plan does not start from this moment on."""

    since: datetime
    reason: Reason


@dataclass(slots=True)
class Played:
    """What would become of one plan."""

    plan: Plan
    waits: list[Wait] = field(default_factory=list)
    """Each other reason in turn, the last one until it starts or the day is over."""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    """When it would end without an install, for the last reason."""


def play(household: Household, now: datetime) -> tuple[list[Played], int]:
    """Return what the next day would bring for the first hundred waiting plans of a household,
    those that start in that order, then the others; and how many more plans wait. Some ten queries,
    and one for each version.
    """
    waiting = Plan.objects.waiting().filter(household=household)
    first = waiting.loaded().order_by("not_before", "position", "pk")[:MOST]
    played = [Played(plan) for plan in first]
    around = Around.of(one.plan for one in played)
    day = _Day(now)
    for one in played:
        day.look_at(*_turning_points(one.plan, now))
    live = OtaJob.objects.live().filter(household=household, plan__isnull=False)
    for job in live.select_related("plan__node__account"):
        day.end(job.plan, max(now, (job.pushed_at or now) + day.takes(job.plan)))
    for at, ended in day:
        for plan in ended:
            around.note_end(plan)
        for one in played:
            if one.starts_at is None and one.ends_at is None:
                _look(one, at, around, day)
    played.sort(key=lambda one: (one.starts_at is None, one.starts_at or now))
    return played, waiting.count() - len(played)


class _Day:
    """The moments of the day that are worth a look, and the installs that end at them."""

    def __init__(self, now: datetime) -> None:
        self._now, self._until = now, now + LASTS
        self._moments: dict[datetime, list[Plan]] = defaultdict(list, {now: []})
        self._takes: dict[tuple[str, str], timedelta] = {}

    def __iter__(self) -> Iterator[tuple[datetime, list[Plan]]]:
        while self._moments:
            at = min(self._moments)
            yield at, self._moments.pop(at)

    def look_at(self, *moments: datetime | None) -> None:
        for at in moments:
            if at is not None and self._now < at <= self._until:
                self._moments[at] += []

    def end(self, plan: Plan, at: datetime) -> None:
        if at <= self._until:
            self._moments[at].append(plan)

    def takes(self, plan: Plan) -> timedelta:
        """Return how long this install usually takes. One query for each model and version."""
        key = plan.node.model, plan.to_version
        if key not in self._takes:
            self._takes[key] = typical(*key, shown_to=plan.household).typical or TAKES
        return self._takes[key]


def _turning_points(plan: Plan, now: datetime) -> list[datetime | None]:
    """Return when something about it changes that depends on the clock alone."""
    idle_since, window = plan.node.idle_since, plan.window
    moments = [plan.not_before, plan.expires_at, plan.node.account.resume_at]
    if idle_since is not None:
        moments.append(idle_since + UpdatePolicy.of(plan.household).idle_time)
    if window is not None:
        moments += [window.opens_at(max(now, plan.not_before)), window.closes_at(now)]
    return moments


def _look(one: Played, at: datetime, around: Around, day: _Day) -> None:
    """Ask about a plan at this time, as the planner would."""
    plan, reasons = one.plan, why_not_now(one.plan, at, around)
    if not reasons:
        one.starts_at = at
        around.note_start(plan)
        day.end(plan, at + day.takes(plan))
        return
    if end := end_of(plan, reasons):
        one.ends_at, reasons = at, end.reasons
    if not one.waits or one.waits[-1].reason.code != reasons[0].code:
        one.waits.append(Wait(at, reasons[0]))
    if reasons[0].code in PASSES:
        day.look_at(next_look(plan, reasons, at))
