"""Check every part that an install needs, for /readyz and for the pages.

A new part that can fail on its own gets a function here and an entry in PARTS.
"""

import errno
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile

from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, connection, transaction
from django.db.models import Count, Min, Q
from django_q.models import OrmQ

from devices.models import BackupRun, Beat, Delivery, HomeAssistantLink, Suspect, database_clock
from devices.models.cache_entry import CacheEntry
from devices.models.database_trouble import Trouble, trouble_of
from devices.models.homeassistant import LineState
from devices.models.lease import BRIDGE, NOTICES, TRAIL, WATCHDOG, WORKER
from devices.models.message import NO_MESSAGE, Message
from devices.taskqueue.lease_holder import place

log = logging.getLogger(__name__)
# Each loop is enqueued within thirty seconds (see watchdog), or without a watchdog every minute,
# give or take half a minute.
LOOP_SILENT_AFTER = timedelta(seconds=120)
WATCHDOG_SILENT_AFTER = timedelta(seconds=60)
HERE = (WORKER, WATCHDOG)
# A wake-up waits for a second at most while a worker is free.
QUEUE_BEHIND_AFTER = timedelta(seconds=60)
# More than this and sessions, links and pages of this machine are off too.
CLOCK_OFF_BY = timedelta(seconds=5)
# So long a write may wait for its turn, and so much room must be left.
WRITES_WITHIN_S, ROOM_BYTES = 3, 500_000
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
PROBE = "is it writable?"
# An automatic restart of the worker is shown this long.
SHOW_RESTART_FOR = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Part:
    """Whether one part works, and figures about it: nothing secret, nothing about a household."""

    is_ok: bool
    figures: dict[str, int | float | str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Queue:
    """Wake-ups that no worker has taken yet."""

    due: int
    oldest_due: timedelta
    under_way: int

    @classmethod
    def now(cls) -> "Queue":
        """Return the state of the queue now. One query."""
        now = database_clock.now()
        # a waiting wake-up is "locked" since it was enqueued, a taken one until its retry
        is_due = Q(lock__lte=now)
        found = OrmQ.objects.filter(key=settings.Q_CLUSTER["name"]).aggregate(
            due=Count("pk", filter=is_due),
            oldest=Min("lock", filter=is_due),
            under_way=Count("pk", filter=~is_due),
        )
        oldest = now - found["oldest"] if found["oldest"] is not None else timedelta()
        return cls(found["due"], oldest, found["under_way"])

    @property
    def is_behind(self) -> bool:
        return self.oldest_due > QUEUE_BEHIND_AFTER


def database() -> Part:
    """Does the database answer, and can it be written to? What is written to find out is undone."""
    trouble = None
    try:
        is_writable = (_postgres_takes if connection.vendor == "postgresql" else _sqlite_takes)()
    except (DatabaseError, OSError) as problem:
        if isinstance(problem, OSError):  # from beside an SQLite file
            trouble = Trouble.FULL if problem.errno in NO_ROOM else Trouble.READ_ONLY
        else:
            trouble = trouble_of(problem)
        if trouble in {None, Trouble.AWAY}:
            raise
        is_writable = False
    figures: dict[str, int | float | str | None] = {
        "kind": connection.vendor,
        "is_writable": int(is_writable),
    }
    if not is_writable:
        figures["trouble"] = str(trouble or Trouble.READ_ONLY)
    return Part(is_writable, figures)


def _postgres_takes() -> bool:
    """Return whether PostgreSQL takes writes. Raises DatabaseError when its disk is full."""
    with transaction.atomic(), connection.cursor() as cursor:
        # also on where it is a standby (PostgreSQL documentation: client connection defaults)
        cursor.execute("SHOW transaction_read_only")
        if cursor.fetchone()[0] != "off":
            return False
        # half a megabyte that does not fit into so little memory: it goes to the database's disk,
        # and is gone with the query (PostgreSQL documentation: work_mem, temp_tablespaces)
        cursor.execute("SET LOCAL work_mem = '64kB'")
        cursor.execute("SELECT count(*) FROM generate_series(1, 30000)")
        cursor.execute("SET LOCAL work_mem TO DEFAULT")
    return True


def _sqlite_takes() -> bool:
    """Return True when SQLite's file and its disk take more. Raises DatabaseError or OSError.

    Writing waits for its turn for so long, no longer, and is undone before it reaches the disk; so
    that is asked as well.
    """
    usual_s = settings.DATABASES["default"].get("OPTIONS", {}).get("timeout", 5)
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA busy_timeout = {WRITES_WITHIN_S * 1000}")
        try:
            with transaction.atomic():
                values = {"expires_at": database_clock.now(), "value": "-" * ROOM_BYTES}
                CacheEntry.objects.create(key=PROBE, **values)
                transaction.set_rollback(True)
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(usual_s * 1000)}")
    path = Path(str(connection.settings_dict["NAME"]))
    if path.is_file():  # tests have one in memory
        with TemporaryFile(dir=path.parent) as file:
            file.write(bytes(ROOM_BYTES))
            file.flush()
    return True


def clock() -> Part:
    """Is this machine's clock about that of the database? No install waits for it: work goes by the
    database's.
    """
    ahead = -database_clock.offset(is_fresh=True)
    is_off = abs(ahead) > CLOCK_OFF_BY
    return Part(True, {"ahead_s": round(ahead.total_seconds(), 1), "is_off": int(is_off)})


def redis() -> Part:
    """Does Redis answer, where one is set? While it does not, the database counts limits."""
    if not settings.REDIS_URL:
        return Part(True)
    return Part(True, {"answers": int(cache.answers())})  # type: ignore[attr-defined]


