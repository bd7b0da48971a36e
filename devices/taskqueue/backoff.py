"""Exponential back-off: how long to wait after a failure."""

from datetime import timedelta
from typing import TypeVar

Pause = TypeVar("Pause", float, timedelta)
# A second doubled so often is twelve days, longer than every `longest`; far more would overflow.
_MOST_DOUBLINGS = 20


def backoff(attempt: int, first: Pause, longest: Pause) -> Pause:
    """Return `first` doubled `attempt` times, `longest` at most; attempts count from 0."""
    doublings = min(max(attempt, 0), _MOST_DOUBLINGS)
    return min(first * (1 << doublings), longest)
