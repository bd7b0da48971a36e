"""What must be in place before the first process runs: database, static files, free leases."""

import hashlib
import logging
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import DatabaseError
from redis.exceptions import RedisError

from devices.accounts import trial_cloud
from devices.backup import CannotKeep
from devices.backup.create import make_before_upgrade
from devices.security import key_marks
from devices.server import CannotStart

log = logging.getLogger(__name__)


def keep_private(data_dir: Path) -> None:
    """Close the files of the data folder and its subfolders to other users of the computer.

    What belongs to another user, as in some containers, stays as it is; the log says so.
    """
    folders = [data_dir / name for name in ("backups", "log", "run")]
    about = data_dir.stat()
    if about.st_mode & stat.S_ISVTX or about.st_uid != os.getuid():
        return  # a folder that all users share, such as /tmp
    files = [
        file for folder in (data_dir, *folders) if folder.is_dir() for file in folder.iterdir()
    ]
    for path, mode in [
        *((folder, 0o700) for folder in folders if folder.is_dir()),
        *((file, 0o600) for file in files if file.is_file() and not file.is_symlink()),
    ]:
        try:
            if path.stat().st_mode & 0o077:
                path.chmod(mode)
        except OSError as problem:
            log.warning("%s stays readable for others: %s", path, problem.strerror)


# What the product keeps in the data folder, besides files.
FOLDERS = ("run", "log", "cache", "static", "backups", "firmware", "trial")


def prepare_data_dir(data_dir: Path) -> str:
    """Make the folders that every start needs; return a sentence when others could read the data.

    Raises CannotStart when a file has the name of a folder, or a folder cannot be used.
    """
    for name in FOLDERS:
        folder = data_dir / name
        if folder.exists() and not folder.is_dir():
            raise CannotStart(f"{folder} must be a folder, not a file: move it or rename it.")
        if name in {"run", "log"}:
            folder.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise CannotStart(_not_ours(folder))
    about = data_dir.stat()
    mode = stat.S_IMODE(about.st_mode)
    # never a folder that all users share, such as /tmp
    if not mode & 0o077 or mode & stat.S_ISVTX or about.st_uid != os.getuid():
        return ""
    data_dir.chmod(mode & 0o700)
    return (
        f"Other users of this computer could read {data_dir} (mode {mode:04o}); now only you can."
    )


def prepare_database() -> Path | None:
    """Bring the database to this version's tables; raises CannotStart when it cannot be used.

    An SQLite database that has to change is backed up first; the path of that backup is returned.
    An upgrade that fails changes nothing.
    """
    if connection.vendor == "sqlite":
        _require_writable(Path(settings.DATABASES["default"]["NAME"]))
    try:
        connection.ensure_connection()
        is_upgrade = _is_upgrade()
        backup = _backed_up() if is_upgrade and connection.vendor == "sqlite" else None
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except Exception as problem:  # a migration may raise anything
            if not is_upgrade:
                raise
            raise CannotStart(_not_upgraded(problem, backup)) from problem
        wrong = key_marks.wrong_key()
    except DatabaseError as problem:
        raise CannotStart(explain(problem)) from problem
    if wrong is not None:
        raise CannotStart(key_marks.why_wrong(wrong))
    return backup


def explain(problem: DatabaseError) -> str:
    """Return one sentence about a database that cannot be used."""
    reason = " ".join(str(problem).split())
    if connection.vendor != "sqlite":
        return f"The database does not answer ({reason}): check DATABASE_URL."
    path = settings.DATABASES["default"]["NAME"]
    return (
        f"The database {path} cannot be used ({reason}): check the file, its folder and the free "
        "space, or restore a backup (manage.py restore)."
    )


def _require_writable(path: Path) -> None:
    for part in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))):
        if part.is_dir():
            raise CannotStart(f"{part} must be a file, not a folder: move it or rename it.")
        if part.exists() and not os.access(part, os.R_OK | os.W_OK):
            raise CannotStart(_not_ours(part))
    if not path.parent.is_dir():
        raise CannotStart(f"There is no folder {path.parent} for the database: check DATABASE_URL.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise CannotStart(_not_ours(path.parent))


def _not_ours(path: Path) -> str:
    user, owner = _name(os.getuid()), _name(path.stat().st_uid)
    folder = path.parent if path.is_file() else path
    return (
        f"{path} belongs to {owner} and cannot be written by {user}, who starts this: give it back "
        f"with chown -R {user} {folder}."
    )


def _name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)


def _is_upgrade() -> bool:
    """Has this database tables of an earlier version?"""
    executor = MigrationExecutor(connection)
    is_new = not executor.loader.applied_migrations
    return not is_new and bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _not_upgraded(problem: Exception, backup: Path | None) -> str:
    reason = " ".join(str(problem).split())
    kept = f" As it was before, it is also kept in {backup}." if backup is not None else ""
    return (
        f"The database could not be upgraded ({type(problem).__name__}: {reason}), and nothing in "
        f"it was changed: the version from before runs on with it.{kept}"
    )


def _backed_up() -> Path:
    try:
        return make_before_upgrade()
    except CannotKeep as problem:
        raise CannotStart(
            f"The database has to be upgraded, and is not without a backup. {problem}"
        ) from problem


def recall_trial_cloud() -> None:
    """Have the simulated cloud run again for an account that a restore brought back."""
    database = settings.DATABASES["default"]
    if connection.vendor == "sqlite" and not Path(database["NAME"]).is_file():
        return  # to ask would make it
    with suppress(DatabaseError, OSError):
        trial_cloud.recall()
    connection.close()


def free_leases() -> None:
    """Let the loops start at once after a killed start, where no other cluster can hold a lease,
    and forget an automatic restart of the worker: a person has started it since.

    SQLite serves this machine alone, and all that ran on it from this folder has been ended.
    """
    from devices.models import Beat

    if connection.vendor == "sqlite":
        Beat.objects.exclude(holder="").update(holder="", held_until=None)
        Beat.objects.update(restarted_at=None)


def is_bridge_wanted() -> bool:
    """Return whether hubs are to be shown to a Home Assistant, here or at a household's broker."""
    from devices.models import HomeAssistantLink

    own = HomeAssistantLink.objects.filter(is_on=True).exclude(sealed_broker_url="")
    return bool(settings.MQTT_URL) or own.exists()


def require_cache() -> None:
    """Raise CannotStart when a shared cache is configured and does not answer."""
    if not settings.REDIS_URL:
        return
    try:
        cache.ping()  # type: ignore[attr-defined]  # RedisOrDatabase, by the settings
    except (RedisError, OSError) as problem:
        reason = " ".join(str(problem).split())
        raise CannotStart(f"Redis does not answer ({reason}): check REDIS_URL.") from problem


def collect_static() -> bool:
    """Gather the static files when any has changed since; return whether it was needed."""
    stamp = Path(settings.DATA_DIR) / "static.stamp"
    digest = _static_digest()
    if stamp.exists() and stamp.read_text() == digest and Path(settings.STATIC_ROOT).is_dir():
        return False
    stamp.unlink(missing_ok=True)
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    stamp.write_text(digest)
    return True


def _static_digest() -> str:
    backend = settings.STORAGES["staticfiles"]["BACKEND"]
    digest = hashlib.sha256(f"{backend} {settings.STATIC_ROOT}".encode())
    for finder in get_finders():
        for name, storage in sorted(finder.list([]), key=lambda found: str(found[0])):
            about = Path(storage.path(name)).stat()
            digest.update(f"\n{name} {about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()
