"""Backups by the server: by the clock or because a person asked. Each is made, proven by restoring
it, passed on, thinned out.
"""

import logging
import shutil
import socket
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import psutil
from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import QuerySet
from django.utils.translation import gettext, override

from devices.backup import CannotKeep, create
from devices.backup.restore import prove
from devices.models import Actor, BackupRun, StaffRole, User, database_clock
from devices.notifications import email

log = logging.getLogger(__name__)
PREFIX, ASKED = "scheduled", "requested"
# After one that failed; after one that never ended, such as in a power cut; of rows about those
# that are gone.
TRY_AGAIN_AFTER, CUT_OFF_AFTER = timedelta(hours=1), timedelta(hours=12)
ROWS_KEPT = timedelta(days=90)
HOOK_WITHIN_S = 3600
# A process that makes a backup is there after so long.
BEGINS_WITHIN = timedelta(minutes=1)
# The last one that this process started.
_process: "subprocess.Popen[bytes] | None" = None


def start_if_due(now: datetime) -> None:
    """Start a process that makes a backup, when one is due or asked for: it may take longer than a
    task. One at a time; one whose process is gone from this machine has ended.
    """
    if _process is not None:
        _process.poll()  # else it stays a zombie
    run = running(now)
    if run is not None and not _is_gone(run, now):
        return
    asked = BackupRun.objects.filter(is_waiting=True).order_by("pk").first()
    if asked is not None:
        started = BackupRun.objects.filter(pk=asked.pk, is_waiting=True)
        if started.update(is_waiting=False, started_at=now, host=this_host()):
            _start(asked)
    elif is_due(now):
        _start(BackupRun.objects.create(started_at=now, host=this_host()))


def running(now: datetime) -> BackupRun | None:
    """Return the one that is being made, on any machine; not one that was cut off."""
    begun = BackupRun.objects.filter(is_waiting=False, ended_at=None)
    return begun.filter(started_at__gt=now - CUT_OFF_AFTER).order_by("-started_at").first()


def this_host() -> str:
    """Return how the row about a backup names this machine."""
    return socket.gethostname()[:120]


def _is_gone(run: BackupRun, now: datetime) -> bool:
    """Did the process of this backup die, on this machine? Then the backup is marked as ended."""
    if run.host != this_host() or now - run.started_at < BEGINS_WITHIN:
        return False
    own = ["backup", "--run", str(run.pk)]
    if any((one.info["cmdline"] or [])[-3:] == own for one in psutil.process_iter(["cmdline"])):
        return False
    _end_cut_off(BackupRun.objects.filter(pk=run.pk), now)
    return True


def _start(run: BackupRun) -> None:
    global _process
    _process = subprocess.Popen(  # noqa: S603 - our own interpreter and command
        [sys.executable, "manage.py", "backup", "--run", str(run.pk)],
        cwd=settings.BASE_DIR,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def is_due(now: datetime) -> bool:
    """Is a backup due? The first one as long after the tables were made as between two."""
    every = timedelta(hours=settings.BACKUP_EVERY_HOURS)
    last = BackupRun.latest()
    if not every:
        return False
    if last is None:
        made = MigrationRecorder(connection).migration_qs.order_by("-pk").first()
        return made is not None and now - made.applied >= every
    pause = every
    if last.ended_at is None:
        pause = min(every, CUT_OFF_AFTER)
    elif last.trouble:
        pause = min(every, TRY_AGAIN_AFTER)
    return now - last.started_at >= pause


def carry_out(run: BackupRun) -> None:
    """Make, prove, pass on and thin out. What went wrong is stored, and mailed to administrators
    unless the try before failed too.
    """
    folder, prefix = settings.BACKUP_DIR, ASKED if run.asked_by_name else PREFIX
    _note_cut_off(run)
    path = create.usual_path(run.started_at, prefix, folder)
    run.host = this_host()
    try:
        create.make(path, Actor.worker())
        run.file, run.size_bytes = path.name, path.stat().st_size
        run.save()  # an open page shows how far it is
        prove(path)
        run.verified_at = database_clock.now()
        create.keep_newest(folder, prefix, settings.BACKUP_KEEP)
        _pass_on(path)
    except (CannotKeep, OSError) as problem:
        run.trouble = str(problem)
        log.error("the scheduled backup failed: %s", problem)
    earlier = BackupRun.objects.filter(started_at__lt=run.started_at, is_waiting=False)
    before = earlier.order_by("-started_at").first()
    run.ended_at = database_clock.now()
    run.save()
    earlier.filter(started_at__lt=run.started_at - ROWS_KEPT).delete()
    if run.trouble and not (before is not None and before.trouble):
        _tell(run.trouble)


def _note_cut_off(run: BackupRun) -> None:
    """Give the runs before this one that never ended their trouble, and remove what they left."""
    begun = BackupRun.objects.filter(is_waiting=False, started_at__lt=run.started_at)
    _end_cut_off(begun, run.started_at)


def _end_cut_off(runs: QuerySet[BackupRun], now: datetime) -> None:
    cut_off = runs.filter(ended_at=None)
    if cut_off.update(ended_at=now, trouble="It did not come to its end."):
        for pattern in (".prove-*", ".backup-*"):
            for left in settings.BACKUP_DIR.glob(pattern):
                shutil.rmtree(left, ignore_errors=True)


def _pass_on(path: Path) -> None:
    """Call BACKUP_HOOK with the file; raises CannotKeep when it fails."""
    if settings.BACKUP_HOOK is None:
        return
    try:
        ended = subprocess.run(  # noqa: S603 - the administrator's own program
            [str(settings.BACKUP_HOOK), str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=HOOK_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise CannotKeep(f"BACKUP_HOOK could not be run ({type(problem).__name__}).") from problem
    if ended.returncode:
        words = " ".join(ended.stderr.decode(errors="replace").split())[-300:]
        raise CannotKeep(f"BACKUP_HOOK ended with status {ended.returncode}. {words}".strip())


def _tell(trouble: str) -> None:
    for user in User.objects.filter(staff_role=StaffRole.ADMINISTRATOR, is_active=True):
        with override(user.language or settings.LANGUAGE_CODE):
            subject = gettext("The backup of Thermacell Web failed")
            email.send(user.email, subject, "mail/backup_failed.txt", {"trouble": trouble})
