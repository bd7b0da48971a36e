"""The database is not the server: a worker runs its four functions and nothing that a row names."""

import os
import pickle
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import django_q.cluster
import django_q.worker
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from devices import tasks
from devices.models import AuditEvent
from devices.taskqueue import allow_list
from devices.taskqueue.wakeups import ALLOWED, INSTALLS, Refused, function_of, wake
from tests.support.terminal import Terminal, a_terminal

KEY = "thermacell-web"


def queued() -> list[str]:
    return [function_of(row.payload) for row in OrmQ.objects.all()]


def names() -> set[str]:
    return {
        f"{tasks.__name__}.{name}"
        for name, value in vars(tasks).items()
        if getattr(value, "__module__", "") == tasks.__name__
    }


def test_the_allow_list_is_what_the_module_of_tasks_holds() -> None:
    assert names() == ALLOWED
    assert {function for function, _ in allow_list.SCHEDULES.values()} == ALLOWED


class Bomb:
    """Touches a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def signed(**task: Any) -> str:
    plain = {"id": "1", "name": "x", "func": INSTALLS, "args": (), "kwargs": {}}
    return str(SignedPackage.dumps(plain | task))


REFUSED: dict[str, dict[str, Any]] = {
    "os.system": {"func": "os.system", "args": ("true",)},
    "a builtin": {"func": "builtins.eval", "args": ("1",)},
    "something of ours": {"func": "devices.backup.create.make_before_upgrade"},
    "a function itself": {"func": os.system},
    "arguments": {"args": ("too", "many")},
    "named arguments": {"kwargs": {"n": 1}},
    "a hook": {"hook": "os.system"},
    "a chain": {"chain": [("os.system", ("true",))]},
    "no function": {"func": None},
}


@pytest.mark.parametrize("task", REFUSED.values(), ids=REFUSED)
def test_a_payload_that_names_anything_else_is_refused(task: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        function_of(signed(**task))
    assert function_of(signed()) == INSTALLS


def test_even_a_signed_payload_is_read_without_importing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with pytest.raises(Refused):
        function_of(signed(func=Bomb(mark)))
    assert function_of(signed(started=timezone.now(), note=Bomb(mark))) == INSTALLS
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark)))  # noqa: S301
    assert mark.exists(), "the same data does run where it is unpickled as usual"


@pytest.mark.django_db
def test_the_queue_hands_out_allowed_functions_and_records_the_rest_once() -> None:
    async_task("os.system", "true")
    async_task("builtins.eval", "1")
    OrmQ.objects.create(key=KEY, payload="garbage", lock=timezone.now())
    wake(INSTALLS)
    broker, handed = allow_list.Broker(list_key=KEY), []
    while OrmQ.objects.filter(lock__lt=timezone.now()).exists():
        handed += [SignedPackage.loads(payload) for _, payload in broker.dequeue()]
    assert [task["func"] for task in handed] == [INSTALLS]
    assert (handed[0]["args"], handed[0]["kwargs"]) == ((), {})
    event = AuditEvent.objects.get(action="worker.refused")
    assert event.detail["count"] == 3
    assert "os.system" in event.sentence
    assert "builtins.eval" in event.sentence
    assert OrmQ.objects.count() == 1, "the one under way"


SCHEDULES: dict[str, dict[str, Any]] = {
    "os.system": {"func": "os.system", "args": "'touch /tmp/x'"},
    "our name": {"name": "installs", "func": "os.system"},
    "a copy of ours": {"name": "installs", "func": INSTALLS},
    "a hook": {"func": INSTALLS, "hook": "os.system"},
    "arguments that cannot be read": {"func": INSTALLS, "args": "((("},
    "arguments that run at once": {"func": "os.getcwd", "kwargs": "q_options={'sync': True}"},
    "a chain": {"func": INSTALLS, "kwargs": "q_options={'chain': [('os.system', ())]}"},
    "another cluster": {"func": INSTALLS, "cluster": KEY},
    "a cron line": {"func": INSTALLS, "schedule_type": "C", "cron": "* * * * *"},
    "no time": {"func": "os.system", "next_run": None},
}


@pytest.mark.django_db
@pytest.mark.parametrize("row", SCHEDULES.values(), ids=SCHEDULES)
def test_a_schedule_that_is_not_ours_is_deleted_and_recorded(row: dict[str, Any]) -> None:
    Schedule.objects.bulk_create([Schedule(**row)])
    django_q.cluster.scheduler(broker=allow_list.Broker(list_key=KEY))
    assert sorted(queued()) == sorted(ALLOWED), "ours go on"
    kept = Schedule.objects.values_list("name", "func")
    assert dict(kept) == {name: function for name, (function, _) in allow_list.SCHEDULES.items()}
    assert len(kept) == len(allow_list.SCHEDULES)
    event = AuditEvent.objects.get(action="worker.refused")
    assert row["func"] in event.sentence


@pytest.mark.django_db
def test_our_schedules_run_by_the_clock_even_when_their_rows_are_changed() -> None:
    Schedule.objects.all().delete()
    allow_list.run_schedules()
    assert sorted(queued()) == sorted(ALLOWED)
    OrmQ.objects.all().delete()
    allow_list.run_schedules()
    assert queued() == [], "none is due again yet"
    Schedule.objects.update(next_run=timezone.now() + timedelta(days=3000))
    allow_list.run_schedules()
    assert sorted(queued()) == sorted(ALLOWED), "a time far ahead does not stop them"
    assert not AuditEvent.objects.filter(action="worker.refused").exists()


@pytest.mark.django_db
def test_the_worker_does_not_start_without_its_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_list.require()
    for place, name, value in (
        (django_q.cluster, "scheduler", print),
        (django_q.monitor, "save_task", print),
        (django_q.worker, "pydoc", __import__("pydoc")),
        (Conf, "BROKER_CLASS", None),
    ):
        with monkeypatch.context() as other:
            other.setattr(place, name, value)
            with pytest.raises(ImproperlyConfigured, match="allow-list"):
                allow_list.require()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with a_terminal(tmp_path, hubs=1) as terminal:
        yield terminal


PLANT = """
import os
from datetime import timedelta
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task
from tests.taskqueue.test_allow_list import Bomb
now, mark = timezone.now(), {mark!r}
Schedule.objects.all().update(next_run=now - timedelta(hours=1))
for n, (function, values) in enumerate([
    ("os.system", {{"args": repr("touch " + mark + "-schedule")}}),
    ("builtins.eval", {{"args": repr("open('" + mark + "-eval', 'w')")}}),
    ("devices.tasks.installs_loop", {{"hook": "os.abort"}}),
    ("devices.server.demo_data.add", {{"args": "((("}}),
    ("os.system", {{"args": repr("touch " + mark + "-s"), "kwargs": "q_options={{'sync': True}}"}}),
]):
    Schedule.objects.create(name=f"planted {{n}}", func=function, next_run=now, **values)
