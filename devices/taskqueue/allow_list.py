"""The gate around django-q2: a worker runs the functions in ALLOWED and nothing else.

The database is not trusted here. A row in the queue can only name an allowed function; what runs is
built again from that name. The schedule is in this file; its rows only keep when each is due next.
Anything else found there is deleted, logged and recorded. django-q2's own code for schedules,
hooks, results and function names is replaced, since it imports and unpickles what the rows say.
"""

import logging
import pydoc
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from time import monotonic, sleep
from typing import Any

import django_q.cluster
import django_q.monitor
import django_q.scheduler
import django_q.worker
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, transaction
from django.db.models.signals import post_save
from django_q.brokers import get_broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.humanhash import uuid
from django_q.models import OrmQ, Schedule, Task
from django_q.signals import call_hook
from django_q.signing import SignedPackage

from devices.audit import log as audit_log
from devices.models import Actor, AuditAction, database_clock
from devices.models.audit import Outcome
from devices.taskqueue.connections import drop_broken_connections
from devices.taskqueue.wakeups import (
    ALLOWED,
    CHORES,
    INSTALLS,
    NOTICES,
    TRAIL,
    Refused,
    function_of,
    wake,
)

log = logging.getLogger(__name__)
# The functions that run by the clock, and every how many minutes.
SCHEDULES = {
    "installs": (INSTALLS, 1),
    "chores": (CHORES, 1),
    "notices": (NOTICES, 1),
    "trail": (TRAIL, 10),
}
UNUSED = ("args", "kwargs", "hook", "cron", "cluster", "intended_date_kwarg")
# How many waiting tasks are looked at once one was refused, and how many names are recorded.
SWEPT, NAMED = 1000, 5
# What is due by its time alone is looked for this often while nothing is written to the database.
LOOK_ANYWAY_S = 5.0


