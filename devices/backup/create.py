"""Making a backup while everything runs."""

import json
import re
import sqlite3
import tempfile
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from devices.audit import log as audit_log
from devices.backup import CannotKeep, archive
from devices.backup.archive import Manifest
from devices.backup.databases import database
from devices.models import Actor, AuditAction
from thermacell_web import __version__

# Those made by themselves before an upgrade; what a person made is never touched.
AUTOMATIC, AUTOMATIC_KEPT = "before-upgrade", 5


def usual_path(now: datetime, prefix: str = "thermacell-web", folder: Path | None = None) -> Path:
    """Return the default path of a backup."""
    return (folder or Path(settings.DATA_DIR) / "backups") / f"{prefix}-{now:%Y%m%d-%H%M%S}.tar.gz"


def make(path: Path, actor: Actor | None) -> Manifest:
    """Write a backup there and return its manifest; with an actor it is recorded.

    Nothing waits for it, and what is written meanwhile is in it wholly or not at all. Raises
    CannotKeep; then there is no file.
    """
    try:
        return _make(path, actor)
    except FileExistsError as problem:
        raise CannotKeep(f"{path} exists already: choose another name.") from problem
    except OSError as problem:
        raise CannotKeep(f"The backup could not be written to {path} ({problem}).") from problem
    except (DatabaseError, sqlite3.Error) as problem:  # such as a copy on a full disk
        reason = " ".join(str(problem).split())
        raise CannotKeep(f"The database could not be backed up ({reason}).") from problem


def _make(path: Path, actor: Actor | None) -> Manifest:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists():
        raise FileExistsError(path)
    made_at = timezone.now()
    source = database()
    keys_before = settings.KEY_RING.newest_first()
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=path.parent) as folder:
        copy = Path(folder) / archive.DATABASE
        held = source.copy_to(copy)
        draft = Manifest(
            made_at=made_at,
            version=__version__,
            kind=source.kind,
            schema=source.schema,
            migrations=held.migrations,
            audit_sequence=held.audit_sequence,
            audit_digest=held.audit_digest,
            live_jobs=held.live_jobs,
            checksums={},
        )
        manifest = archive.write(path, draft, copy, _keys(keys_before))
    if actor is not None:
        audit_log.record(
            actor,
            AuditAction.BACKUP_MADE,
            f"{actor.name} made a backup, {path.name}.",
            detail={
                "file": path.name,
                "database_sha256": manifest.checksums[archive.DATABASE],
                "audit_sequence": manifest.audit_sequence,
                "audit_digest": manifest.audit_digest,
                "live_jobs": manifest.live_jobs,
            },
        )
    return manifest


def _keys(before: tuple[str, ...]) -> bytes:
    """Return the keys in use, wherever they came from, as keys.json holds them: also those that
    were dropped while the database was copied.
    """
    ring = dict.fromkeys((*settings.KEY_RING.newest_first(), *before))
    keys = {
        "secret": settings.SECRET_KEY,
        "encryption": ",".join(ring),
        "audit": settings.AUDIT_KEY,
    }
    return json.dumps(keys).encode()


def make_before_upgrade() -> Path:
    """Make a backup of its own accord, keep the newest few of this kind, and return its path."""
    path = usual_path(timezone.now(), AUTOMATIC)
    make(path, None)
    keep_newest(path.parent, AUTOMATIC, AUTOMATIC_KEPT)
    return path


def keep_newest(folder: Path, prefix: str, most: int) -> None:
    """Delete all backups of this kind but the newest ones."""
    ours = re.compile(rf"{prefix}-\d{{8}}-\d{{6}}\.tar\.gz")
    made = sorted(one for one in folder.iterdir() if ours.fullmatch(one.name))
    for old in made[:-most]:
        old.unlink()
