"""What /metrics counts, and the calls of each account today: all processes add to the same rows."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from django.db import connection, models

ROWS_AT_ONCE = 500
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
    def add(cls, name: Name, found: Mapping[tuple[str, ...], tuple[int, float]]) -> None:
        """Add counts and seconds by labels, in one order, against deadlocks. One query for each
        five hundred.
        """
        rows = [
            (name, "\n".join(labels), count, seconds)
            for labels, (count, seconds) in sorted(found.items())
        ]
        for first in range(0, len(rows), ROWS_AT_ONCE):
            these = rows[first : first + ROWS_AT_ONCE]
            holes = ", ".join(["(%s, %s, %s, %s)"] * len(these))
            with connection.cursor() as cursor:
                cursor.execute(_ADD.format(holes=holes), [value for row in these for value in row])

    @classmethod
    def add_calls(cls, found: Mapping[tuple[int, str], int], now: datetime) -> None:
        """Add calls by account and endpoint to this day, in UTC, and drop earlier days."""
        day = _day(now)
        cls.add(
            "account_call",
            {(day, str(pk), endpoint): (n, 0.0) for (pk, endpoint), n in found.items()},
        )
        if found:
            mine = cls.objects.filter(name="account_call")
            mine.exclude(labels__startswith=f"{day}\n").delete()

    @classmethod
    def calls_of(cls, account: int, now: datetime) -> dict[str, int]:
        """Return how many calls were made for this account on this day, by endpoint. One query."""
        rows = cls.objects.filter(
            name="account_call", labels__startswith=f"{_day(now)}\n{account}\n"
        )
        return {row.labels.split("\n")[2]: row.count for row in rows}


_TABLE = Tally._meta.db_table
_ADD = f"""
INSERT INTO {_TABLE} (name, labels, count, seconds) VALUES {{holes}}
ON CONFLICT (name, labels) DO UPDATE
SET count = {_TABLE}.count + excluded.count, seconds = {_TABLE}.seconds + excluded.seconds
"""  # noqa: S608 - the name of a table of ours


def _day(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()
