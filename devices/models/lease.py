"""Leases and heartbeats of the loops, one row each."""

from datetime import datetime, timedelta

from django.db import models

from devices.models import database_clock
from devices.models.message import Message, MessageField

# The worker's loops; what looks after the trail; the bridge to Home Assistant; who sends notices;
# and the rows that are no loop: who watches them, and the cluster that runs them.
LOOPS = ("installs", "chores")
TRAIL, BRIDGE, NOTICES = "trail", "homeassistant", "notices"
WATCHDOG, WORKER = "watchdog", "worker"
# Two machines that share a database, or one whose clock is being set right, may differ by this.
CLOCK_SKEW = timedelta(minutes=1)
# A machine whose watchdog has left no heartbeat for so long is not counted on.
MACHINE_SILENT_AFTER = timedelta(seconds=30)


class Beat(models.Model):
    """One row a loop, and one for each machine that helps it ("installs@1f0c…"). The holder of the
    lease works; a lease that is not renewed runs out.
    """

    name = models.CharField(max_length=32, unique=True)
    holder = models.CharField(max_length=64, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)
    beat_at = models.DateTimeField(null=True, blank=True)
    rounds = models.BigIntegerField(default=0)
    # What the holder talks about, written down before it does: what is left here is a death.
    under_way = models.JSONField(default=list, blank=True)
    # When the process behind it was last started again without a person asking, and why.
    restarted_at = models.DateTimeField(null=True, blank=True)
    restart_reason = MessageField(blank=True)
    restarts = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}: {self.beat_at}"

    @property
    def sign(self) -> tuple[object, ...]:
        """Return what changes with every heartbeat."""
        return (self.beat_at, self.rounds)

    @classmethod
    def every(cls) -> dict[str, "Beat"]:
        """Return the rows by name, without those of single machines. One query."""
        return {beat.name: beat for beat in cls.objects.exclude(name__contains="@")}

    @classmethod
    def runners(cls, loop: str, now: datetime) -> int:
        """Return how many processes run this loop: the one that leads it, and helpers."""
        held = cls.objects.filter(held_until__gt=now)
        return held.filter(models.Q(name=loop) | models.Q(name__startswith=f"{loop}@")).count()

    @classmethod
    def machines(cls, now: datetime) -> int:
        """Return how many machines have a watchdog that left a heartbeat lately."""
        fresh = cls.objects.filter(beat_at__gt=now - MACHINE_SILENT_AFTER)
        return fresh.filter(name__startswith=f"{WATCHDOG}@").count()

    @classmethod
    def forget_machines(cls, now: datetime) -> None:
        """Delete the rows of machines that left no heartbeat for a day: containers change names."""
        cls.objects.filter(name__contains="@", beat_at__lt=now - timedelta(days=1)).delete()

    @classmethod
    def leave(cls, name: str, now: datetime, host: str = "") -> None:
        """Write a heartbeat without taking a lease, with the name of the machine it is from."""
        cls.objects.update_or_create(name=name, defaults={"beat_at": now, "holder": host[:64]})

    @classmethod
    def note_restart(cls, now: datetime, reason: Message) -> None:
        """Record that the worker, and with it every loop, was started again by itself."""
        cls.objects.update_or_create(name=WORKER)
        cls.objects.filter(name=WORKER).update(
            restarted_at=now, restart_reason=reason, restarts=models.F("restarts") + 1
        )

    @classmethod
    def last(cls, name: str) -> datetime | None:
        """Return when the loop last left a heartbeat."""
        return cls.objects.filter(name=name).values_list("beat_at", flat=True).first()

    @classmethod
    def is_alive(cls, name: str, within: timedelta, now: datetime | None = None) -> bool:
        """Has the loop left a heartbeat lately?"""
        last = cls.last(name)
        return last is not None and (now or database_clock.now()) - last <= within
