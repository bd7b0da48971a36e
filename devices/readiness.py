"""Is everything there that an install needs? For /readyz, and for what the pages say about it.

Whoever adds a part of the product that can fail by itself adds its question to PARTS.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import Count, Min, Q
from django.utils import timezone
from django_q.models import OrmQ

from devices.models import Beat, Delivery, HomeAssistantLink, Suspect
from devices.models.beat import BRIDGE, NOTICES, TRAIL, WATCHDOG, WORKER
from devices.models.homeassistant import LineState

log = logging.getLogger(__name__)

# Each loop is asked for within twenty seconds (see watchdog), or without a watchdog every minute,
# give or take half of one.
LOOP_SILENT_AFTER = timedelta(seconds=120)
WATCHDOG_SILENT_AFTER = timedelta(seconds=60)
# A wake-up waits for a second at most while a worker is free.
QUEUE_BEHIND_AFTER = timedelta(seconds=60)
# A worker that was restarted by itself is spoken of for so long.
RESTART_SAID_FOR = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Part:
    """Whether one part is fit, and figures about it: nothing secret, nothing about a household."""

    is_ok: bool
    figures: dict[str, int | float | str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Queue:
    """Wake-ups that nobody has taken yet."""

    due: int
    oldest_due: timedelta
    under_way: int

    @classmethod
    def now(cls) -> "Queue":
        """Return how the queue stands. One query."""
        now = timezone.now()
        # a wake-up that waits is "locked" since it was asked for, a taken one until its retry
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
    """Does the database answer?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return Part(True, {"kind": connection.vendor})


def queue() -> Part:
    """Are wake-ups taken soon after they are asked for?"""
    queue = Queue.now()
    figures: dict[str, int | float | str | None] = {
        "due": queue.due,
        "oldest_due_s": round(queue.oldest_due.total_seconds(), 1),
        "under_way": queue.under_way,
        "set_aside": Suspect.objects.filter(parked_until__gt=timezone.now()).count(),
    }
    return Part(not queue.is_behind, figures)


def installs() -> Part:
    """Has the loop that carries out installs left a heartbeat lately?"""
    return _beat("installs", LOOP_SILENT_AFTER)


def chores() -> Part:
    """Has the loop that reads accounts and checks hubs left a heartbeat lately?"""
    return _beat("chores", LOOP_SILENT_AFTER)


def watchdog() -> Part:
    """Has the watchdog looked lately? Where none was ever started, none is missed."""
    part = _beat(WATCHDOG, WATCHDOG_SILENT_AFTER)
    return part if part.figures["beat_age_s"] is not None else Part(True, part.figures)


def trail() -> Part:
    """When was the trail last looked after? Every ten minutes; no install waits for it."""
    return Part(True, _beat(TRAIL, LOOP_SILENT_AFTER).figures)


def notices() -> Part:
    """When was the outbox last looked at, and how much of it is late? No install waits for it."""
    late = timezone.now() - QUEUE_BEHIND_AFTER
    waiting = Delivery.waiting().filter(due_at__lte=late).count()
    return Part(True, _beat(NOTICES, LOOP_SILENT_AFTER).figures | {"late": waiting})


def homeassistant() -> Part:
    """When was the bridge last there, and how do its lines stand? Nothing else waits for it."""
    states = HomeAssistantLink.objects.filter(is_on=True).values_list("state", flat=True)
    lines = Counter(states)
    return Part(
        True,
        _beat(BRIDGE, LOOP_SILENT_AFTER).figures
        | {"connected": lines[LineState.CONNECTED], "lost": lines[LineState.LOST]},
    )


def _beat(name: str, silent_after: timedelta) -> Part:
    last = Beat.last(name)
    if last is None:
        return Part(False, {"beat_age_s": None})
    age = timezone.now() - last
    return Part(age <= silent_after, {"beat_age_s": round(age.total_seconds(), 1)})


PARTS: dict[str, Callable[[], Part]] = {
    "database": database,
    "queue": queue,
    "installs": installs,
    "chores": chores,
    "watchdog": watchdog,
    "trail": trail,
    "homeassistant": homeassistant,
    "notices": notices,
}


def look() -> dict[str, Part]:
    """Return how each part stands; one that cannot be asked is not fit, and why is in the log."""
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
class WorkerStanding:
    """What people should know about the process that does their installs."""

    is_alive: bool
    behind: timedelta | None
    """How late the queue is, when it is late."""
    restarted_at: datetime | None
    """When it was restarted by itself, if that was lately."""
    restart_reason: str

    @classmethod
    def now(cls) -> "WorkerStanding":
        """Return how the worker stands. Two queries."""
        now, beats, queue = timezone.now(), Beat.every(), Queue.now()
        installs, worker = beats.get("installs"), beats.get(WORKER)
        heard_at = installs.beat_at if installs is not None else None
        restarted_at = worker.restarted_at if worker is not None else None
        is_fresh = restarted_at is not None and now - restarted_at <= RESTART_SAID_FOR
        return cls(
            is_alive=heard_at is not None and now - heard_at <= LOOP_SILENT_AFTER,
            # in whole minutes, so that an open page hears of it once a minute
            behind=timedelta(minutes=queue.oldest_due // timedelta(minutes=1))
            if queue.is_behind
            else None,
            restarted_at=restarted_at if is_fresh else None,
            restart_reason=worker.restart_reason if worker is not None and is_fresh else "",
        )
