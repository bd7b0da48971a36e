"""Empty the test database: the triggers that guard the audit trail step aside for that long.

Only the tests' settings have this command; elsewhere the database refuses a flush.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.commands import flush
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from devices.audit import triggers


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        with unguarded(connections[options["database"]]):
            super().handle(**options)
        for path in settings.AUDIT_MARKS:
            path.unlink(missing_ok=True)


@contextmanager
def unguarded(database: BaseDatabaseWrapper) -> Iterator[None]:
    """Take the triggers away for a while: what only the owner of a database can do."""
    triggers.remove(database)
    try:
        yield
    finally:
        triggers.install(database)
