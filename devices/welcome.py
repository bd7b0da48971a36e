"""The one-time link that lets the first person in: a signed token, no row of its own."""

from datetime import timedelta
from urllib.parse import urlsplit

from django.core import signing
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from devices.models import User

VALID_FOR = timedelta(hours=24)
HERE = {"localhost", "127.0.0.1", "::1"}
_SALT = "welcome"


def make_token() -> str:
    """Return a token for this database: good for a day, and only until a first person exists."""
    return signing.dumps(_database(), salt=_SALT)


def is_valid(token: str) -> bool:
    """May the bearer become the first owner? At most two queries."""
    try:
        database = signing.loads(token, salt=_SALT, max_age=VALID_FOR)
    except signing.BadSignature:
        return False
    return bool(database == _database()) and not User.objects.exists()


def stays_here(address: str) -> bool:
    """Does a link under this address open only on the computer that serves it?"""
    return (urlsplit(address).hostname or "localhost") in HERE


def _database() -> str:
    """Return what tells this database from any other: the moment its first table was made."""
    first = MigrationRecorder(connection).migration_qs.order_by("pk").first()
    return first.applied.isoformat() if first is not None else ""
