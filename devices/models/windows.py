"""When a household's clock shows a time inside a window, also in the nights the clocks change.

A window is open while the wall clock shows a time from its start to before its end; an end that is
the earlier time is on the next day. A time that the clock skips is never shown, so a window inside
the skipped hour does not open that night; a time that is shown twice counts both times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

HOUR = timedelta(hours=1)
# Every time of day is shown within so long, also when the clock changes.
LOOK_AHEAD = timedelta(hours=50)


@dataclass(frozen=True, slots=True)
class Window:
    """Two times of day on the clock of a household."""

    start: time
    end: time
    zone: tzinfo

    def is_open(self, at: datetime) -> bool:
        """Does the clock show a time inside the window?"""
        shown = at.astimezone(self.zone).time()
        if self.start < self.end:
            return self.start <= shown < self.end
        return shown >= self.start or shown < self.end

    def opens_at(self, now: datetime) -> datetime:
        """Return when it is open next; `now` when it is open already."""
        return now if self.is_open(now) else self._changes(now, self.start, is_open=True)

    def closes_at(self, now: datetime) -> datetime:
        """Return when it closes after it was open next."""
        return self._changes(self.opens_at(now), self.end, is_open=False)

    def times(self, now: datetime) -> tuple[datetime, datetime]:
        """Return when it was opened and closes, if it is open now, else when that happens next."""
        opens_at, closes_at = self.opens_at(now), self.closes_at(now)
        day = closes_at.astimezone(self.zone).date()
        if self.start > self.end:
            day -= timedelta(days=1)
        began_at = local(datetime.combine(day, self.start), self.zone)
        return min(began_at or opens_at, opens_at), closes_at

    def _changes(self, after: datetime, wall: time, *, is_open: bool) -> datetime:
        """Return the first moment after this one at which it is open, or not open: when the clock
        comes to a time, or when it jumps.
        """
        moments = {*_shown(wall, after, self.zone), *_jumps(after, self.zone)}
        return next(at for at in sorted(moments) if at > after and self.is_open(at) == is_open)


def local(day_and_time: datetime, zone: tzinfo) -> datetime | None:
    """Return when the clock first shows this; None when it never does, because it is skipped."""
    try:
        at = day_and_time.replace(tzinfo=zone, fold=0).astimezone(UTC)
        return at if at.astimezone(zone).replace(tzinfo=None) == day_and_time else None
    except OverflowError:  # the first or the last day that there is
        return None


def _shown(wall: time, after: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield when the clock shows this time in the days around."""
    today = after.astimezone(zone).date()
    for days in range(-1, 4):
        at = datetime.combine(today + timedelta(days=days), wall, zone)
        for fold in (0, 1):
            moment = at.replace(fold=fold).astimezone(UTC)
            if moment.astimezone(zone).time() == wall:
                yield moment


def _jumps(after: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield when the clock jumps in the next two days."""
    hour = after.astimezone(UTC)
    until = hour + LOOK_AHEAD
    while hour < until:
        if _offset(hour, zone) != _offset(hour + HOUR, zone):
            low, high = hour, hour + HOUR
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) / 2
                is_before = _offset(middle, zone) == _offset(low, zone)
                low, high = (middle, high) if is_before else (low, middle)
            yield high.replace(microsecond=0)
        hour += HOUR


def _offset(at: datetime, zone: tzinfo) -> timedelta | None:
    return at.astimezone(zone).utcoffset()
