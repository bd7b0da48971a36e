"""What a worker was talking about when it died: counted, and after a few deaths set aside."""

from collections.abc import Collection
from datetime import datetime

from django.db import models


class Suspect(models.Model):
    """One conversation (a job, a hub's check, an account) that was under way when a loop died.

    It goes away as soon as a loop lives through it.
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
        """Is it left alone for now?"""
        return self.parked_until is not None and self.parked_until > now

    @classmethod
    def of(cls, loop: str) -> dict[str, "Suspect"]:
        """Return a loop's suspects by key. One query."""
        return {suspect.key: suspect for suspect in cls.objects.filter(loop=loop)}

    @classmethod
    def parked(cls, keys: Collection[str], now: datetime) -> dict[str, datetime]:
        """Return until when each of these is set aside, for those that are. One query."""
        aside = cls.objects.filter(key__in=keys, parked_until__gt=now)
        return dict(aside.values_list("key", "parked_until"))

    @classmethod
    def release(cls, keys: Collection[str]) -> int:
        """Forget what is held against these; return how many that were. Safe to repeat."""
        return cls.objects.filter(key__in=keys).delete()[0]