class Broker(ORM):  # type: ignore[misc]  # django-q2 carries no types
    """The queue in the database, by its clock: machines that share it see each other's tasks at
    once. It hands out tasks built from an allowed name.
    """

    nothing_due: tuple[object, int, float] | None = None
    """When nothing was due: the connection, what it said its data's version was, and until when
    that is believed.
    """

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Store nothing: no page shows it, and the sentinel would write it once a second."""

    def timeout(self, task: object) -> datetime:
        """Return until when a task that is taken now is not given to another worker."""
        return database_clock.now() + timedelta(seconds=Conf.RETRY)

    def enqueue(self, task: str) -> int:
        """Store a task that is due at once; return its row."""
        rows = self.get_connection()
        key = self.list_key or Conf.CLUSTER_NAME
        return int(rows.create(key=key, payload=task, lock=database_clock.now()).pk)

    def dequeue(self) -> list[tuple[int, str]]:
        """Return (row, task) of what is due and allowed; anything else is deleted."""
        tasks = []
        for pk, payload in self._taken():
            try:
                tasks.append((pk, _task(function_of(payload))))
            except Refused as problem:
                self.delete(pk)
                record_refused([str(problem), *self._refused()])
        return tasks

    def _taken(self) -> list[tuple[int, str]]:
        """Take what is due and no other worker takes at this moment; wait a little for none."""
        version = self._version()
        if self._is_as_when_nothing_was_due(version):
            sleep(Conf.POLL)
            return []
        rows = self.get_connection().filter(key=self.list_key)
        due = list(rows.filter(lock__lt=database_clock.now())[: Conf.BULK])
        self.nothing_due = None
        if not due:
            if version is not None:
                self.nothing_due = (*version, monotonic() + LOOK_ANYWAY_S)
            sleep(Conf.POLL)
        return [
            (row.pk, row.payload)
            for row in due
            if rows.filter(pk=row.pk, lock=row.lock).update(lock=self.timeout(row))
        ]

    def _version(self) -> tuple[object, int] | None:
        """Return what changes when another connection writes, a hundred times as quick as a query:
        SQLite's data_version, which is of this connection alone. None with another database.
        """
        connection = connections[Conf.ORM]
        if connection.vendor != "sqlite":
            return None
        connection.ensure_connection()
        found = connection.connection.execute("PRAGMA data_version").fetchone()
        return connection.connection, int(found[0])

    def _is_as_when_nothing_was_due(self, version: tuple[object, int] | None) -> bool:
        if version is None or self.nothing_due is None:
            return False
        connection, number, until = self.nothing_due
        return connection is version[0] and number == version[1] and monotonic() < until

    def _refused(self) -> Iterator[str]:
        """Delete the other refused tasks that wait, so that many make one entry; yield each."""
        for row in OrmQ.objects.filter(key=self.list_key)[:SWEPT]:
            try:
                function_of(row.payload)
            except Refused as problem:
                row.delete()
                yield str(problem)


def _task(function: str) -> str:
    name, number = uuid()
    return str(
        SignedPackage.dumps(
            {
                "id": number,
                "name": name,
                "func": function,
                "args": (),
                "kwargs": {},
                "started": database_clock.now(),
                "ack_failure": True,
            }
        )
    )


def keep_schedules() -> None:
    """Make every schedule exist as it is in SCHEDULES. Safe on repeat."""
    for name, (function, minutes) in SCHEDULES.items():
        if not Schedule.objects.filter(name=name, func=function).exists():
            Schedule.objects.create(
                name=name, func=function, schedule_type=Schedule.MINUTES, minutes=minutes
            )


def run_schedules(broker: object = None) -> None:
    """Enqueue what is due by SCHEDULES; delete and record every row that is not one of them."""
    drop_broken_connections()
    try:
        with transaction.atomic():
            refused = _drop_foreign_schedules()
            keep_schedules()
            now = database_clock.now()
            for row in Schedule.objects.select_for_update().order_by("pk"):
                function, minutes = SCHEDULES[str(row.name)]
                every = timedelta(minutes=minutes)
                # a time further ahead is left from a clock that was set back, or was put there
                if row.next_run is not None and now < row.next_run <= now + every:
                    continue
                wake(function)
                Schedule.objects.filter(pk=row.pk).update(next_run=now + every)
        if refused:
            record_refused(refused)
    except Exception:  # the guard that calls this must not end; it calls again in half a minute
        log.exception("the schedules could not be run")


def _drop_foreign_schedules() -> list[str]:
    refused, seen = [], set()
    for row in Schedule.objects.order_by("pk"):
        function, _ = SCHEDULES.get(str(row.name), ("", 0))
        is_ours = row.func == function and not any(getattr(row, name) for name in UNUSED)
        if is_ours and row.name not in seen:
            seen.add(row.name)
        else:
            refused.append(f"{row.func[:100]} (schedule)")
            row.delete()
    return refused


def record_refused(tasks: Sequence[str]) -> None:
    """Log and record tasks that were refused and deleted."""
    named = ", ".join(tasks[:NAMED])
    log.error("refused %d tasks that are not this server's own: %s", len(tasks), named)
    try:
        audit_log.record(
            Actor.worker(),
            AuditAction.WORKER_REFUSED,
            "The worker found tasks in the database that are not its own. It deleted them without "
            f"running them: {named}.",
            outcome=Outcome.REFUSED,
            detail={"tasks": list(tasks[:NAMED]), "count": len(tasks)},
        )
    except DatabaseError:
        log.exception("the refused tasks could not be recorded")


def _keep_no_result(task: dict[str, Any], broker: object) -> None:
    """Store nothing: django-q2 would read earlier results, which are unsigned pickles.

    Its monitor logs a task that failed.
    """


class _Locate:
    """Stands for pydoc in django-q2's worker: finds the functions in ALLOWED only."""

    @staticmethod
    def locate(name: object) -> object:
        return pydoc.locate(name) if isinstance(name, str) and name in ALLOWED else None


def install() -> None:
    """Put the gate in place, in every process that loads the app. Safe on repeat."""
    django_q.cluster.scheduler = django_q.scheduler.scheduler = run_schedules
    django_q.monitor.save_task = _keep_no_result
    django_q.worker.pydoc = _Locate
    post_save.disconnect(call_hook, sender=Task)


def require() -> None:
    """Raise ImproperlyConfigured unless the gate is what django-q2 really uses now."""
    is_in_place = {
        "the queue": isinstance(get_broker(), Broker),
        "the schedule": django_q.cluster.scheduler is run_schedules,
        "the results": django_q.monitor.save_task is _keep_no_result,
        "the functions": django_q.worker.pydoc.locate("os.system") is None
        and all(callable(django_q.worker.pydoc.locate(name)) for name in ALLOWED),
    }
    missing = [name for name, is_there in is_in_place.items() if not is_there]
    if missing:
        raise ImproperlyConfigured(
            f"The worker does not start: its allow-list is not in use for {', '.join(missing)}. "
            "This version of django-q2 may differ from the one in requirements.txt."
        )
