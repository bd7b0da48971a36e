"""The one-time link that lets the first person in: a signed token, no row of its own."""

from datetime import timedelta
from urllib.parse import urlsplit

from django.core import signing
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from devices.audit import log as audit_log
from devices.households.members import create_household
from devices.models import Actor, Role, User
from devices.rainmaker.address_guard import is_this_machine
from devices.security.request_origin import Origin

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
    return bool(database == _database()) and is_without_people()


def is_without_people() -> bool:
    """Is the first person still to come? One query."""
    return not User.objects.exists()


def use(
    token: str,
    *,
    name: str,
    email: str,
    password: str,
    household: str,
    time_zone: str,
    origin: Origin,
) -> User | None:
    """Create the first owner and household; None when the link was used or has ended."""
    with audit_log.locked():  # of several presses at once, the first one makes the owner
        if not is_valid(token):
            return None
        user = User.objects.create_user(email, password, name=name)
        create_household(
            name=household,
            time_zone=time_zone,
            owner=user,
            actor=Actor.person(user, role=Role.OWNER, via="web", **origin),
            why="one-time link from the terminal",
        )
    return user


def stays_here(address: str) -> bool:
    """Does a link under this address open only on the computer that serves it?"""
    return is_this_machine(urlsplit(address).hostname or "localhost")


def _database() -> str:
    """Return what tells this database from any other: the moment its first table was made."""
    first = MigrationRecorder(connection).migration_qs.order_by("pk").first()
    return first.applied.isoformat() if first is not None else ""
