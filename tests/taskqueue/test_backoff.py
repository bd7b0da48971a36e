"""One exponential back-off for everything that is tried again."""

from datetime import timedelta

import pytest

from devices.taskqueue.backoff import backoff

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("attempt", "pause"), [(-3, 1), (0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (7, 60), (2_000, 60)]
)
def test_each_pause_is_twice_the_one_before_up_to_the_longest(attempt: int, pause: int) -> None:
    assert backoff(attempt, MINUTE, HOUR) == timedelta(minutes=pause)
    assert backoff(attempt, 1.0, 60.0) == pause


def test_a_long_pause_after_many_failures_does_not_overflow() -> None:
    assert backoff(10**9, timedelta(days=1), timedelta(days=365)) == timedelta(days=365)
