"""Count how installs of one model and version went here, and how long they took."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, Count, F, FloatField, Func, Q, When, Window
from django.db.models.functions import RowNumber

from devices.models import Household, InstallOutcome, OtaJob, State
from devices.models.install import OtaJobQuerySet, went_wrong

# Fewer installs than this are not shown to another household: a single one would be theirs alone.
FEWEST_OF_OTHERS = 3
# From so few on the slowest says little: it may have been the lucky ones.
FEWEST_TO_COMPARE = 3
GOOD = frozenset({InstallOutcome.VERIFIED, InstallOutcome.VERIFIED_LATE})


@dataclass(frozen=True, slots=True)
class Typical:
    """What finished installs of one model and version took on this server."""

    count: int
    verified: int
    typical: timedelta | None
    slowest: timedelta | None
    unusual_after: timedelta | None
    """Longer than this is unusual; None while too few are known to say so."""

    def is_unusual(self, job: OtaJob, now: datetime) -> bool:
        """Is this install under way for longer than those like it took?"""
        if not job.is_live or job.pushed_at is None or self.unusual_after is None:
            return False
        if job.delayed_since is not None:  # it waits for its time, and the page says so
            return False
        return now - job.pushed_at > self.unusual_after


def is_of_several(installs: int, households: int) -> bool:
    """May a household that these installs are not of be shown how many they are? Not what one
    household did alone.
    """
    return installs >= FEWEST_OF_OTHERS and households > 1


def typical(model: str, to_version: str, shown_to: Household | None = None) -> Typical:
    """Return how installs like this one went here: the last 200 that were sent. One query.

    What is shown to a household counts others' installs only when there are several of them, from
    more than one household; else only its own.
    """
    ended = (
        OtaJob.objects.filter(
            hub_model=model,
            to_version=to_version,
            pushed_at__isnull=False,
            ended_at__isnull=False,
            restored_at=None,  # its times are not what it took
        )
        .order_by("-ended_at")
        .values_list("outcome", "pushed_at", "ended_at", "household_id")[:200]
    )
    rows = list(ended)
    if shown_to is not None:
        others = [household_id for *_, household_id in rows if household_id != shown_to.pk]
        if not is_of_several(len(others), len(set(others))):
            rows = [row for row in rows if row[-1] == shown_to.pk]
    took = sorted(
        ended_at - pushed_at
        for outcome, pushed_at, ended_at, _ in rows
        # of one that was verified late only the time of the proof is known, not how long it took
        if outcome == InstallOutcome.VERIFIED and pushed_at is not None and ended_at is not None
    )
    return Typical(
        count=len(rows),
        verified=sum(outcome in GOOD for outcome, *_ in rows),
        typical=_middle(took) if took else None,
        slowest=took[-1] if took else None,
        unusual_after=_unusual_after(took),
    )


def _middle(took: list[timedelta]) -> timedelta:
    """Return the median of these, in order: between two, what is half-way."""
    half = len(took) // 2
    return (took[half] + took[-1 - half]) / 2


def _unusual_after(took: list[timedelta]) -> timedelta | None:
    """Return what nearly all of these, in order, stayed under: 95 of 100, so that one hub that once
    took a night does not hide all others; never less than half as long again as the middle one.
    """
    if len(took) < FEWEST_TO_COMPARE:
        return None
    nearly_all = took[math.ceil(len(took) * 0.95) - 1]
    return max(nearly_all, _middle(took) * 1.5)


@dataclass(frozen=True, slots=True)
class Took:
    """How long verified installs took from sending to result."""

    count: int
    usual: timedelta
    longest: timedelta


class _Seconds(Func):
    """The seconds from one time to another. Django asks Python for each row on SQLite: with 3,000
    rows that takes longer than all else on a page.
    """

    template = "CAST(EXTRACT(EPOCH FROM (%(expressions)s)) AS double precision)"
    arg_joiner = " - "
    output_field = FloatField()

    def __init__(self, begin: str, end: str) -> None:
        super().__init__(end, begin)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        days = "JULIANDAY(%(expressions)s)"
        return self.as_sql(
            compiler,
            connection,
            template=f"ROUND(({days}) * 86400, 3)",
            arg_joiner=") - JULIANDAY(",
            **context,
        )


def took_by(jobs: OtaJobQuerySet, groups: Sequence[Q]) -> dict[int, Took]:
    """Return how long the verified ones of these installs took, by the number of their group; no
    entry where there is none. One query, and at most three rows of each group.
    """
    if not groups:
        return {}
    # of one that was verified late, or restored, only the time of the proof is known
    timed = jobs.filter(
        Q(*groups, _connector=Q.OR),
        state=State.VERIFIED,
        pushed_at__isnull=False,
        ended_at__isnull=False,
        restored_at=None,
    ).exclude(outcome=InstallOutcome.VERIFIED_LATE)
    which = Case(*[When(group, then=n) for n, group in enumerate(groups)])
    ordered = timed.order_by().annotate(which=which, took_s=_Seconds("pushed_at", "ended_at"))
    ordered = ordered.annotate(
        turn=Window(RowNumber(), F("which"), [F("took_s").asc(), F("pk").asc()]),
        of=Window(Count("pk"), F("which")),
    )
    # the one in the middle, or the two beside it, and the last
    wanted = ordered.annotate(from_middle=F("turn") * 2 - F("of")).filter(
        Q(from_middle__range=(0, 2)) | Q(turn=F("of"))
    )
    found: dict[int, list[tuple[int, int, timedelta]]] = {}
    for n, turn, of, took_s in wanted.values_list("which", "turn", "of", "took_s"):
        found.setdefault(n, []).append((turn, of, timedelta(seconds=took_s)))
    return {n: _took(sorted(rows)) for n, rows in found.items()}


def _took(rows: list[tuple[int, int, timedelta]]) -> Took:
    _, of, longest = rows[-1]
    middle = [time for turn, _, time in rows if 0 <= turn * 2 - of <= 2]
    return Took(of, sum(middle, timedelta()) / len(middle), longest)


@dataclass(frozen=True, slots=True)
class Others:
    """How installs went in the households that the reader does not see."""

    installs: int
    troubled: int | None
    """None: too few households had trouble to say how many; it may be none."""


def others_by(groups: Sequence[Q], seen: Collection[int], kind: Q) -> dict[int, Others]:
    """Return how sent installs of this kind went outside of these households, by the number of
    their group; no entry where there are too few to be shown. One query.
    """
    if not groups:
        return {}
    bad = went_wrong()
    rows = (
        OtaJob.objects.filter(
            Q(*groups, _connector=Q.OR), kind, pushed_at__isnull=False, ended_at__isnull=False
        )
        .exclude(household_id__in=seen)
        .order_by()
        .annotate(which=Case(*[When(group, then=n) for n, group in enumerate(groups)]))
        .values_list("which")
        .annotate(
            n=Count("pk"),
            houses=Count("household_id", distinct=True),
            bad=Count("pk", filter=bad),
            bad_houses=Count("household_id", distinct=True, filter=bad),
        )
    )
    return {
        which: Others(n, troubled if is_of_several(troubled, bad_houses) else None)
        for which, n, houses, troubled, bad_houses in rows
        if is_of_several(n, houses)
    }
