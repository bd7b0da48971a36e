"""Calls that were in flight when a worker crashed: counted, and after a few crashes paused."""

from collections.abc import Collection
from datetime import datetime

from django.db import models


class Suspect(models.Model):
    """One call (for a job, a hub's check, an account) that was in flight when a loop crashed.

    Deleted as soon as a loop survives it.
    """

    loop = models.CharField(max_length=32)
    key = models.CharField(max_length=64)
    deaths = models.PositiveSmallIntegerField(default=0)
    times_parked = models.PositiveSmallIntegerField(default=0)
    parked_until = models.DateTimeField(null=True, blank=True)
    died_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["loop", "key"], name="one_suspect_per_conversation")
        ]

    def __str__(self) -> str:
        return f"{self.loop} {self.key}: {self.deaths}"

    def is_parked(self, now: datetime) -> bool:
        """Is it in quarantine?"""
        return self.parked_until is not None and self.parked_until > now

    @classmethod
    def of(cls, loop: str) -> dict[str, "Suspect"]:
        """Return a loop's suspects by key. One query."""
        return {suspect.key: suspect for suspect in cls.objects.filter(loop=loop)}

    @classmethod
    def parked(cls, keys: Collection[str], now: datetime) -> dict[str, datetime]:
        """Return until when each of these is in quarantine, for those that are. One query."""
        aside = cls.objects.filter(key__in=keys, parked_until__gt=now)
        return dict(aside.values_list("key", "parked_until"))

    @classmethod
    def release(cls, keys: Collection[str]) -> int:
        """Delete these suspects; return how many there were. Safe to repeat."""
        return cls.objects.filter(key__in=keys).delete()[0]
