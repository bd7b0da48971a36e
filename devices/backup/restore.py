"""Putting a backup in the place of what is there: checked and made safe first, then all at once."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from devices.audit import marks
from devices.backup import CannotKeep, archive
from devices.backup.archive import Manifest
from devices.backup.databases import Database, database
from devices.models import AuditHead, Household, User

KEY_NAMES = ("SECRET_KEY", "ENCRYPTION_KEYS", "AUDIT_KEY")


@dataclass(frozen=True, slots=True)
class Restored:
    """How a restore went."""

    manifest: Manifest
    asked: int
    followed: int
    dropped: int
    aside: tuple[str, ...]
    """Where what was there before is now."""
    trail_fault: str


def restore(path: Path, *, is_forced: bool) -> Restored:
    """Restore the backup; the caller has made sure that nothing runs here.

    Raises CannotKeep, and then everything is as it was.
    """
    manifest = archive.read(path)
    target = database()
    _require_fitting(manifest, target)
    replaced = _what_is_there()
    if replaced and not is_forced:
        raise CannotKeep(
            f"There is an installation here already (people: {replaced['people']}, "
            f"households: {replaced['households']}). Nothing was changed. To put the backup in its "
            "place add --force: what is there is then set aside, never deleted."
        )
    target.require_unused()
    name = f"{timezone.now():%Y%m%d_%H%M%S}"
    folder = Path(settings.DATA_DIR) / f"restore-{name}"
    folder.mkdir(mode=0o700)
    try:
        archive.unpack(path, folder)
        staged = folder / "data"
        staged.mkdir(mode=0o700)
        (folder / archive.KEYS).rename(staged / "keys.json")
        with target.staged(folder / archive.DATABASE, staged, name) as environment:
            order = {"file": str(path), "is_forced": is_forced, "replaced": replaced}
            order |= {"mark_number": marks.next_number()}
            done = _made_safe({**environment, "DATA_DIR": str(staged)}, order)
            aside = [target.put_in_place(name)]
        aside.append(_put_keys(staged / "keys.json", name))
        marks.append_line(done["mark"])
    except OSError as problem:
        raise CannotKeep(f"The backup could not be restored ({problem}).") from problem
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Restored(
        manifest=manifest,
        asked=done["asked"],
        followed=done["followed"],
        dropped=done["dropped"],
        aside=tuple(dict.fromkeys(filter(None, aside))),
        trail_fault=done["trail_fault"],
    )


def prove(path: Path) -> None:
    """Restore the backup into a scratch database, look for all tables and verify its audit trail
    there; it is gone afterwards. Raises CannotKeep when anything is wrong with it.
    """
    manifest, target = archive.read(path), database()
    _require_fitting(manifest, target)
    name = f"{timezone.now():%Y%m%d_%H%M%S_%f}"
    with tempfile.TemporaryDirectory(prefix=".prove-", dir=path.parent) as made:
        folder = Path(made)
        archive.unpack(path, folder)
        staged = folder / "data"
        staged.mkdir(mode=0o700)
        (folder / archive.KEYS).rename(staged / "keys.json")
        with target.staged(folder / archive.DATABASE, staged, name) as environment:
            # nothing of the running installation is asked or changed
            apart = {"DATA_DIR": str(staged), "REDIS_URL": "", "REDIS_URL_FILE": ""}
            apart |= {"AUDIT_HEADS_FILE": "", "MQTT_URL": "", "MQTT_URL_FILE": ""}
            for command in (("migrate", "--check"), ("verify_audit", "--json")):
                last = _run({**environment, **apart}, *command)
    if json.loads(last)["reached"]["sequence"] < manifest.audit_sequence:
        raise CannotKeep(f"The audit trail in {path.name} ends too early.")


def _require_fitting(manifest: Manifest, target: Database) -> None:
    if manifest.kind != target.kind:
        raise CannotKeep(
            f"This backup is of a {manifest.kind} database, and DATABASE_URL names a "
            f"{target.kind} one. Nothing was changed."
        )
    known = MigrationLoader(None).disk_migrations or {}
    names = {f"{app}.{migration}" for app, migration in known}
    newer = [name for name in manifest.migrations if name not in names]
    if newer:
        raise CannotKeep(
            f"This backup was made by a newer version ({manifest.version}, with {newer[-1]}): "
            "upgrade this server first. Nothing was changed."
        )


def _what_is_there() -> dict[str, Any]:
    """Return what the present installation holds; empty when it was never used."""
    try:
        if "devices_user" not in connection.introspection.table_names():
            return {}
        people, households = User.objects.count(), Household.objects.count()
        head = AuditHead.objects.filter(pk=1).first()
    except DatabaseError:  # damaged, or tables of another version: treated as in use
        return {"people": "unknown", "households": "unknown"}
    if not people and not households:
        return {}
    found: dict[str, Any] = {"people": people, "households": households}
    if head is not None:
        found |= {"audit_sequence": head.sequence, "audit_digest": head.digest}
    return found


def _made_safe(environment: dict[str, str], order: dict[str, Any]) -> dict[str, Any]:
    """Let a process with the backup's own keys migrate the staged copy and settle it."""
    settled: dict[str, Any] = json.loads(
        _run(environment, "restore", "--staged", json.dumps(order))
    )
    return settled


def _run(environment: dict[str, str], *words: str) -> str:
    """Run a command on the staged copy and return its last line."""
    ended = subprocess.run(  # noqa: S603 - our own interpreter and command
        [sys.executable, "manage.py", *words],
        cwd=settings.BASE_DIR,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        lines = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
        raise CannotKeep(f"{(lines or ['it ended without a word'])[-1]} Nothing was changed.")
    return (ended.stdout.splitlines() or ["{}"])[-1]


def _put_keys(keys: Path, name: str) -> str:
    """Put the backup's keys in place unless the environment names them all; old ones stay."""
    if all(os.environ.get(key, "").strip() for key in KEY_NAMES):
        return ""
    place = Path(settings.DATA_DIR) / "keys.json"
    aside = Path(settings.DATA_DIR) / f"replaced-{name}"
    if place.exists() and place.read_bytes() != keys.read_bytes():
        aside.mkdir(mode=0o700, exist_ok=True)
        place.rename(aside / "keys.json")
    shutil.move(keys, place)
    return str(aside) if aside.exists() else ""
