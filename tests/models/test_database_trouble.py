"""Real errors of both databases, and what each says is wrong."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection
from django.db.utils import DatabaseErrorWrapper

from devices.models.database_trouble import Trouble, may_be_left_out, trouble_of

EMPTY = "CREATE TABLE kept (words TEXT)"


def of_sqlite(path: Path, act: Callable[[sqlite3.Connection], object]) -> Trouble | None:
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as opened:
        try:
            act(opened)
        except sqlite3.Error as problem:
            error = OperationalError(str(problem))
            error.__cause__ = problem
            return trouble_of(error)
    raise AssertionError("nothing was wrong")


def test_what_sqlite_says(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(EMPTY)

        def fill(opened: sqlite3.Connection) -> None:
            opened.execute("PRAGMA max_page_count = 2")
            opened.execute("INSERT INTO kept VALUES (?)", ["x" * 100_000])

        def only_read(opened: sqlite3.Connection) -> None:
            opened.execute("PRAGMA query_only = ON")
            opened.execute("INSERT INTO kept VALUES ('x')")

        assert of_sqlite(path, fill) is Trouble.FULL
        assert of_sqlite(path, only_read) is Trouble.READ_ONLY
        other.execute("BEGIN IMMEDIATE")
        busy = of_sqlite(path, lambda opened: opened.execute("BEGIN IMMEDIATE"))
        assert busy is Trouble.BUSY
        other.execute("ROLLBACK")
    assert of_sqlite(path, lambda opened: opened.execute("SELECT * FROM nothing")) is None
    nowhere = tmp_path / "no folder" / "db.sqlite3"
    with pytest.raises(sqlite3.Error) as found:
        sqlite3.connect(nowhere)
    error = OperationalError("cannot open")
    error.__cause__ = found.value
    assert trouble_of(error) is Trouble.AWAY
    path.write_bytes(b"this is no database, and never was one" * 40)
    assert of_sqlite(path, lambda opened: opened.execute("SELECT * FROM kept")) is Trouble.AWAY


class Refused(psycopg.Error):
    """An error as the server would send it."""


@pytest.mark.parametrize(
    ("state", "trouble"),
    [
        ("53100", Trouble.FULL),
        ("25006", Trouble.READ_ONLY),
        ("55P03", Trouble.BUSY),
        ("57P01", Trouble.AWAY),
        ("08006", Trouble.AWAY),
        ("53300", Trouble.AWAY),
        ("42P01", None),
        ("23505", None),
    ],
)
def test_what_postgresql_says(state: str, trouble: Trouble | None) -> None:
    error, error.__cause__ = DatabaseError("x"), Refused()
    error.__cause__.sqlstate = state
    assert trouble_of(error) is trouble


@pytest.mark.postgres
def test_real_errors_of_postgresql(postgres_url: str) -> None:
    wrapped = DatabaseErrorWrapper(connection)

    def of(act: Callable[[], object]) -> Trouble | None:
        try:
            with wrapped:
                act()
        except psycopg.Error as problem:
            known = DatabaseError if problem.sqlstate else OperationalError
            error, error.__cause__ = known("x"), problem
            return trouble_of(error)
        except DatabaseError as error:
            return trouble_of(error)
        raise AssertionError("nothing was wrong")

    assert of(lambda: psycopg.connect("postgres://nobody@127.0.0.1:1/x")) is Trouble.AWAY
    with psycopg.connect(postgres_url, autocommit=True) as opened:
        opened.execute(EMPTY)
        assert of(lambda: opened.execute("SELECT * FROM nothing")) is None
        opened.execute("SET default_transaction_read_only = on")
        assert of(lambda: opened.execute("INSERT INTO kept VALUES ('x')")) is Trouble.READ_ONLY
        ended = "SELECT pg_terminate_backend(pg_backend_pid())"
        assert of(lambda: opened.execute(ended)) is Trouble.AWAY


def test_what_is_not_about_the_database_is_no_trouble_of_its() -> None:
    assert trouble_of(ValueError("x")) is None
    assert trouble_of(None) is None
    with pytest.raises(IntegrityError), may_be_left_out():
        raise IntegrityError("x")
    with pytest.raises(OperationalError), may_be_left_out():
        raise OperationalError("the connection is lost")
