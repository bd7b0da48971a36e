"""The product's tables, read and attacked from outside, on SQLite and on PostgreSQL."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from time import sleep
from typing import Any

BUSY_S = 60
# Who harms a database can still write to it.
OWN = "-c default_transaction_read_only=off"


class Tables:
    """where is the path of an SQLite file or the address of a PostgreSQL database."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.is_postgres = "://" in where

    def _connect(self) -> Any:
        if self.is_postgres:
            import psycopg

            return psycopg.connect(
                self.where, autocommit=True, application_name="chaos", options=OWN
            )
        return sqlite3.connect(self.where, timeout=BUSY_S, isolation_level=None)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what stands there; tries again while the database is away."""
        for _ in range(BUSY_S):
            with suppress(*_troubles()), closing(self._connect()) as connection:
                return list(connection.execute(sql).fetchall())
            sleep(0.5)
        raise AssertionError(f"the database does not answer: {sql}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others from writing."""
        with closing(self._connect()) as connection:
            if self.is_postgres:
                connection.execute("BEGIN")
                connection.execute("LOCK TABLE devices_audithead IN EXCLUSIVE MODE")
            else:
                connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")

    def read_lists_now(self) -> None:
        """Make every account's next reading due, as an hour without one would."""
        with suppress(*_troubles()), closing(self._connect()) as connection:
            connection.execute("UPDATE devices_cloudaccount SET next_sync_at = synced_at")

    def cut_connections(self) -> int:
        """End every other connection (PostgreSQL); return how many that were."""
        sql = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name <> 'chaos'"
        )
        return int(self.rows(sql)[0][0])

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Let the PostgreSQL database refuse to write, as one that fails over does."""
        self._set_read_only("on")
        try:
            yield
        finally:
            self._set_read_only("off")

    def _set_read_only(self, switch: str) -> None:
        name = self.rows("SELECT quote_ident(current_database())")[0][0]
        with closing(self._connect()) as connection:
            connection.execute(
                f"ALTER DATABASE {name} SET default_transaction_read_only = {switch}".encode()
            )
        self.cut_connections()

    def lock_the_head(self) -> None:
        """Return once the head of the audit trail could be locked, as every append does."""
        self.rows("SELECT id FROM devices_audithead FOR UPDATE")


def _troubles() -> tuple[type[Exception], ...]:
    import psycopg

    return (sqlite3.Error, psycopg.Error)
