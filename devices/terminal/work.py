"""Waiting for the worker, and doing its part when there is none."""

import sys
from collections.abc import Callable
from datetime import timedelta
from time import monotonic, sleep

from django.db import transaction
from django.utils import timezone

from devices import tasks
from devices.loop import Loop
from devices.models import Beat

WORKER_GRACE_S = 3.0
# The queue asks for each loop every minute, give or take half of one.
WORKER_SILENT_AFTER = timedelta(seconds=120)
LOOK_EVERY_S = 0.3


def wait_until(
    done: Callable[[], bool], *, limit_s: float, loop: str, news: Callable[[], None] = lambda: None
) -> bool:
    """Return True once done(), False after limit_s. Without a worker this process does its part.

    The lease of the loop keeps the two from working at once, should one start meanwhile.
    """
    began = monotonic()
    is_told = False
    while not done():
        waited = monotonic() - began
        if waited > limit_s:
            return False
        if waited > WORKER_GRACE_S and not _worker_is_there(loop):
            if not is_told:
                is_told = True
                sys.stderr.write("No worker is running; this command does its part itself.\n")
            _do(loop, done, news, until=began + limit_s)
        news()
        sleep(LOOK_EVERY_S)
    news()
    return True


def _worker_is_there(loop: str) -> bool:
    return Beat.is_alive(loop, WORKER_SILENT_AFTER)


def _do(loop: str, done: Callable[[], bool], news: Callable[[], None], until: float) -> None:
    find, is_idle = (
        (tasks.find_installs, tasks.installs_are_idle)
        if loop == "installs"
        else (tasks.find_chores, tasks.chores_are_idle)
    )

    def is_enough(now: object) -> bool:
        news()
        return done() or monotonic() > until or is_idle(timezone.now())

    Loop(loop, find, is_enough).run()
    with transaction.atomic():
        # the heartbeat was ours: it must not pass for a worker's
        Beat.objects.filter(name=loop, holder="").update(beat_at=None)