async_task("os.system", "touch " + mark + "-queue")
async_task("devices.tasks.installs_loop", Bomb(mark + "-pickle"))
OrmQ.objects.create(key="thermacell-web", payload="garbage", lock=now)
"""


@pytest.mark.processes
def test_rows_planted_in_the_database_never_run_and_installs_go_on(
    terminal: Terminal, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    terminal.ok("shell", "--no-imports", "-c", PLANT.format(mark=str(mark)))
    worker = terminal.start("worker")
    try:
        until = monotonic() + 90
        while terminal.rows("SELECT 1 FROM django_q_schedule WHERE name LIKE 'planted%'"):
            assert monotonic() < until, "the schedule was never looked at"
            sleep(0.5)
        while terminal.rows("SELECT 1 FROM django_q_ormq WHERE payload = 'garbage'"):
            assert monotonic() < until
            sleep(0.5)
        sleep(3)  # what would run, would have by now
    finally:
        worker.send_signal(signal.SIGTERM)
        text = worker.communicate(timeout=60)[1]
    assert sorted(tmp_path.glob("mark*")) == []
    assert "refused" in text
    refused = terminal.rows(
        "SELECT sentence FROM devices_auditevent WHERE action = 'worker.refused'"
    )
    assert "os.system" in str(refused)
    names = {name for (name,) in terminal.rows("SELECT name FROM django_q_schedule")}
    assert names == set(allow_list.SCHEDULES)
    beats = dict(terminal.rows("SELECT name, beat_at FROM devices_beat"))
    assert beats.get("installs")
    assert beats.get("chores"), "the loops were run meanwhile"
