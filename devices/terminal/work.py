"""Waiting for the worker, and doing its part when nobody does."""

import signal
from collections.abc import Callable, Hashable, Iterator
from datetime import datetime, timedelta
from time import monotonic, sleep
from types import FrameType

from django.utils import timezone

from devices import tasks
from devices.loop import Loop, Talk
from devices.models import Beat
from devices.terminal.console import Console

LOOK_EVERY_S = 0.3
# For so long work that is due may lie there, its lease free, before this process takes it up.
# A worker that left a heartbeat lately may only be slow.
GRACE_S, GRACE_WITH_WORKER_S = 2.5, 10.0
# The queue asks for each loop every minute, give or take half of one, and a loop takes a while.
WORKER_SILENT_AFTER = timedelta(seconds=150)

Find = Callable[[datetime, frozenset[Hashable]], Iterator[Talk]]
LOOPS: dict[str, tuple[Find, Callable[[datetime], bool]]] = {
    "installs": (tasks.find_installs, tasks.installs_are_idle),
    "chores": (tasks.find_chores, tasks.chores_are_idle),
}


class Work:
    """Waits until something is done, whether or not a worker is running.

    Two facts show that nobody works: something is due, and nobody holds the loop's lease. The
    lease also keeps this process and a worker that starts meanwhile from working at once.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stands_in = False
        """Has this process done the worker's part?"""

    def until(
        self,
        done: Callable[[], bool],
        *,
        loop: str,
        limit_s: float | None = None,
        news: Callable[[], None] = lambda: None,
    ) -> bool:
        """Return True once done(); False after limit_s, or when nobody reads the output any more.

        news() is called every third of a second and at the end. Raises KeyboardInterrupt on
        Ctrl-C, once the question under way has been answered and written down.
        """
        began = monotonic()
        idle_since: float | None = None

        def is_enough() -> bool:
            news()
            is_late = limit_s is not None and monotonic() - began > limit_s
            return is_late or self.console.is_unheard or done()

        while not is_enough():
            if not _is_neglected(loop):
                idle_since = None
            elif idle_since is None:
                idle_since = monotonic()
            if idle_since is not None and monotonic() - idle_since >= self._grace_s(loop):
                self._stand_in(loop, is_enough)
                idle_since = None
            sleep(LOOK_EVERY_S)
        is_done = done()
        news()
        return is_done

    def _grace_s(self, loop: str) -> float:
        if self.stands_in:
            return 0
        return GRACE_WITH_WORKER_S if Beat.is_alive(loop, WORKER_SILENT_AFTER) else GRACE_S

    def _stand_in(self, loop: str, is_enough: Callable[[], bool]) -> None:
        """Run the worker's loop here until it has nothing to do or there is enough."""
        if not self.stands_in:
            self.stands_in = True
            if Beat.is_alive(loop, WORKER_SILENT_AFTER):
                self.console.hint("The worker does not take it up: this command does its part.")
            else:
                self.console.hint("No worker is running: this command does its part itself.")
        find_all, is_idle = LOOPS[loop]
        last_beat = Beat.last(loop)
        with _Interrupts(self.console) as interrupts:

            def is_over() -> bool:
                return interrupts.came or is_enough()

            def find(now: datetime, busy: frozenset[Hashable]) -> Iterator[Talk]:
                if not is_over():
                    yield from find_all(now, busy)

            Loop(loop, find, lambda now: is_over() or is_idle(timezone.now())).run()
        # the heartbeat was ours: it must not pass for a worker's
        Beat.objects.filter(name=loop, holder="").update(beat_at=last_beat)
        if interrupts.came:
            raise KeyboardInterrupt


def _is_neglected(loop: str) -> bool:
    """Is something due, and nobody there to do it? Two queries."""
    now = timezone.now()
    is_held = Beat.objects.filter(name=loop, held_until__gt=now).exclude(holder="").exists()
    return not is_held and not LOOPS[loop][1](now)


class _Interrupts:
    """Lets the first Ctrl-C (or SIGTERM) only be noted; the second one interrupts at once."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.came = False

    def __enter__(self) -> "_Interrupts":
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True
