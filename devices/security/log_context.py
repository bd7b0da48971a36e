"""Which request, install or account a log line is about: set once, in every line from then on."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ids: ContextVar[tuple[tuple[str, str | int], ...]] = ContextVar("ids", default=())


@contextmanager
def log_ids(**ids: str | int) -> Iterator[None]:
    """Put these ids into the log lines of this thread that are written meanwhile."""
    before = _ids.set((*_ids.get(), *ids.items()))
    try:
        yield
    finally:
        _ids.reset(before)


def set_log_ids(**ids: str | int) -> None:
    """Put these ids alone into the log lines of this thread from now on."""
    _ids.set(tuple(ids.items()))


def ids_now() -> dict[str, str | int]:
    """Return the ids of the lines that are written now."""
    return dict(_ids.get())
