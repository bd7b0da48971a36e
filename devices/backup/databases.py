"""Copying a database out while it is in use, and putting a copy in place in one step.

A copy is first staged beside what is there and made ready; only then do the two change places, so
that a restore that breaks off leaves everything as it was.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from django.db import connection, transaction

from devices.backup import CannotKeep
from devices.models.install import LIVE
from thermacell_web.environment import given

SQLITE, POSTGRESQL = "sqlite", "postgresql"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a copy holds, read from the very copy or from the very snapshot it was made of."""

    migrations: tuple[str, ...]
    audit_sequence: int
    audit_digest: str
    live_jobs: int


class Database(Protocol):
    """One kind of database, as far as keeping it goes."""

    kind: str
    schema: str

    def copy_to(self, target: Path) -> Contents: ...

    def require_unused(self) -> None: ...

    @contextmanager
    def staged(self, copy: Path, data_dir: Path, name: str) -> Iterator[dict[str, str]]: ...

    def put_in_place(self, name: str) -> str: ...


def database() -> Database:
    """Return the database that the settings name."""
    return Postgres() if connection.vendor == POSTGRESQL else Sqlite()


def contents(ask: Callable[[str], list[Any]]) -> Contents:
    """Return what the database holds that `ask` asks."""
    states = ", ".join(f"'{state.value}'" for state in sorted(LIVE))
    migrations = ask("SELECT app, name FROM django_migrations ORDER BY id")
    head = ask("SELECT sequence, digest FROM devices_audithead WHERE id = 1")
    live = ask(f"SELECT COUNT(*) FROM devices_otajob WHERE state IN ({states})")  # noqa: S608
    sequence, digest = head[0] if head else (0, "")
    names = tuple(f"{app}.{migration}" for app, migration in migrations)
    return Contents(names, int(sequence), str(digest), int(live[0][0]))


class Sqlite:
    """A file; see https://www.sqlite.org/backup.html and https://www.sqlite.org/wal.html."""

    kind, schema = SQLITE, ""

    def __init__(self) -> None:
        self.path = Path(connection.settings_dict["NAME"])

    def copy_to(self, target: Path) -> Contents:
        """Copy everything that is committed now, while others write; check the copy."""
        if not self.path.exists():
            raise CannotKeep(f"There is nothing to back up: {self.path} does not exist yet.")
        target.touch(mode=0o600)
        source_uri = f"file:{quote(str(self.path))}?mode=rw"
        with (
            closing(sqlite3.connect(source_uri, uri=True, timeout=60)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            # all pages in one step: one read transaction, which under WAL holds no writer up
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
            _check(copy)
            try:
                return contents(lambda sql: copy.execute(sql).fetchall())
            except sqlite3.OperationalError as problem:
                raise CannotKeep(
                    f"{self.path} does not hold this product's tables ({problem})."
                ) from problem

    def require_unused(self) -> None:
        """The caller has looked for processes of this folder; nothing else reaches the file."""

    @contextmanager
    def staged(self, copy: Path, data_dir: Path, name: str) -> Iterator[dict[str, str]]:
        """Yield what makes a process with that data folder work on the copy."""
        with closing(sqlite3.connect(copy)) as opened:
            _check(opened)
        self._staged = copy.rename(data_dir / "db.sqlite3")
        yield {"DATABASE_URL": ""}  # the one of its data folder, then

    def put_in_place(self, name: str) -> str:
        """Let the staged file take the place of what is there, and say where that went."""
        connection.close()
        aside = self.path.parent / f"replaced-{name}"
        if self.path.exists():
            aside.mkdir(mode=0o700, parents=True)
            # what is still in the log goes into the file first, unless that is what is broken
            with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(self.path)) as old:
                old.execute("PRAGMA journal_mode=DELETE")
            for ending in ("-wal", "-shm", ""):
                part = self.path.with_name(self.path.name + ending)
                if part.exists():
                    part.rename(aside / part.name)
        with closing(sqlite3.connect(self._staged)) as staged:
            staged.execute("PRAGMA journal_mode=DELETE")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self._staged, self.path)
        return str(aside) if aside.exists() else ""


def _check(opened: sqlite3.Connection) -> None:
    try:
        found = [row[0] for row in opened.execute("PRAGMA integrity_check(3)")]
    except sqlite3.DatabaseError as problem:
        raise CannotKeep(f"The copy of the database is damaged ({problem}).") from problem
    if found != ["ok"]:
        raise CannotKeep(f"The copy of the database is damaged ({'; '.join(map(str, found))}).")


