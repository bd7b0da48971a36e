"""Is each loop still being run? A task cluster can stall with its main process alive and well.

Nothing is judged by a clock on the wall, so that one which jumps, or a laptop that slept, restarts
nothing: what counts is whether a heartbeat changes while we watch.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Protocol

from django.db import (
    DatabaseError,
    OperationalError,
    close_old_connections,
    connection,
    transaction,
)
from django.utils import timezone

from devices import holder
from devices.loop import LEASE
from devices.models import Actor, Beat, audit
from devices.models.beat import WATCHDOG
from devices.wake import wake_chores, wake_installs

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
# The queue's own clock asks for each loop every minute, give or take half of one. Whoever waits
# for that cannot tell a stalled cluster from an idle one in less than two minutes. So the watchdog
# asks by itself after twenty quiet seconds, again every ten, and judges after forty more: longer
# than a lease that nobody gave back (45 s from the last heartbeat) and than a start of the cluster.
ASK_AFTER_S = 20.0
ASK_EVERY_S = 10.0
PATIENCE_S = 40.0
# From the third restart on the patience doubles with each, so that what no restart can cure is not
# restarted for ever; so long without one, and the count begins anew.
CALM_S = 900.0
CALM_RESTARTS = 2
LONGEST_PATIENCE_S = 900.0
ACTOR = Actor(name="Thermacell Web", role="watchdog", via="watchdog")

ASKS = {"installs": wake_installs, "chores": wake_chores}
WORDS = {"installs": "installs", "chores": "checks"}


class Cluster(Protocol):
    """The worker's processes on this machine."""

    def main_pid(self) -> int | None:
        """Return the process number of the main process, None when there is none."""

    def end(self) -> None:
        """End it with all its children; whoever supervises it starts it again."""


@dataclass(slots=True)
class _Seen:
    """A loop's last heartbeat and since when nothing has come after it, on our own clock."""

    sign: tuple[object, ...]
    since: float
    asked_since: float | None = None
    asked_last: float = 0.0


class Watchdog:
    """Looks at the heartbeats, asks for loops that are quiet, ends a cluster that stays quiet."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        clock: Callable[[], float] = monotonic,
        ask_after_s: float = ASK_AFTER_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.cluster = cluster
        self.clock = clock
        self.ask_after_s = ask_after_s
        self.patience_s = patience_s
        self.seen: dict[str, _Seen] = {}
        self.restarts = 0
        self.restarted_at = clock()
        self.main_pid: int | None = None

    def look(self) -> None:
        """Look once; while the database is away nothing is judged, for a restart cures nothing."""
        if not connection.in_atomic_block:
            close_old_connections()
        try:
            self._look()
        except DatabaseError as problem:
            log.warning("the watchdog cannot read the heartbeats: %s", type(problem).__name__)
            self.seen.clear()

    @property
    def patience_now_s(self) -> float:
        """Return how long a loop that was asked for may take now: longer after many restarts."""
        doublings = min(max(0, self.restarts - CALM_RESTARTS), 16)
        patience_s = min(self.patience_s * 2.0**doublings, LONGEST_PATIENCE_S)
        if self.clock() - self.restarted_at > CALM_S + self.ask_after_s + patience_s:
            self.restarts = 0
            return self.patience_s
        return patience_s

    def _look(self) -> None:
        self._notice_death()
        beats = Beat.every()
        for name in ASKS:
            beat = beats.get(name)
            self._free_if_gone(beat)
            if self._is_stale(name, beat):
                self._restart(name)
                break
        _unless_locked(lambda: Beat.leave(WATCHDOG, timezone.now()))

    def _notice_death(self) -> None:
        """Record that the worker died and was started again by whoever supervises it."""
        pid = self.cluster.main_pid()
        if pid is None or pid == self.main_pid:
            return
        is_first, self.main_pid = self.main_pid is None, pid
        if not is_first:
            self.seen.clear()
            _record("The worker had stopped and was started again.", reason="it had stopped")

    def _free_if_gone(self, beat: Beat | None) -> None:
        if beat is None or not beat.holder:
            return
        seen = self.seen.get(beat.name)
        # by our own clock, for on the wall the lease may have been taken "tomorrow"
        has_run_out = (
            seen is not None
            and seen.sign == beat.sign
            and self.clock() - seen.since > LEASE.total_seconds()
        )
        if has_run_out or holder.is_gone(beat.holder):
            log.warning("%s: the lease of a process that is gone is free again", beat.name)
            name, who = beat.name, beat.holder
            _unless_locked(lambda: Beat.free(name, who))
            _unless_locked(ASKS[name])

    def _is_stale(self, name: str, beat: Beat | None) -> bool:
        now = self.clock()
        sign = beat.sign if beat is not None else ()
        seen = self.seen.get(name)
        if seen is None or seen.sign != sign:
            self.seen[name] = _Seen(sign, now)
            return False
        if now - seen.since < self.ask_after_s:
            return False
        if seen.asked_since is None or now - seen.asked_last >= ASK_EVERY_S:
            seen.asked_last = now
            _unless_locked(ASKS[name])
        if seen.asked_since is None:
            seen.asked_since = now
        return now - seen.asked_since >= self.patience_now_s

    def _restart(self, name: str) -> None:
        quiet = timedelta(seconds=round(self.clock() - self.seen[name].since))
        self.restarts += 1
        self.restarted_at = self.clock()
        sentence = (
            f"The worker was restarted: its part for {WORDS[name]} had not answered for "
            f"{quiet.seconds} seconds."
        )
        log.error("%s", sentence)
        # first, for it may be what keeps everybody from writing; should the record fail, the next
        # look finds another main process and records that
        self.cluster.end()
        _record(
            sentence,
            reason="it had stopped answering",
            detail={"loop": name, "quiet_s": quiet.seconds, "restarts_lately": self.restarts},
        )
        # what follows is ours, not a death to be noticed
        self.main_pid = None
        self.seen.clear()


def _unless_locked(write: Callable[[], object]) -> None:
    """Write, or go on without where somebody keeps SQLite locked: a worker that froze in the middle
    of a transaction does, so being locked out speaks for nobody.
    """
    try:
        write()
    except OperationalError as problem:
        if "locked" not in str(problem):
            raise
        log.warning("the watchdog could not write: %s", problem)


def _record(sentence: str, *, reason: str, detail: dict[str, object] | None = None) -> None:
    now = timezone.now()
    with transaction.atomic():
        audit.lock()
        Beat.note_restart(now, reason)
        audit.record(ACTOR, "worker.restarted", sentence, at=now, detail=detail)
