"""django-q2's cluster in a single process: threads where it has processes.

A household's server needs one process less for each of them. django-q2's own functions run in the
threads, and its sentinel watches them, as they do in a cluster of processes. A thread cannot be
ended from outside: a task that overruns its time ends the whole process, and the supervisor starts
it again, as it does after a crash.
"""

import logging
import os
import queue
import select
import signal
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.db import connections
from django_q.cluster import Sentinel
from django_q.conf import Conf
from django_q.worker import worker

log = logging.getLogger(__name__)


class Part(threading.Thread):
    """What stands where django-q2 has a process: pusher, worker or monitor."""

    timer: Any = None
    """Of a worker: how many seconds its task may still take; below zero when it has none."""

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        super().__init__(daemon=True)
        self._target_of, self._with = target, arguments

    @property
    def pid(self) -> int:
        return os.getpid()

    def run(self) -> None:
        try:
            self._target_of(*self._with)
        finally:
            connections.close_all()  # each thread has its own


class Tasks(queue.Queue[Any]):
    """A queue between threads that can be closed as one between processes is."""

    def close(self) -> None:
        """Do nothing: there is no pipe."""

    def join_thread(self) -> None:
        """Do nothing: no thread fills a pipe."""


class Flag:
    """An event that a signal handler may set while the main thread waits for it: a lock could be
    held by that very thread.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._is_set = False

    def set(self) -> None:
        if not self._is_set:
            self._is_set = True
            os.write(self._writer, b"!")

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout_s: float) -> bool:
        """Return whether it is set, at once when it is, else after so many seconds."""
        select.select([self._reader], [], [], timeout_s)
        return self._is_set


class OneProcess(Sentinel):  # type: ignore[misc]  # django-q2 carries no types
    """A whole cluster in this process. SIGTERM and SIGINT let its tasks finish, and end it."""

    def __init__(self, on_stop: Callable[[], None]) -> None:
        super().__init__(Flag(), threading.Event(), uuid4(), start=False)
        self.task_queue, self.result_queue = Tasks(Conf.QUEUE_LIMIT), Tasks()
        self.event_out = threading.Event()
        self.on_stop = on_stop
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)

    def _ask_to_stop(self, *_: object) -> None:
        self.on_stop()
        self.stop_event.set()

    def spawn_process(self, target: Callable[..., None], *args: Any) -> Part:
        part = Part(target, args)
        if target is worker:
            part.timer = args[2]
            self.pool.append(part)
        part.start()
        return part

    def reincarnate(self, process: Part) -> None:
        """Start a part again that has ended; one that overran its time ends the whole process."""
        if process.timer is not None and process.is_alive():
            log.critical("a task took more than %s s: the worker is started again", self.timeout)
            os.kill(os.getpid(), signal.SIGKILL)
        super().reincarnate(process)
