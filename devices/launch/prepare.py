"""What must be in place before the first process runs: database, static files, free leases."""

import hashlib
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import DatabaseError

from devices.backup import CannotKeep
from devices.backup.making import make_before_upgrade
from devices.launch import CannotStart


def prepare_database() -> Path | None:
    """Bring the database to this version's tables; raises CannotStart when it does not answer.

    An SQLite database that has to change is backed up first; the path of that backup is returned.
    """
    try:
        connection.ensure_connection()
    except DatabaseError as problem:
        reason = " ".join(str(problem).split())
        raise CannotStart(
            f"The database does not answer ({reason}): check DATABASE_URL."
        ) from problem
    backup = _backed_up() if connection.vendor == "sqlite" else None
    call_command("migrate", interactive=False, verbosity=0)
    return backup


def _backed_up() -> Path | None:
    executor = MigrationExecutor(connection)
    is_new = not executor.loader.applied_migrations
    if is_new or not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return None
    try:
        return make_before_upgrade()
    except CannotKeep as problem:
        raise CannotStart(
            f"The database has to be upgraded, and is not without a backup. {problem}"
        ) from problem


def free_leases() -> None:
    """Let the loops start at once after a killed start, where no other cluster can hold a lease,
    and speak no more of a worker that restarted by itself before a person started it.

    SQLite serves this machine alone, and whatever ran on it from this folder has been ended.
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
        cache.get("start")
    except Exception as problem:  # redis-py has many; all mean the same here
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
