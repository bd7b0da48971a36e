"""A database that refuses writes while a test runs, with the errors that it really sends."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def full() -> Iterator[None]:
    """Let the database take no more; PostgreSQL sends what it sends when its disk is full."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA page_count")
            cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")
            try:
                yield
            finally:
                cursor.execute("PRAGMA max_page_count = 1000000")
            return
        cursor.execute(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
            " 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER no_room BEFORE INSERT ON devices_household"
            " FOR EACH ROW EXECUTE FUNCTION no_room()"
        )
        try:
            yield
        finally:
            cursor.execute("DROP FUNCTION no_room CASCADE")


@contextmanager
def only_read() -> Iterator[None]:
    """Let the database only be read, as a file without rights or a standby."""
    with connection.cursor() as cursor:
        is_sqlite = connection.vendor == "sqlite"
        cursor.execute(
            "PRAGMA query_only = ON" if is_sqlite else "SET default_transaction_read_only = on"
        )
        try:
            yield
        finally:
            cursor.execute(
                "PRAGMA query_only = OFF"
                if is_sqlite
                else "SET default_transaction_read_only TO off"
            )
