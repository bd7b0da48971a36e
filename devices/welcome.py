"""The one-time link that lets the first person in: a signed token, no row of its own."""

from datetime import timedelta

from django.core import signing
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from devices.models import User

VALID_FOR = timedelta(hours=24)
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


def _database() -> str:
    """Return what tells this database from any other: the moment its first table was made."""
    first = MigrationRecorder(connection).migration_qs.order_by("pk").first()
    return first.applied.isoformat() if first is not None else ""
