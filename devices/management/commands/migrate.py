"""Django's migrate, one at a time and all of it or nothing.

Several servers may be upgraded at the same moment, and after an upgrade that failed the version
before must find the tables that it knows.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from time import monotonic, sleep
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError, connections, transaction
from django.db.migrations.executor import MigrationExecutor

# Any number, the same in every version: servers of neighbouring versions wait for each other.
LOCK = 0x7468_6D77
PATIENCE_S = 600
# So long a table is waited for, while other machines wait behind: less than the second after which
# PostgreSQL looks for two that wait for each other, and ends one of them.
TURN_MS = 700
# Not to be had in time; a deadlock (PostgreSQL documentation, appendix A).
BUSY = {"55P03", "40P01"}


class Command(migrate.Command):
    """Migrate while no other server does, in one transaction."""

    alias = ""

    def handle(self, *args: Any, **options: Any) -> None:
        self.alias = options["database"]
        only_looks = options["plan"] or options["check_unapplied"]
        with alone(self.alias), nullcontext() if only_looks else whole(self.alias):
            if not only_looks and (options["app_label"] or _is_something_left(self.alias)):
                take_tables(self.alias)
            super().handle(*args, **options)

    def migration_progress_callback(
        self, action: str, migration: Any = None, fake: bool = False
    ) -> None:
        super().migration_progress_callback(action, migration, fake)
        if action.endswith("_success") and connections[self.alias].in_atomic_block:
            # PostgreSQL changes no table whose rows still wait for the checks of a commit
            connections[self.alias].check_constraints()


@contextmanager
def whole(alias: str) -> Iterator[None]:
    """Open a transaction around all migrations; SQLite checks foreign keys at its end."""
    connection = connections[alias]
    # rebuilding a table with its references in place would delete what refers to it
    connection.disable_constraint_checking()
    try:
        with transaction.atomic(using=alias):
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:  # a large table can take long
                    cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            yield
            connection.check_constraints()
    finally:
        connection.enable_constraint_checking()


def take_tables(alias: str) -> None:
    """Keep other machines from every table before the first one changes; for PostgreSQL.

    They work meanwhile. One that has locked a table and waits for another that has changed already
    would otherwise wait for ever, and this for it. Raises CommandError after ten minutes.
    """
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return
    names = map(connection.ops.quote_name, sorted(connection.introspection.table_names()))
    if not (tables := ", ".join(names)):
        return
    until = monotonic() + PATIENCE_S
    while True:
        try:
            with transaction.atomic(using=alias), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{TURN_MS}ms'")
                cursor.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
                cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
            return
        except OperationalError as problem:
            if getattr(problem.__cause__, "sqlstate", "") not in BUSY:
                raise
            if monotonic() > until:
                raise CommandError(
                    "For ten minutes the tables were in use all the time: stop the other servers "
                    "that use this database, then try again."
                ) from problem
        sleep(random.uniform(0.1, 0.5))  # noqa: S311 - guards nothing


def _is_something_left(alias: str) -> bool:
    executor = MigrationExecutor(connections[alias])
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


@contextmanager
def alone(alias: str) -> Iterator[None]:
    """Hold PostgreSQL's advisory lock; SQLite serves one machine, where one start runs at a time.

    Raises CommandError when another server holds it for ten minutes.
    """
    connection = connections[alias]
    if connection.vendor != "postgresql":
        yield
        return
    until = monotonic() + PATIENCE_S
    with connection.cursor() as cursor:
        while not _ask(cursor, "pg_try_advisory_lock"):
            if monotonic() > until:
                raise CommandError(
                    "Another server has been migrating this database for ten minutes: see "
                    "whether it is stuck, then try again."
                )
            sleep(0.5)
    try:
        yield
    finally:
        if connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                _ask(cursor, "pg_advisory_unlock")


def _ask(cursor: Any, function: str) -> bool:
    cursor.execute(f"SELECT {function}(%s)", [LOCK])
    return bool(cursor.fetchone()[0])
