"""Backups that an administrator asks for on the page, and the files to download."""

import re
from datetime import datetime
from pathlib import Path

from django.conf import settings

from devices.audit import log as audit_log
from devices.backup.schedule import ASKED, PREFIX, running
from devices.models import Actor, AuditAction, BackupRun
from devices.taskqueue.wakeups import wake_trail

# The row only says which file; what is no name of ours is never opened.
_NAME = re.compile(rf"({PREFIX}|{ASKED})-\d{{8}}-\d{{6}}\.tar\.gz")


def ask(actor: Actor, now: datetime) -> BackupRun | None:
    """Have a worker make a verified backup; None while one waits or is being made."""
    with audit_log.locked():
        if is_busy(now):
            return None
        run = BackupRun.objects.create(started_at=now, is_waiting=True, asked_by_name=actor.name)
        words = f"{actor.name} asked for a backup."
        audit_log.record(actor, AuditAction.BACKUP_ASKED, words, at=now)
        wake_trail()
    return run


def is_busy(now: datetime) -> bool:
    """Is one waiting or being made? Two queries."""
    return BackupRun.objects.filter(is_waiting=True).exists() or running(now) is not None


def file_of(run: BackupRun) -> Path | None:
    """Return the verified backup's file, where this machine has it."""
    if run.verified_at is None or not _NAME.fullmatch(run.file):
        return None
    path = Path(settings.BACKUP_DIR) / run.file
    return path if path.is_file() and not path.is_symlink() else None


def taken(run: BackupRun, actor: Actor) -> None:
    """Record that a person downloads the file."""
    audit_log.record(
        actor,
        AuditAction.BACKUP_TAKEN,
        f"{actor.name} downloaded the backup {run.file}, which holds the server's keys.",
        detail={"file": run.file, "size_bytes": run.size_bytes},
    )