class Postgres:
    """A schema; pg_dump, pg_restore and psql carry it, connected by PG* variables.

    See https://www.postgresql.org/docs/current/app-pgdump.html and libpq-envars.html.
    """

    kind = POSTGRESQL

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_schema()")
            self.schema = cursor.fetchone()[0] or "public"

    def copy_to(self, target: Path) -> Contents:
        """Dump one snapshot of the schema, in the custom format, while others write."""
        program = _program("pg_dump")
        target.touch(mode=0o600)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SELECT pg_export_snapshot()")
            snapshot = cursor.fetchone()[0]

            def ask(sql: str) -> list[Any]:
                cursor.execute(sql)
                return list(cursor.fetchall())

            cursor.execute("SELECT to_regclass('devices_otajob')")
            if cursor.fetchone()[0] is None:
                raise CannotKeep("There is nothing to back up: the database has no tables yet.")
            held = contents(ask)
            options = ["--format=custom", "--no-owner", "--no-privileges", "--no-password"]
            options += [f"--schema={self.schema}", f"--snapshot={snapshot}", f"--file={target}"]
            _run([program, *options])
        return held

    def require_unused(self) -> None:
        """Raise CannotKeep while another client is connected to the database."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            others = cursor.fetchone()[0]
        if others:
            raise CannotKeep(
                f"The database is in use by {others} other connection{'s' * (others > 1)}: stop "
                "the programs that use it first. Nothing was changed."
            )

    @contextmanager
    def staged(self, copy: Path, data_dir: Path, name: str) -> Iterator[dict[str, str]]:
        """Yield what makes a process work on the dump, restored into a schema of its own; that
        schema is dropped again unless it was put in place.
        """
        staged, kept = f"restore_{name}", f"kept_{name}"
        restore = [_program("pg_restore"), "--no-owner", "--no-privileges"]
        listed = _run([*restore, "--list", str(copy)]).decode(errors="replace")
        dumped = _dumped_schema(listed)
        script = copy.with_suffix(".sql")
        _run([*restore, f"--file={script}", str(copy)])
        # a dump names its schema, so the one of that name steps aside for the moment; the
        # transaction ends with each where it belongs
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [dumped])
            is_there = cursor.fetchone() is not None
        connection.close()
        options = ["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1"]
        away = [f'--command=ALTER SCHEMA "{dumped}" RENAME TO "{kept}"'] if is_there else []
        back = [f'--command=ALTER SCHEMA "{kept}" RENAME TO "{dumped}"'] if is_there else []
        stage = f'--command=ALTER SCHEMA "{dumped}" RENAME TO "{staged}"'
        _run(
            [
                *(_program("psql"), *options, "--single-transaction"),
                *(*away, f"--file={script}", stage, *back),
            ]
        )
        script.unlink()
        self._staged = staged
        try:
            url = _with_schema(given("DATABASE_URL"), staged)
            yield {"DATABASE_URL": url, "DATABASE_URL_FILE": ""}
        finally:
            with connection.cursor() as cursor:
                cursor.execute(f'DROP SCHEMA IF EXISTS "{staged}" CASCADE')

    def put_in_place(self, name: str) -> str:
        """Let the staged schema take the place of what is there, and say where that went."""
        aside = f"replaced_{name}"
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f'ALTER SCHEMA "{self.schema}" RENAME TO "{aside}"')
            cursor.execute(f'ALTER SCHEMA "{self._staged}" RENAME TO "{self.schema}"')
        connection.close()
        return f"the schema {aside} of the same database"


def _dumped_schema(listed: str) -> str:
    """Return the schema that a dump's table of contents says it creates."""
    for line in listed.splitlines():
        words = line.split()
        if not line.startswith(";") and words[3:5] == ["SCHEMA", "-"]:
            return words[5]
    raise CannotKeep("The dump in this backup does not name its schema; nothing was changed.")


def _with_schema(url: str, schema: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}currentSchema={schema}"


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise CannotKeep(
            f"{name} is not on this machine: install PostgreSQL's client programs (on Debian the "
            "package postgresql-client), as new as the server."
        )
    return path


def _run(command: list[str]) -> bytes:
    """Run one of PostgreSQL's programs on our database and return what it says."""
    values = connection.settings_dict
    names = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGPASSWORD": "PASSWORD"}
    environment = {**os.environ, "PGDATABASE": str(values["NAME"])}
    environment |= {name: str(values[key]) for name, key in names.items() if values.get(key)}
    environment |= {
        name: str(values["OPTIONS"][option])
        for name, option in (
            ("PGSSLMODE", "sslmode"),
            ("PGSSLROOTCERT", "sslrootcert"),
            ("PGSSLCERT", "sslcert"),
            ("PGSSLKEY", "sslkey"),
        )
        if values["OPTIONS"].get(option)
    }
    ended = subprocess.run(  # noqa: S603 - a program found on the path, with our own arguments
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if ended.returncode:
        words = " ".join(ended.stderr.decode(errors="replace").split())[:500]
        raise CannotKeep(f"{Path(command[0]).name} failed: {words}")
    return ended.stdout
