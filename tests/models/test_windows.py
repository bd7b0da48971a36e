"""Windows of the household's clock, by day, over midnight and in the nights the clocks change."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.models.windows import Window, local

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(start: str, end: str, zone: str) -> Window:
    return Window(time.fromisoformat(start), time.fromisoformat(end), ZoneInfo(zone))


@pytest.mark.parametrize(
    ("zone", "start", "end", "now", "opens", "closes"),
    [
        # an ordinary evening, and inside the night
        (BERLIN, "22:00", "05:00", "2026-06-01T12:00", "2026-06-01T20:00", "2026-06-02T03:00"),
        (BERLIN, "22:00", "05:00", "2026-06-01T23:30", "2026-06-01T23:30", "2026-06-02T03:00"),
        (BERLIN, "22:00", "05:00", "2026-06-02T03:00", "2026-06-02T20:00", "2026-06-03T03:00"),
        (BERLIN, "09:00", "11:00", "2026-06-01T12:00", "2026-06-02T07:00", "2026-06-02T09:00"),
        # the clock goes from 02:00 to 03:00: the night is an hour shorter
        (BERLIN, "22:00", "05:00", "2026-03-28T12:00", "2026-03-28T21:00", "2026-03-29T03:00"),
        # it starts in the hour that is skipped: it opens when the clock jumps into it
        (BERLIN, "02:30", "05:00", "2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T03:00"),
        # it lies in the hour that is skipped: not that night
        (BERLIN, "02:10", "02:40", "2026-03-29T00:00", "2026-03-30T00:10", "2026-03-30T00:40"),
        # it ends in the hour that is skipped: it closes when the clock jumps over it
        (BERLIN, "22:00", "02:30", "2026-03-28T22:00", "2026-03-28T22:00", "2026-03-29T01:00"),
        # the clock goes from 03:00 back to 02:00: the night is an hour longer
        (BERLIN, "22:00", "05:00", "2026-10-24T12:00", "2026-10-24T20:00", "2026-10-25T04:00"),
        # the hour that is shown twice counts both times
        (BERLIN, "02:10", "02:40", "2026-10-24T23:00", "2026-10-25T00:10", "2026-10-25T00:40"),
        (BERLIN, "02:10", "02:40", "2026-10-25T00:40", "2026-10-25T01:10", "2026-10-25T01:40"),
        (BERLIN, "22:00", "02:30", "2026-10-24T23:00", "2026-10-24T23:00", "2026-10-25T00:30"),
        (BERLIN, "22:00", "02:30", "2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30"),
        # New York: 02:00 to 03:00 on 8 March, 02:00 back to 01:00 on 1 November
        (NEW_YORK, "22:00", "05:00", "2026-03-07T20:00", "2026-03-08T03:00", "2026-03-08T09:00"),
        (NEW_YORK, "02:15", "04:00", "2026-03-08T06:00", "2026-03-08T07:00", "2026-03-08T08:00"),
        (NEW_YORK, "02:15", "02:45", "2026-03-08T06:00", "2026-03-09T06:15", "2026-03-09T06:45"),
        (NEW_YORK, "22:00", "05:00", "2026-10-31T20:00", "2026-11-01T02:00", "2026-11-01T10:00"),
        (NEW_YORK, "01:15", "01:45", "2026-11-01T05:45", "2026-11-01T06:15", "2026-11-01T06:45"),
    ],
)
def test_a_window_opens_and_closes_by_the_clock_on_the_wall(
    zone: str, start: str, end: str, now: str, opens: str, closes: str
) -> None:
    found = window(start, end, zone)
    assert found.opens_at(utc(now)) == utc(opens)
    assert found.closes_at(utc(now)) == utc(closes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-06-01T02:30", "2026-06-01T00:30"),
        ("2026-03-29T02:30", None),
        ("2026-10-25T02:30", "2026-10-25T00:30"),
    ],
)
def test_a_time_that_is_skipped_is_no_time(text: str, expected: str | None) -> None:
    found = local(datetime.fromisoformat(text), ZoneInfo(BERLIN))
    assert found == (utc(expected) if expected else None)


minutes = st.integers(0, 24 * 60 - 1)
nights = st.sampled_from(
    ["2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-06-01", "2026-12-31"]
)


@given(
    start=minutes,
    end=minutes,
    night=nights,
    zone=st.sampled_from([BERLIN, NEW_YORK, "Australia/Lord_Howe", "UTC"]),
    after=st.integers(0, 48 * 60),
)
def test_no_minute_is_left_out_and_none_is_added(
    start: int, end: int, night: str, zone: str, after: int
) -> None:
    """The next opening is what looking at the clock every minute finds."""
    if start == end:
        return
    times = [time(n // 60, n % 60) for n in (start, end)]
    found = Window(times[0], times[1], ZoneInfo(zone))
    now = utc(f"{night}T00:00") + timedelta(minutes=after)
    minute = now
    while not shows_inside(found, minute):
        minute += timedelta(minutes=1)
    assert found.opens_at(now) == minute
    begins, ends = found.times(now)
    assert begins <= minute < ends
    assert shows_inside(found, begins)
    while shows_inside(found, minute):
        minute += timedelta(minutes=1)
    assert found.closes_at(now) == ends == minute


def shows_inside(found: Window, at: datetime) -> bool:
    shown = at.astimezone(found.zone)
    minute = shown.hour * 60 + shown.minute
    first, last = (one.hour * 60 + one.minute for one in (found.start, found.end))
    return (minute - first) % 1440 < (last - first) % 1440
