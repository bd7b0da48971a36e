"""How many calls this process made, by endpoint and result, until someone takes the counts; and for
which account, where the caller says so.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

_lock = Lock()
_counts: dict[tuple[str, ...], tuple[int, float]] = {}
_by_account: Counter[tuple[int, str]] = Counter()
_account: ContextVar[int | None] = ContextVar("account", default=None)


@contextmanager
def counted_for(account: int) -> Iterator[None]:
    """Count the calls that this thread makes meanwhile for this account, too."""
    before = _account.set(account)
    try:
        yield
    finally:
        _account.reset(before)


def count(endpoint: str, result: str, seconds: float) -> None:
    """Count one call. The result is the HTTP status, or the name of the error without an answer."""
    account = _account.get()
    with _lock:
        calls, total = _counts.get((endpoint, result), (0, 0.0))
        _counts[endpoint, result] = (calls + 1, total + seconds)
        if account is not None:
            _by_account[account, endpoint] += 1


def take() -> dict[tuple[str, ...], tuple[int, float]]:
    """Return calls and seconds by endpoint and result, and start again from nothing."""
    with _lock:
        taken = dict(_counts)
        _counts.clear()
    return taken


def take_by_account() -> dict[tuple[int, str], int]:
    """Return calls by account and endpoint, and start again from nothing."""
    with _lock:
        taken = dict(_by_account)
        _by_account.clear()
    return taken
