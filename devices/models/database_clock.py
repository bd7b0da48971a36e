"""The time that several machines agree on: the database's.

Leases, confirmations that expire, what is due and the moments in the audit trail are read and
written by every machine that shares a database. One machine's clock may be minutes off; the
database has one clock. With SQLite there is one machine, whose clock it is.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

MEASURE_EVERY_S = 5.0
# Below this the two count as equal: an answer travels for a while, and nothing hangs on a second.
UNNOTICED = timedelta(seconds=1)
TRIES = 3


@dataclass(slots=True)
class _Measured:
    off_by: timedelta
    at: float
    """When, on this machine's monotonic clock."""
    wall: datetime
    """When, on this machine's wall clock."""

    @property
    def is_old(self) -> bool:
        """Was it measured a while ago, or has the wall clock been set since?"""
        passed_s = monotonic() - self.at
        jumped = timezone.now() - self.wall - timedelta(seconds=passed_s)
        return passed_s > MEASURE_EVERY_S or abs(jumped) > UNNOTICED


_last: _Measured | None = None


def now() -> datetime:
    """Return the time by the database's clock. One query every five seconds with PostgreSQL."""
    off_by = offset()  # asked for first: the answer may take a while
    return timezone.now() + off_by


def last_known() -> datetime:
    """Return the same from what was measured last: for threads that hold no connection."""
    return timezone.now() + _noticed()


def offset(*, is_fresh: bool = False) -> timedelta:
    """Return how far the database's clock is ahead of this machine's; zero within a second.

    is_fresh: measure it now.
    """
    global _last
    if not settings.DATABASE_CLOCK:
        return timedelta()
    if is_fresh or _last is None or _last.is_old:
        _last = _measured() or _last
    return _noticed()


def _noticed() -> timedelta:
    off_by = _last.off_by if _last is not None else timedelta()
    return off_by if abs(off_by) > UNNOTICED else timedelta()


def _measured() -> _Measured | None:
    """Ask the database; None when the answer took too long to tell the time, or none came and an
    earlier one has to do.
    """
    for _ in range(TRIES):
        try:
            connection.ensure_connection()
            at, wall = monotonic(), timezone.now()
            with connection.cursor() as cursor:
                # not CURRENT_TIMESTAMP, which stands still in a transaction
                cursor.execute("SELECT clock_timestamp()")
                found: datetime = cursor.fetchone()[0].astimezone(UTC)
        except DatabaseError:
            if _last is None or connection.in_atomic_block:
                raise
            return None
        took = max(timezone.now() - wall, timedelta(seconds=monotonic() - at))
        if timedelta() <= took <= UNNOTICED:
            return _Measured(found - (wall + took / 2), at, wall)
    return None