def queue() -> Part:
    """Are wake-ups taken soon after they are enqueued?"""
    queue = Queue.now()
    figures: dict[str, int | float | str | None] = {
        "due": queue.due,
        "oldest_due_s": round(queue.oldest_due.total_seconds(), 1),
        "under_way": queue.under_way,
        "set_aside": Suspect.objects.filter(parked_until__gt=database_clock.now()).count(),
    }
    return Part(not queue.is_behind, figures)


def installs() -> Part:
    """Has the loop that carries out installs left a heartbeat lately?"""
    return _beat("installs", LOOP_SILENT_AFTER)


def chores() -> Part:
    """Has the loop that reads accounts and checks hubs left a heartbeat lately?"""
    return _beat("chores", LOOP_SILENT_AFTER)


def watchdog() -> Part:
    """Has the watchdog left a heartbeat lately? One that was never started is not missed."""
    part = _beat(WATCHDOG, WATCHDOG_SILENT_AFTER)
    return part if part.figures["beat_age_s"] is not None else Part(True, part.figures)


def here() -> Part:
    """Do this machine's own worker and watchdog live, where several machines share the work? One
    that was never started here is not missed.
    """
    if not settings.DATABASE_CLOCK:
        return Part(True)
    parts = {name: _beat(f"{name}@{place()}", WATCHDOG_SILENT_AFTER) for name in HERE}
    ages = {f"{name}_age_s": part.figures["beat_age_s"] for name, part in parts.items()}
    is_ok = all(part.is_ok or part.figures["beat_age_s"] is None for part in parts.values())
    return Part(is_ok, ages | {"machines": Beat.machines(database_clock.now())})


def trail() -> Part:
    """When did the upkeep of the audit trail run? Every ten minutes; no install waits for it."""
    return Part(True, _beat(TRAIL, LOOP_SILENT_AFTER).figures)


def notices() -> Part:
    """When was the outbox last read, and how much of it is late? No install waits for it."""
    late = database_clock.now() - QUEUE_BEHIND_AFTER
    waiting = Delivery.waiting().filter(due_at__lte=late).count()
    return Part(True, _beat(NOTICES, LOOP_SILENT_AFTER).figures | {"late": waiting})


def homeassistant() -> Part:
    """When did the bridge last run, and how many links are connected? Nothing else waits for it."""
    states = HomeAssistantLink.objects.filter(is_on=True).values_list("state", flat=True)
    lines = Counter(states)
    return Part(
        True,
        _beat(BRIDGE, LOOP_SILENT_AFTER).figures
        | {"connected": lines[LineState.CONNECTED], "lost": lines[LineState.LOST]},
    )


def backups() -> Part:
    """When was a backup last made and verified, and did the last one fail? No install waits."""
    good, last = BackupRun.latest_good(), BackupRun.latest()
    age_s = None
    if good is not None and good.verified_at is not None:
        age_s = round((database_clock.now() - good.verified_at).total_seconds())
    return Part(True, {"age_s": age_s, "failed": int(last is not None and bool(last.trouble))})


def _beat(name: str, silent_after: timedelta) -> Part:
    last = Beat.last(name)
    if last is None:
        return Part(False, {"beat_age_s": None})
    age = database_clock.now() - last
    return Part(age <= silent_after, {"beat_age_s": round(age.total_seconds(), 1)})


PARTS: dict[str, Callable[[], Part]] = {
    "database": database,
    "clock": clock,
    "redis": redis,
    "queue": queue,
    "installs": installs,
    "chores": chores,
    "watchdog": watchdog,
    "here": here,
    "trail": trail,
    "homeassistant": homeassistant,
    "notices": notices,
    "backups": backups,
}


def is_ready(parts: Mapping[str, Part]) -> bool:
    """Could an install be carried out now?"""
    return all(part.is_ok for part in parts.values())


def check_all() -> dict[str, Part]:
    """Return the state of each part; one whose check fails is not ok, and the log says why."""
    found: dict[str, Part] = {}
    for name, ask in PARTS.items():
        if "database" in found and not found["database"].is_ok:
            found[name] = Part(False)  # each would wait for it again
            continue
        try:
            found[name] = ask()
        except Exception as problem:
            log.warning("not ready: %s: %s", name, type(problem).__name__)
            found[name] = Part(False)
    return found


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What people should know about the process that carries out their installs."""

    is_alive: bool
    behind: timedelta | None
    """How late the queue is, when it is late."""
    restarted_at: datetime | None
    """When it was restarted automatically, if that was lately."""
    restart_reason: Message

    @classmethod
    def now(cls) -> "WorkerStatus":
        """Return the state of the worker now. Two queries."""
        now, beats, queue = database_clock.now(), Beat.every(), Queue.now()
        installs, worker = beats.get("installs"), beats.get(WORKER)
        last_beat_at = installs.beat_at if installs is not None else None
        restarted_at = worker.restarted_at if worker is not None else None
        is_fresh = restarted_at is not None and now - restarted_at <= SHOW_RESTART_FOR
        return cls(
            is_alive=last_beat_at is not None and now - last_beat_at <= LOOP_SILENT_AFTER,
            # in whole minutes, so that an open page changes once a minute at most
            behind=timedelta(minutes=queue.oldest_due // timedelta(minutes=1))
            if queue.is_behind
            else None,
            restarted_at=restarted_at if is_fresh else None,
            restart_reason=worker.restart_reason if worker is not None and is_fresh else NO_MESSAGE,
        )
