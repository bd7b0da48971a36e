"""The page Server for administrators: is all well, what to do, and what there is."""

import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import connection
from django.utils.translation import gettext, gettext_lazy

from devices.models import AuditCheck, BackupRun, Beat, Delivery, OtaJob, database_clock
from devices.models.database_trouble import Trouble
from devices.models.lease import TRAIL, WATCHDOG
from devices.models.parsing import parse_int
from devices.presentation.settings_notes import about_settings
from devices.security.log_formatter import ERRORS_FILE
from devices.taskqueue import health
from thermacell_web import __version__

ERRORS_SHOWN = 10
LOW_DISK_BYTES = 500_000_000
# What to do when the database cannot be written to.
DATABASE_ADVICE = {
    Trouble.BUSY: gettext_lazy(
        "Nothing can be stored: something holds the database. Look for a command that hangs."
    ),
    Trouble.READ_ONLY: gettext_lazy(
        "Nothing can be stored: the database can only be read. Check the rights of its file and "
        "folder, or whether its server is a standby."
    ),
    Trouble.FULL: gettext_lazy(
        "Nothing can be stored: the disk of the database is full. Make room; what waits goes on by "
        "itself."
    ),
}
# What to do when a part of /readyz is not well.
ADVICE = {
    "queue": gettext_lazy("Work waits longer than it should. Look at the worker's log."),
    "installs": gettext_lazy(
        "Nothing carries out installs. Start the worker, or look at its log if it runs."
    ),
    "chores": gettext_lazy(
        "Nothing reads accounts and checks hubs. Start the worker, or look at its log if it runs."
    ),
    "watchdog": gettext_lazy(
        "The watchdog does not run: a worker that stands still would not be restarted. Start it."
    ),
    "here": gettext_lazy(
        "This machine's own worker or watchdog has stopped. Start it, or look at its log."
    ),
    "keys": gettext_lazy(
        "This server has other keys than the database. Give all servers the same keys.json."
    ),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine that shares the work."""

    name: str
    beat_at: datetime
    is_silent: bool


@dataclass(frozen=True, slots=True)
class LoggedError:
    """What the log says went wrong, and when it was last."""

    at: datetime
    logger: str
    message: str
    times: int


def todo(parts: Mapping[str, health.Part], asked_at: str) -> Iterator[str]:
    """Yield one sentence for each thing that needs an administrator; the page came from there."""
    trouble = parts["database"].figures.get("trouble")
    if trouble is not None:  # the rest was not asked
        yield str(DATABASE_ADVICE[Trouble(str(trouble))])
    for name, part in parts.items():
        if not part.is_ok and trouble is None:
            unknown = gettext("The check “%(part)s” of /readyz failed: look at the last errors.")
            yield str(ADVICE.get(name) or unknown % {"part": name})
    if parts["clock"].figures.get("is_off"):
        yield gettext("This machine's clock is wrong. Let it be set by NTP.")
    if parts["redis"].figures.get("answers") == 0:
        yield gettext("Redis does not answer. Check REDIS_URL; the database counts limits for now.")
    if parts["notices"].figures.get("late"):
        yield gettext("Notices are late. Check EMAIL_URL, and look at the worker's log.")
    if parts["backups"].figures.get("failed"):
        yield gettext("The last scheduled backup failed. Below is why.")
    check = AuditCheck.objects.first()
    if check is not None and check.finding:
        yield gettext("The audit trail is not as it was written. Open the audit trail check.")
    if shutil.disk_usage(settings.DATA_DIR).free < LOW_DISK_BYTES:
        yield gettext("The disk with the data folder is nearly full. Make room.")
    if asked_at != settings.PUBLIC_URL:
        yield (
            gettext(
                "You opened %(here)s, and PUBLIC_URL is %(url)s: links in mails lead there. Set "
                "PUBLIC_URL to the address that people open."
            )
            % {"here": asked_at, "url": settings.PUBLIC_URL}
        )
    bind = os.environ.get("BIND") or "127.0.0.1"
    port = parse_int(os.environ.get("PORT") or "8000", largest=65535) or 8000
    yield from about_settings(bind, port, settings.PUBLIC_URL)


def facts() -> dict[str, Any]:
    """Return what the page shows besides. A dozen queries."""
    now, beats, queue = database_clock.now(), Beat.every(), health.Queue.now()
    loops = {"installs": gettext("installs"), "chores": gettext("checks")}
    loops[TRAIL] = gettext("audit trail")
    last = {loops[name]: beats[name].beat_at for name in loops if name in beats}
    disk = shutil.disk_usage(settings.DATA_DIR)
    return {
        "version": __version__,
        "python": platform.python_version(),
        "django": django.__version__,
        "database": connection.display_name,
        "database_version": ".".join(map(str, connection.get_database_version())),
        "system": platform.platform(aliased=True, terse=True),
        "queue": queue,
        "oldest_s": round(queue.oldest_due.total_seconds()),
        "live": OtaJob.objects.live().count(),
        "notices": Delivery.waiting().count(),
        "beats": last,
        "machines": machines(now),
        "data_dir": settings.DATA_DIR,
        "disk": disk,
        "backup": BackupRun.latest_good(),
        "backup_try": BackupRun.latest(),
        "backup_every": settings.BACKUP_EVERY_HOURS,
        "errors": last_errors(),
    }


def machines(now: datetime) -> list[Machine]:
    """Return the machines that share the database, as far as they left a heartbeat. One query."""
    rows = Beat.objects.filter(name__startswith=f"{WATCHDOG}@", beat_at__isnull=False)
    silent_after = health.WATCHDOG_SILENT_AFTER
    return [
        Machine(one.holder or one.name.partition("@")[2], at, now - at > silent_after)
        for one in rows.order_by("holder", "name")
        if (at := one.beat_at) is not None
    ]


def last_errors() -> list[LoggedError]:
    """Return what this machine logged as an error lately, newest first."""
    lines: list[str] = []
    for name in (f"{ERRORS_FILE}.1", ERRORS_FILE):
        place = Path(settings.DATA_DIR) / name
        if place.is_file():
            lines += place.read_text(encoding="utf-8", errors="replace").splitlines()
    found: dict[tuple[str, str], LoggedError] = {}
    for line in lines:
        try:
            one = json.loads(line)
            at, key = datetime.fromisoformat(one["at"]), (str(one["logger"]), str(one["message"]))
        except (ValueError, KeyError, TypeError):  # cut off by a full disk
            continue
        times = found[key].times + 1 if key in found else 1
        found[key] = LoggedError(at, *key, times)
    return sorted(found.values(), key=lambda one: one.at, reverse=True)[:ERRORS_SHOWN]
