"""Reading the audit trail: whose rows a person may see, which of them are asked for, page by page.

A page is cut by position, so that rows which come meanwhile move nothing. However long the trail
and for every question a page looks at a bounded number of rows: along the index of the narrowest
thing asked for, and where more has to be looked through than that, the page says how far back it
looked and goes on from there.
"""

import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from devices.models import AuditCheckpoint, AuditEvent, AuditHead, Household, User
from devices.models.text import mask_emails
from devices.permissions import trail_scope

PER_PAGE = 50
# How many rows one page looks through for what no index finds.
WINDOW = 20_000
# Of each of several indexes that are looked along together, at least so many.
LEAST_OF_BRANCH = 2_000
# An event may say a moment a little before the one at which it was recorded: that many rows of
# difference between the order of moments and that of positions are allowed for.
SLACK = 2_000
MOST_BRANCHES = 20
Events = QuerySet[AuditEvent]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What of the trail is asked for; empty means everything."""

    text: str = ""
    person: str = ""
    role: str = ""
    hub: str = ""
    household: str = ""
    action: str = ""
    """The beginning of an action, such as "install."."""
    outcome: str = ""
    since: date | None = None
    until: date | None = None
    job: int | None = None

    @property
    def is_all(self) -> bool:
        return self == AuditFilter()

    def words(self) -> dict[str, Any]:
        """Return what is asked for, as it is kept with an export."""
        values = {
            name: getattr(self, name)
            for name in ("text", "person", "role", "hub", "household", "action", "outcome", "job")
        }
        for name in ("since", "until"):
            day = getattr(self, name)
            values[name] = day.isoformat() if day else ""
        return {name: value for name, value in values.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, newest first. `older` and `newer` are positions to go on from, or None."""

    events: list[AuditEvent]
    older: int | None = None
    newer: int | None = None
    looked_to: datetime | None = None
    """How far back was looked, when the page ends there although rows may follow."""
    total: int | None = None

    @property
    def has_gaps(self) -> bool:
        """Do numbers between the rows shown belong to rows that are not shown?"""
        return any(newer.sequence - older.sequence > 1 for newer, older in pairwise(self.events))

    def __iter__(self) -> Iterator[AuditEvent]:
        return iter(self.events)


