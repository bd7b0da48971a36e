"""Count how installs of one model and version went here, and how long they took."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from devices.models import Household, InstallOutcome, OtaJob

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
        if len(others) < FEWEST_OF_OTHERS or len(set(others)) < 2:
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
