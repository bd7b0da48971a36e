"""What /metrics counts, and the calls of each account today: all processes add to the same rows."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from django.db import models
from django.db.models import F

Name = Literal["cloud_call", "audit_event", "account_call"]


class Tally(models.Model):
    """How often one thing happened since the database was made, and how long it took in all."""

    name = models.CharField(max_length=16)
    # The values of the metric's labels, one a line.
    labels = models.CharField(max_length=200)
    count = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "labels"], name="one_tally")]

    def __str__(self) -> str:
        return f"{self.name} {self.labels.split()}: {self.count}"

    @classmethod
    def add(cls, name: Name, found: Mapping[tuple[str, ...], tuple[int, float]]) -> bool:
        """Add counts and seconds by labels; True when one of them is new. One query for each; in
        one order, against deadlocks.
        """
        is_new = False
        for labels, (count, seconds) in sorted(found.items()):
            row = cls.objects.filter(name=name, labels="\n".join(labels))
            more = {"count": F("count") + count, "seconds": F("seconds") + seconds}
            if not row.update(**more):
                cls.objects.get_or_create(name=name, labels="\n".join(labels))
                row.update(**more)
                is_new = True
        return is_new

    @classmethod
    def add_calls(cls, found: Mapping[tuple[int, str], int], now: datetime) -> None:
        """Add calls by account and endpoint to this day, in UTC. Earlier days are dropped as the
        first call of another one is added.
        """
        day = _day(now)
        rows: dict[tuple[str, ...], tuple[int, float]] = {
            (day, str(pk), endpoint): (n, 0.0) for (pk, endpoint), n in found.items()
        }
        if cls.add("account_call", rows):
            mine = cls.objects.filter(name="account_call")
            mine.exclude(labels__startswith=f"{day}\n").delete()

    @classmethod
    def calls_of(cls, account: int, now: datetime) -> dict[str, int]:
        """Return how many calls were made for this account on this day, by endpoint. One query."""
        rows = cls.objects.filter(
            name="account_call", labels__startswith=f"{_day(now)}\n{account}\n"
        )
        return {row.labels.split("\n")[2]: row.count for row in rows}


def _day(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()
