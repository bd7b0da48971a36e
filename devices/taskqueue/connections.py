"""The database connection of a process that runs for weeks and serves no requests."""

from django.db import close_old_connections, connection


def drop_broken_connections() -> None:
    """Close a connection that the database has ended; the next query opens a new one.

    Does nothing inside a transaction, which would be lost with its connection.
    """
    if not connection.in_atomic_block:
        close_old_connections()
