"""What is wrong when the database cannot be used, as far as its error says.

An error that says something about our own question, such as a table that is missing, is none.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from django.db import DatabaseError, Error, InterfaceError, OperationalError


class Trouble(StrEnum):
    """Why a database cannot be used now."""

    AWAY = "away"
    BUSY = "busy"
    READ_ONLY = "read_only"
    FULL = "full"


# Primary result codes (SQLite documentation, "Result and Error Codes").
_OF_SQLITE = {
    sqlite3.SQLITE_BUSY: Trouble.BUSY,
    sqlite3.SQLITE_LOCKED: Trouble.BUSY,
    sqlite3.SQLITE_PROTOCOL: Trouble.BUSY,
    sqlite3.SQLITE_READONLY: Trouble.READ_ONLY,
    sqlite3.SQLITE_PERM: Trouble.READ_ONLY,
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_IOERR: Trouble.AWAY,
    sqlite3.SQLITE_CANTOPEN: Trouble.AWAY,
    sqlite3.SQLITE_CORRUPT: Trouble.AWAY,
    sqlite3.SQLITE_NOTADB: Trouble.AWAY,
}
# PostgreSQL documentation, appendix A.
_OF_POSTGRES = {
    "25006": Trouble.READ_ONLY,
    "53100": Trouble.FULL,
    "55P03": Trouble.BUSY,
    "40P01": Trouble.BUSY,
    "40001": Trouble.BUSY,
    "57014": Trouble.BUSY,
}
# Connections, resources, operator intervention, the system itself.
_AWAY_CLASSES = ("08", "53", "57", "58")


def trouble_of(error: BaseException | None) -> Trouble | None:
    """Return what the error says is wrong with the database; None when it is about nothing else
    than what we asked.
    """
    if not isinstance(error, Error):
        return None
    cause: Any = error.__cause__
    if isinstance(cause, sqlite3.Error):
        # the low byte: what follows says where (SQLite documentation)
        return _OF_SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    if (state := getattr(cause, "sqlstate", None)) is not None:
        by_class = Trouble.AWAY if state[:2] in _AWAY_CLASSES else None
        return _OF_POSTGRES.get(state, by_class)
    # the connection's own errors have no state
    return Trouble.AWAY if isinstance(error, (OperationalError, InterfaceError)) else None


@contextmanager
def may_be_left_out() -> Iterator[None]:
    """Leave out what the body writes when the database takes nothing now; nothing else is kept
    from being done. Raises what says that it does not answer at all.
    """
    try:
        yield
    except DatabaseError as error:
        if trouble_of(error) in {None, Trouble.AWAY}:
            raise
