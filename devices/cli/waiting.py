"""Wait for the worker, or do its part when no worker runs."""

import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from time import monotonic, sleep
from types import FrameType
from typing import Any

from devices.accounts.allowed_clouds import is_allowed
from devices.cli.console import Console
from devices.models import Beat, database_clock
from devices.taskqueue.lease_holder import is_dead
from devices.worker import cloud_tasks
from devices.worker.runner import CloudTask, Runner, Taken

LOOK_EVERY_S = 0.3
# How long due work may wait with a free lease before this process does it.
# A worker that left a heartbeat lately may only be slow.
GRACE_S, GRACE_WITH_WORKER_S = 2.5, 10.0
# The queue asks for each loop every minute, give or take half of one, and a loop takes a while.
WORKER_SILENT_AFTER = timedelta(seconds=150)
Find = Callable[[datetime, Taken], Iterator[CloudTask[Any]]]


Advance = Callable[[datetime, Taken], None]
LOOPS: dict[str, tuple[Find, Callable[[datetime], bool], Advance]] = {
    "installs": (
        cloud_tasks.find_installs,
        cloud_tasks.installs_are_idle,
        cloud_tasks.advance_installs,
    ),
    "chores": (cloud_tasks.find_chores, cloud_tasks.chores_are_idle, cloud_tasks.advance_chores),
}


class Work:
    """Waits until something is done, with or without a running worker.

    Two facts show that no worker runs: something is due, and no process holds the loop's lease.
    The lease also keeps this process and a starting worker from working at the same time.
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
        """Return True once done(); False after limit_s, or when the output was closed.

        news() is called every third of a second and at the end. Raises KeyboardInterrupt on
        Ctrl-C, once the call in flight has been answered and stored.
        """
        began = monotonic()
        idle_since: float | None = None

        def is_enough() -> bool:
            news()
            is_late = limit_s is not None and monotonic() - began > limit_s
            return is_late or self.console.is_unheard or done()

        while not is_enough():
            if not is_neglected(loop):
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
        """Run the worker's loop in this process until it is idle or the wait is over."""
        if not self.stands_in:
            self.stands_in = True
            if Beat.is_alive(loop, WORKER_SILENT_AFTER):
                self.console.hint("The worker does not take it up: this command does its part.")
            else:
                self.console.hint("No worker is running: this command does its part itself.")
        find_all, is_idle, advance = LOOPS[loop]
        last_beat = Beat.last(loop)
        with _Interrupts(self.console) as interrupts:

            def is_over() -> bool:
                return interrupts.came or is_enough()

            def find(now: datetime, busy: Taken) -> Iterator[CloudTask[Any]]:
                if not is_over():
                    yield from find_all(now, busy)

            Runner(
                loop, find, lambda now: is_over() or is_idle(database_clock.now()), advance=advance
            ).run()
        # the heartbeat was ours; it must not look like a worker's
        Beat.objects.filter(name=loop, holder="").update(beat_at=last_beat)
        if interrupts.came:
            raise KeyboardInterrupt


def is_neglected(loop: str) -> bool:
    """Is something due that no worker does, and that this process may do? A few queries.

    The server that runs may be allowed other clouds than this command: what this one may not ask is
    left to it, and is no trouble of the account.
    """
    now = database_clock.now()
    holder = Beat.objects.filter(name=loop, held_until__gt=now).values_list("holder", flat=True)
    is_held = any(one and not is_dead(one) for one in holder)
    find_all, is_idle, _ = LOOPS[loop]
    if is_held or is_idle(now):
        return False
    if not Beat.is_alive(loop, WORKER_SILENT_AFTER):
        return True
    return all(is_allowed(task.account.base_url) for task in find_all(now, Taken()))


class _Interrupts:
    """Records the first Ctrl-C (or SIGTERM); the second one interrupts at once."""

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
