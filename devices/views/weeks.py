"""Weeks as the addresses of lists name them: by their Monday."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.utils import timezone

WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class NamedWeek:
    """A week from one Monday to the next, by the clock of the page."""

    monday: date
    start: datetime
    end: datetime


def week_of(text: str) -> NamedWeek | None:
    """Return the week that begins on this day; None when the text names none."""
    try:
        first = datetime.combine(date.fromisoformat(text.strip()[:10]), time.min)
        return NamedWeek(
            first.date(), timezone.make_aware(first), timezone.make_aware(first + WEEK)
        )
    except (ValueError, OverflowError):
        return None
