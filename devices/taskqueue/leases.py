"""Leases: one holder at a time, and a dead holder is recognised at once on the same machine."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction
from django.db.models import F, Q, QuerySet

from devices.models import Beat, database_clock
from devices.models.lease import CLOCK_SKEW
from devices.taskqueue.lease_holder import is_dead, new_holder_id

# Where several machines share the database another one takes over soon after one has vanished. It
# waits for a lock no longer than that (settings.DATABASES).
SHARED_LEASE = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Lease:
    """One process as the holder of one lease."""

    name: str
    ttl: timedelta
    holder: str = field(default_factory=new_holder_id)

    def acquire(self, now: datetime | None = None) -> bool:
        """Take the lease if it is free, has expired, or its holder is dead. Two queries; one or two
        more when another holder has it.
        """
        now = now or database_clock.now()
        beat, _ = Beat.objects.get_or_create(name=self.name)
        mine = {"holder": self.holder, "held_until": now + self.ttl, "beat_at": now}
        rows = Beat.objects.filter(name=self.name)
        free = rows.filter(
            Q(holder="")
            | Q(held_until__lte=now)
            | Q(held_until__isnull=True)
            # later than any lease can end: it was taken before the clock was set back
            | Q(held_until__gt=now + self.ttl + CLOCK_SKEW)
        )
        if free.update(**mine):
            return True
        # the dead holder's list of calls in flight stays, for pop_in_flight()
        return is_dead(beat.holder) and bool(rows.filter(holder=beat.holder).update(**mine))

    def renew(self, in_flight: Sequence[str] = (), now: datetime | None = None) -> bool:
        """Leave a heartbeat and extend the lease; False when another holder has taken it."""
        now = now or database_clock.now()
        return bool(
            self._mine().update(
                held_until=now + self.ttl,
                beat_at=now,
                rounds=F("rounds") + 1,
                under_way=list(in_flight),
            )
        )

    def set_in_flight(self, in_flight: Sequence[str]) -> bool:
        """Store which calls are in flight; False when another holder has the lease."""
        return bool(self._mine().update(under_way=list(in_flight)))

    def pop_in_flight(self) -> list[str]:
        """Return which calls were in flight when the holder before this one died; forget them."""
        with transaction.atomic():
            mine = self._mine().select_for_update()
            left = mine.values_list("under_way", flat=True).first() or []
            if left:
                mine.update(under_way=[])
        return [str(key) for key in left]

    def release(self) -> None:
        """Release the lease; when the database does not answer, it expires."""
        with suppress(DatabaseError):
            self._mine().update(holder="", held_until=None, under_way=[])

    def _mine(self) -> QuerySet[Beat]:
        return Beat.objects.filter(name=self.name, holder=self.holder)


@contextmanager
def held(name: str, ttl: timedelta) -> Iterator[Lease | None]:
    """Hold the lease while the body runs, and release it however that ends; yield None when
    another holder has it.
    """
    lease = Lease(name, ttl)
    if not lease.acquire():
        yield None
        return
    try:
        yield lease
    finally:
        lease.release()


def free(name: str, holder: str) -> None:
    """End the lease of a dead holder; its list of calls in flight stays for the next one."""
    Beat.objects.filter(name=name, holder=holder).update(holder="", held_until=None)
