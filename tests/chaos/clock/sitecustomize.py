"""Loaded by every Python process of a chaos run: its wall clock is off by what a file says.

Only the wall clock moves. The monotonic one does not, as on a real machine whose clock is set.
"""

import os
import time
from datetime import UTC, datetime, timedelta

from django.utils import timezone

_FILE = os.environ["CHAOS_CLOCK"]
_READ_AGAIN_S = 0.05
_true_time, _monotonic = time.time, time.monotonic
_known: list[float] = [0.0, -1.0]  # seconds off, and when that was read


def _off_s() -> float:
    now = _monotonic()
    if now - _known[1] > _READ_AGAIN_S:
        _known[1] = now
        try:
            with open(_FILE) as file:
                _known[0] = float(file.read() or 0)
        except (OSError, ValueError):
            pass  # being written: as before
    return _known[0]


time.time = lambda: _true_time() + _off_s()
timezone.now = lambda: datetime.now(tz=UTC) + timedelta(seconds=_off_s())
