"""Restart the worker when one of its loops stalls: its main process can stay alive meanwhile.

The wall clock is not used, so that a clock that jumps or a laptop that slept restarts nothing:
what counts is whether a heartbeat changes while the watchdog runs.
"""

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Protocol

from django.conf import settings
from django.db import DatabaseError, OperationalError

from devices.audit import log as audit_log
from devices.models import Actor, AuditAction, Beat, database_clock
from devices.models.lease import WATCHDOG, WORKER
from devices.models.message import Message, MessageCode
from devices.taskqueue import lease_holder, leases
from devices.taskqueue.backoff import backoff
from devices.taskqueue.connections import drop_broken_connections
from devices.taskqueue.wakeups import wake_installs, wake_sync
from devices.worker.runner import LEASE

log = logging.getLogger(__name__)
LOOK_EVERY_S = 2.0
# Its own heartbeat counts as late after half a minute (MACHINE_SILENT_AFTER).
BEAT_EVERY_S = 10.0
# The schedule enqueues each loop every minute, give or take half a minute; with that alone a
# stalled cluster looks idle for two minutes. So the watchdog enqueues the loop after thirty quiet
# seconds, again every ten, and decides after forty more: longer than a lease that was not released
# (45 s from the last heartbeat) and than a start of the cluster.
ASK_AFTER_S = 30.0
ASK_EVERY_S = 10.0
PATIENCE_S = 40.0
# From the third restart on the patience doubles with each, so that a fault that no restart cures
# does not restart the worker for ever. After CALM_S without a restart the count starts again.
CALM_S = 900.0
CALM_RESTARTS = 2
LONGEST_PATIENCE_S = 900.0
ACTOR = Actor(name="Thermacell Web", role="watchdog", via="watchdog")
ASKS = {"installs": wake_installs, "chores": wake_sync}
WORDS = {"installs": "installs", "chores": "checks"}


class Cluster(Protocol):
    """The worker's processes on this machine."""

    def main_pid(self) -> int | None:
        """Return the process id of the main process, None when there is none."""

    def end(self) -> None:
        """End it with all its children; its supervisor starts it again."""


@dataclass(slots=True)
class _Seen:
    """A loop's last heartbeat and since when it has not changed, on our own clock."""

    sign: tuple[object, ...]
    since: float
    asked_since: float | None = None
    asked_last: float = 0.0


class Watchdog:
    """Reads the heartbeats, enqueues loops that are quiet, ends a cluster that stays quiet."""

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
        self.left_at: float | None = None

    def look(self) -> None:
        """Check once. While the database does not answer nothing is restarted."""
        drop_broken_connections()
        try:
            self._look()
        except DatabaseError as problem:
            log.warning("the watchdog cannot read the heartbeats: %s", type(problem).__name__)
            self.seen.clear()

    @property
    def patience_now_s(self) -> float:
        """Return how long an enqueued loop may take now: longer after many restarts."""
        patience_s = backoff(self.restarts - CALM_RESTARTS, self.patience_s, LONGEST_PATIENCE_S)
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
        if self.left_at is None or self.clock() - self.left_at >= BEAT_EVERY_S:
            self._leave_heartbeat()
            self.left_at = self.clock()

    def _leave_heartbeat(self) -> None:
        now = database_clock.now()
        _unless_locked(lambda: Beat.leave(WATCHDOG, now))
        if settings.DATABASE_CLOCK:  # other machines may share the database
            Beat.leave(f"{WATCHDOG}@{lease_holder.place()}", now, socket.gethostname())
            if self.cluster.main_pid() is not None:
                Beat.leave(f"{WORKER}@{lease_holder.place()}", now)

    def _notice_death(self) -> None:
        """Record that the worker had stopped and its supervisor started it again."""
        pid = self.cluster.main_pid()
        if pid is None or pid == self.main_pid:
            return
        is_first, self.main_pid = self.main_pid is None, pid
        if not is_first:
            self.seen.clear()
            _record(
                "The worker had stopped and was started again.", reason=MessageCode.WORKER_STOPPED
            )

    def _free_if_gone(self, beat: Beat | None) -> None:
        if beat is None or not beat.holder:
            return
        seen = self.seen.get(beat.name)
        # by our own clock: by the wall clock the lease may have been taken "tomorrow"
        has_run_out = (
            seen is not None
            and seen.sign == beat.sign
            and self.clock() - seen.since > LEASE.total_seconds()
        )
        if has_run_out or lease_holder.is_dead(beat.holder):
            log.warning("%s: released the lease of a process that is gone", beat.name)
            name, who = beat.name, beat.holder
            _unless_locked(lambda: leases.free(name, who))
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
        # first, because it may be what locks the database; if the record fails, the next check
        # finds another main process and records that
        self.cluster.end()
        _record(
            sentence,
            reason=MessageCode.WORKER_SILENT,
            detail={"loop": name, "quiet_s": quiet.seconds, "restarts_lately": self.restarts},
        )
        # the new main process is our own restart, not a crash to record
        self.main_pid = None
        self.seen.clear()


def _unless_locked(write: Callable[[], object]) -> None:
    """Write, or continue without it while SQLite is locked: a worker that froze in the middle of a
    transaction keeps the lock, so a locked database does not show that a worker is well.
    """
    try:
        write()
    except OperationalError as problem:
        if "locked" not in str(problem):
            raise
        log.warning("the watchdog could not write: %s", problem)


def _record(sentence: str, *, reason: MessageCode, detail: dict[str, object] | None = None) -> None:
    now = database_clock.now()
    with audit_log.locked():
        Beat.note_restart(now, Message.of(reason))
        audit_log.record(ACTOR, AuditAction.WORKER_RESTARTED, sentence, at=now, detail=detail)
