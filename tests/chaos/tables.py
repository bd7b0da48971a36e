"""The product's tables, read and attacked from outside, on SQLite and on PostgreSQL."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from time import sleep
from typing import Any

BUSY_S = 60


class Tables:
    """where is the path of an SQLite file or the address of a PostgreSQL database."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.is_postgres = "://" in where

    def _connect(self) -> Any:
        if self.is_postgres:
            import psycopg

            return psycopg.connect(self.where, autocommit=True, application_name="chaos")
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
        """Let nobody else write."""
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

    def cut_connections(self) -> int:
        """End every other connection (PostgreSQL); return how many that were."""
        sql = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name <> 'chaos'"
        )
        return int(self.rows(sql)[0][0])


def _troubles() -> tuple[type[Exception], ...]:
    import psycopg

    return (sqlite3.Error, psycopg.Error)
