"""The loops' lease and heartbeat: one holder at a time, and proof that it is alive."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

# The worker's loops; what looks after the trail; the bridge to Home Assistant; who sends notices;
# and the rows that are no loop: who watches them, and the cluster that runs them.
LOOPS = ("installs", "chores")
TRAIL, BRIDGE, NOTICES = "trail", "homeassistant", "notices"
WATCHDOG, WORKER = "watchdog", "worker"
# Two machines that share a database, or one whose clock is being set right, may differ by this.
CLOCK_SKEW = timedelta(minutes=1)


class Beat(models.Model):
    """One row a loop. Whoever holds the lease works; a lease that is not renewed runs out."""

    name = models.CharField(max_length=32, unique=True)
    holder = models.CharField(max_length=64, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)
    beat_at = models.DateTimeField(null=True, blank=True)
    rounds = models.BigIntegerField(default=0)
    # What the holder talks about, written down before it does: what is left here is a death.
    under_way = models.JSONField(default=list, blank=True)
    # When the process behind it was last started again without a person asking, and why.
    restarted_at = models.DateTimeField(null=True, blank=True)
    restart_reason = models.CharField(max_length=80, blank=True)
    restarts = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}: {self.beat_at}"

    @property
    def sign(self) -> tuple[object, ...]:
        """Return what changes with every heartbeat."""
        return (self.beat_at, self.rounds)

    @classmethod
    def every(cls) -> dict[str, "Beat"]:
        """Return all rows by name. One query."""
        return {beat.name: beat for beat in cls.objects.all()}

    @classmethod
    def leave(cls, name: str, now: datetime) -> None:
        """Leave a heartbeat that is no lease."""
        cls.objects.update_or_create(name=name, defaults={"beat_at": now})

    @classmethod
    def note_restart(cls, now: datetime, reason: str) -> None:
        """Record that the worker, and with it every loop, was started again by itself."""
        cls.objects.update_or_create(name=WORKER)
        cls.objects.filter(name=WORKER).update(
            restarted_at=now, restart_reason=reason, restarts=models.F("restarts") + 1
        )

    @classmethod
    def take(cls, name: str, holder: str, now: datetime, lease: timedelta) -> bool:
        """Take the lease if it is free or has run out. One update; two the first time.

        One that ends later than any can was taken before the clock was set back.
        """
        cls.objects.get_or_create(name=name)
        free = cls.objects.filter(name=name).filter(
            Q(holder="")
            | Q(held_until__lte=now)
            | Q(held_until__isnull=True)
            | Q(held_until__gt=now + lease + CLOCK_SKEW)
        )
        return bool(free.update(holder=holder, held_until=now + lease, beat_at=now))

    @classmethod
    def renew(
        cls, name: str, holder: str, now: datetime, lease: timedelta, under_way: Sequence[str] = ()
    ) -> bool:
        """Leave a heartbeat and keep the lease; False when someone else has taken it."""
        mine = cls.objects.filter(name=name, holder=holder)
        return bool(
            mine.update(
                held_until=now + lease,
                beat_at=now,
                rounds=models.F("rounds") + 1,
                under_way=list(under_way),
            )
        )

    @classmethod
    def left_behind(cls, name: str, holder: str) -> list[str]:
        """Return what the holder before this one was talking about when it died, and forget it."""
        with transaction.atomic():
            mine = cls.objects.select_for_update().filter(name=name, holder=holder)
            left = mine.values_list("under_way", flat=True).first() or []
            if left:
                mine.update(under_way=[])
        return [str(key) for key in left]

    @classmethod
    def about_to(cls, name: str, holder: str, under_way: Sequence[str]) -> bool:
        """Write down what is talked about from now on; False when the lease is someone else's."""
        mine = cls.objects.filter(name=name, holder=holder)
        return bool(mine.update(under_way=list(under_way)))

    @classmethod
    def give_back(cls, name: str, holder: str) -> None:
        """Let the lease go, with nothing under way any more."""
        mine = cls.objects.filter(name=name, holder=holder)
        mine.update(holder="", held_until=None, under_way=[])

    @classmethod
    def free(cls, name: str, holder: str) -> None:
        """Let go a lease whose holder is gone; what it talked about stays for the next one."""
        mine = cls.objects.filter(name=name, holder=holder)
        mine.update(holder="", held_until=None)

    @classmethod
    def last(cls, name: str) -> datetime | None:
        """Return when the loop last left a heartbeat."""
        return cls.objects.filter(name=name).values_list("beat_at", flat=True).first()

    @classmethod
    def is_alive(cls, name: str, within: timedelta, now: datetime | None = None) -> bool:
        """Has the loop left a heartbeat lately?"""
        last = cls.last(name)
        return last is not None and (now or timezone.now()) - last <= within
