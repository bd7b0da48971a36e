"""Hashes passwords one at a time in each process, so that sign-ins leave room for pages.

Argon2 takes memory and time on purpose. Ten wrong sign-ins at once would take ten times as much.
"""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from django.contrib.auth.hashers import Argon2PasswordHasher

# In each process: what comes beyond these is refused at once, and can be tried again.
MAY_WAIT = 8
WAIT_FOR_S = 8.0
NICENESS = 15
T = TypeVar("T")


class TooBusy(Exception):
    """No password can be checked now; nothing was tried, and nothing was counted as wrong."""


def _give_way() -> None:
    if sys.platform == "linux":  # only there a thread has a priority of its own
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


_places = threading.Semaphore(MAY_WAIT)
# Its thread is made with the first password: a process that was forked has one of its own.
_hashing = ThreadPoolExecutor(1, "hashing", initializer=_give_way)


def in_turn(work: Callable[[], T]) -> T:
    """Return what the work returns, done when its turn has come; raises TooBusy."""
    if not _places.acquire(blocking=False):
        raise TooBusy
    try:
        done = _hashing.submit(work)
        try:
            return done.result(WAIT_FOR_S)
        except TimeoutError:
            done.cancel()
            raise TooBusy from None
    finally:
        _places.release()


class BoundedArgon2(Argon2PasswordHasher):
    """Argon2id with 46 MiB, two passes and one core: above the least that OWASP's Password Storage
    Cheat Sheet names (46 MiB, one pass).

    One core, because a page needs the other. A password that was hashed in another way is hashed
    again at its next sign-in.
    """

    time_cost, memory_cost, parallelism = 2, 46 * 1024, 1

    def encode(self, password: str, salt: str) -> str:
        return in_turn(lambda: Argon2PasswordHasher.encode(self, password, salt))

    def verify(self, password: str, encoded: str) -> bool:
        return in_turn(lambda: Argon2PasswordHasher.verify(self, password, encoded))