class AuditSearch:
    """What one person may see of the trail, narrowed to what is asked for."""

    def __init__(self, user: User, asked: AuditFilter, within: int | None = None) -> None:
        self.asked = asked
        self.scope = trail_scope(user, within)
        self._named = self._households_named()
        # What is masked is not searched either: each match would tell a letter of it.
        self._masked_rows = Q(household_id__in=self.scope.masked_ids) & ~Q(actor_user_id=user.pk)
        self._user_id = user.pk

    def is_masked(self, household_id: int | None, actor_user_id: int | None) -> bool:
        """Return whether e-mail addresses in such a row are masked: of others, where one only
        looks.
        """
        return household_id in self.scope.masked_ids and actor_user_id != self._user_id

    def sieve(self, events: Events) -> Events:
        """Return those rows, of some found by position or index, that are visible and asked for."""
        events = events.filter(self.scope.visible).alias(
            # opaque to the planner: these must never be what a page of the newest is found by
            moment=Coalesce("at", "at"),
            result=Coalesce("outcome", "outcome"),
        )
        asked = self.asked
        if asked.job:
            events = events.filter(job_id=asked.job)
        if asked.person:
            events = events.filter(self._plainly(Q(actor_name__icontains=asked.person)))
        if asked.hub:
            events = events.filter(hub_name__icontains=asked.hub)
        if asked.role:
            # a sign-in records every role of the person, such as "owner, viewer"
            also = Q(actor_role__startswith=f"{asked.role}, ") | Q(
                actor_role__contains=f", {asked.role}"
            )
            events = events.filter(Q(actor_role=asked.role) | also)
        if asked.action:
            events = events.filter(action__startswith=asked.action)
        if asked.outcome:
            events = events.filter(result=asked.outcome)
        if asked.household:
            named = Q(household_name__icontains=asked.household)
            events = events.filter(Q(household_id__in=self._named) | named)
        if asked.since:
            events = events.filter(moment__gte=_start_of(asked.since))
        if asked.until:
            events = events.filter(moment__lt=_start_of(asked.until + timedelta(days=1)))
        if asked.text:
            events = events.alias(facts=Cast("detail", TextField()))
            for word in asked.text.split()[:6]:
                events = events.filter(
                    Q(hub_name__icontains=word)
                    | Q(household_name__icontains=word)
                    | self._plainly(
                        Q(sentence__icontains=word)
                        | Q(actor_name__icontains=word)
                        | Q(why__icontains=word)
                        | Q(address__icontains=word)
                        | Q(request_id__icontains=word)
                        | Q(facts__icontains=word)
                    )
                )
        return events

    def _plainly(self, condition: Q) -> Q:
        """Return the condition for those rows alone that this person reads unmasked."""
        return condition & ~self._masked_rows if self.scope.masked_ids else condition

    def page(self, *, before: int | None = None, after: int | None = None) -> Page:
        """Return the newest rows, or those before (or after) a position. A few queries."""
        low, high = self._bounds()
        if after is not None:
            return self._newer_page(after, high)
        # with nothing to go on from, this is the newest page
        top = high if before is None else min(before, high)
        found, reached = self._look(low, top, is_down=True)
        shown = found[:PER_PAGE]
        older = None
        looked_to = None
        if len(found) > PER_PAGE:
            older = shown[-1].sequence
        elif reached > low:
            older, looked_to = reached + 1, self._moment_of(reached)
        is_newest = before is None
        newer = None if is_newest else (shown[0].sequence if shown else top - 1)
        return Page(shown, older, newer, looked_to, self._total() if is_newest else None)

    def _newer_page(self, after: int, high: int) -> Page:
        found, reached = self._look(after, high, is_down=False)
        shown = found[:PER_PAGE][::-1]
        if len(found) <= PER_PAGE and reached >= high - 1:
            return self.page()
        newer = shown[0].sequence if len(found) > PER_PAGE else reached
        older = shown[-1].sequence if shown else after + 1
        return Page(shown, older, newer)

    def _look(self, low: int, high: int, *, is_down: bool) -> tuple[list[AuditEvent], int]:
        """Return the rows between two positions from one end on, up to one more than a page, and
        the position that was reached: beyond it nothing was looked at.
        """
        order = "-sequence" if is_down else "sequence"
        between = AuditEvent.objects.filter(sequence__gt=low, sequence__lt=high).order_by(order)
        found, reached, branches = [], [], self._branches()
        window = max(WINDOW // max(1, len(branches)), LEAST_OF_BRANCH)
        for branch in branches:
            along = between.filter(branch)
            end = along.values_list("sequence", flat=True)[window : window + 1].first()
            if end is not None:
                reached.append(end)
                along = along.filter(**{"sequence__gt" if is_down else "sequence__lt": end})
            found.append([self._masked(one) for one in self.sieve(along)[: PER_PAGE + 1]])
        merged: dict[int, AuditEvent] = {}
        for event in heapq.merge(*found, key=lambda one: one.sequence, reverse=is_down):
            merged[event.sequence] = event
        if is_down:
            limit = max(reached, default=low)
            kept = [event for event in merged.values() if event.sequence > limit]
        else:
            limit = min(reached, default=high)
            kept = [event for event in merged.values() if event.sequence < limit]
        return kept[: PER_PAGE + 1], limit

    def _masked(self, event: AuditEvent) -> AuditEvent:
        """Mask the e-mail addresses of a row, if this person may not read them."""
        if self.is_masked(event.household_id, event.actor_user_id):
            event.sentence = mask_emails(event.sentence)
            event.actor_name = mask_emails(event.actor_name)
            event.why = mask_emails(event.why)
            event.detail = json.loads(mask_emails(json.dumps(event.detail, ensure_ascii=False)))
        return event

    def _branches(self) -> list[Q]:
        """Return the conditions, each served by one index in the order of positions, that
        together hold all that can be on the page.
        """
        asked = self.asked
        if asked.job:
            return [Q(job_id=asked.job)]
        if self.scope.household_ids is not None:
            if len(self.scope.household_ids) > MOST_BRANCHES:
                return [self.scope.visible]
            return [Q(household_id=pk) for pk in self.scope.household_ids] + self.scope.own
        if asked.hub and AuditEvent.objects.filter(hub_name=asked.hub).exists():
            return [Q(hub_name=asked.hub)]
        if asked.person and AuditEvent.objects.filter(actor_name=asked.person).exists():
            return [Q(actor_name=asked.person)]
        if 0 < len(self._named) <= MOST_BRANCHES:
            return [Q(household_id=pk) for pk in self._named]
        if asked.action and len(actions := _actions(asked.action)) <= MOST_BRANCHES:
            return [Q(action=action) for action in actions]
        if asked.outcome:
            return [Q(outcome=asked.outcome)]
        return [Q()]

    def _households_named(self) -> list[int]:
        if not self.asked.household:
            return []
        named = Household.objects.filter(name__icontains=self.asked.household)
        if self.scope.household_ids is not None:
            named = named.filter(pk__in=self.scope.household_ids)
        return list(named.values_list("pk", flat=True)[: MOST_BRANCHES + 1])

    def _bounds(self) -> tuple[int, int]:
        """Return positions between which, both apart, all that is asked for must be."""
        newest = AuditEvent.objects.order_by("-sequence").values_list("sequence", flat=True).first()
        checkpoint = AuditCheckpoint.latest()
        low, high = checkpoint.sequence if checkpoint else 0, (newest or 0) + 1
        moments = AuditEvent.objects.values_list("sequence", flat=True)
        if self.asked.since:
            first = moments.filter(at__gte=_start_of(self.asked.since)).order_by("at").first()
            low = high if first is None else max(low, first - SLACK)
        if self.asked.until:
            end = _start_of(self.asked.until + timedelta(days=1))
            last = moments.filter(at__lt=end).order_by("-at").first()
            high = low if last is None else min(high, last + SLACK)
        return low, high

    def _total(self) -> int | None:
        """Return how many rows there are in all, where that is known without counting."""
        if not (self.scope.sees_all and self.asked.is_all):
            return None
        checkpoint = AuditCheckpoint.latest()
        head = AuditHead.objects.filter(pk=1).values_list("sequence", flat=True).first() or 0
        return head - (checkpoint.sequence if checkpoint else 0)

    @staticmethod
    def _moment_of(sequence: int) -> datetime | None:
        return (
            AuditEvent.objects.filter(sequence__gte=sequence)
            .order_by("sequence")
            .values_list("at", flat=True)
            .first()
        )


def visible_of_job(user: User, job_id: int) -> list[AuditEvent]:
    """Return the rows of one install that this person may see, oldest first."""
    trail = AuditSearch(user, AuditFilter(job=job_id))
    # a row before the first is none of ours, and verifying finds it
    rows = AuditEvent.objects.filter(job_id=job_id, sequence__gte=1)
    return [trail._masked(one) for one in trail.sieve(rows).order_by("sequence")]


def _start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


def _actions(prefix: str) -> list[str]:
    """Return every action that begins so: one short look into the index for each."""
    found: list[str] = []
    names = AuditEvent.objects.order_by("action").values_list("action", flat=True)
    following = names.filter(action__gte=prefix).first()
    while following is not None and following.startswith(prefix) and len(found) <= MOST_BRANCHES:
        found.append(following)
        following = names.filter(action__gt=following).first()
    return found
