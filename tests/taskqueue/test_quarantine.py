"""A call that crashes the worker again and again is found, paused and shown; others go on."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic, sleep

import pytest
from django.utils import timezone

from devices.models import AuditEvent, Beat, CloudAccount, OtaJob, Role, State, Suspect
from devices.rainmaker.errors import CloudError
from devices.taskqueue import health, quarantine
from devices.taskqueue.leases import Lease
from devices.taskqueue.quarantine import FIRST_SUSPENSION, SUSPEND_AFTER, record_crash
from devices.worker import cloud_tasks
from devices.worker.runner import CloudTask, Runner, Taken
from tests.support.client import Client
from tests.support.factories import make_account, make_household, make_job, make_node, make_user
from tests.support.terminal import Terminal, a_terminal

LEASE = timedelta(seconds=45)


@pytest.fixture
def account() -> CloudAccount:
    return make_account(make_household())


def die_over(*keys: str, loop: str = "installs") -> None:
    """Leave the lease as a process does that was killed over these conversations."""
    assert Lease(loop, LEASE, "dead").acquire(timezone.now() - timedelta(hours=1))
    assert Lease(loop, LEASE, "dead").set_in_flight(keys)


class Talk(CloudTask[None]):
    """A call that takes a moment and notes that it was made, or deferred."""

    def __init__(
        self, account: CloudAccount, name: str, said: list[str], put_off: list[str]
    ) -> None:
        super().__init__(name, account)
        self.name, self.said, self.put_off = name, said, put_off

    def call(self, _client: object) -> None:
        sleep(0.05)

    def on_result(self, _answer: None, _now: datetime) -> None:
        self.said.append(self.name)

    def on_error(self, error: CloudError, _now: datetime) -> None:
        raise AssertionError(error)

    def defer(self, _now: datetime) -> None:
        self.put_off.append(self.name)


def run(account: CloudAccount, *names: str, loop: str = "installs") -> list[str]:
    """Run a loop that talks about each of these once; return the order in which it did."""
    text: list[str] = []
    put_off: list[str] = []

    def find(_now: datetime, busy: Taken) -> Iterator[CloudTask[None]]:
        for name in names:
            if name not in busy.keys and name not in text and name not in put_off:
                yield Talk(account, name, text, put_off)

    Runner(loop, find, lambda now: len(text) + len(put_off) >= len(names)).run()
    return text


@pytest.mark.django_db
def test_a_released_lease_is_not_a_crash(account: CloudAccount) -> None:
    assert sorted(run(account, "a", "b")) == ["a", "b"]
    run(account, "a")
    assert not Suspect.objects.exists()
    assert Beat.objects.get(name="installs").under_way == []


@pytest.mark.django_db
def test_all_calls_in_flight_are_suspects_until_a_loop_survives_them(account: CloudAccount) -> None:
    die_over("a", "b")
    seen: list[set[str]] = []

    def find(_now: datetime, busy: Taken) -> Iterator[CloudTask[None]]:
        seen.append(set(Suspect.of("installs")))
        yield from ()

    Runner("installs", find, lambda now: bool(seen)).run()
    assert seen[0] == {"a", "b"}
    assert sorted(run(account, "a", "b", "c")) == ["a", "b", "c"]
    assert not Suspect.objects.exists()


@pytest.mark.django_db
def test_suspects_run_one_at_a_time_so_that_the_faulty_one_is_found(account: CloudAccount) -> None:
    die_over("a", "b", "c")
    record_crash("installs", Lease("installs", LEASE, "dead").pop_in_flight(), timezone.now())
    together: list[set[object]] = []
    text: list[str] = []

    def find(_now: datetime, busy: Taken) -> Iterator[CloudTask[None]]:
        together.append(set(busy.keys))
        for name in ("a", "b", "c", "innocent"):
            if name not in busy.keys and name not in text:
                yield Talk(account, name, text, [])

    Lease("installs", LEASE, "dead").release()
    Runner("installs", find, lambda now: len(text) == 4).run()
    assert sorted(text) == ["a", "b", "c", "innocent"]
    assert all(len(one - {"innocent"}) <= 1 for one in together)


@pytest.mark.django_db
def test_after_the_third_crash_a_call_is_paused_and_recorded(account: CloudAccount) -> None:
    job = make_job(make_node(account, name="Back porch"), state=State.RUNNING)
    key = f"job:{job.pk}"
    for _ in range(SUSPEND_AFTER - 1):
        record_crash("installs", [key], timezone.now())
    assert not AuditEvent.objects.filter(action="worker.set_aside").exists()
    record_crash("installs", [key], timezone.now())
    event = AuditEvent.objects.get(action="worker.set_aside")
    assert "crashed 3 times during the install of 5.3.3 on Back porch" in event.sentence
    assert event.job_id == job.pk
    assert run(account, key, "other") == ["other"]
    assert run(account, key, loop="chores") == [key], "another loop counts on its own"


@pytest.mark.django_db
def test_each_further_quarantine_lasts_longer() -> None:
    now = timezone.now()
    pauses = []
    for _ in range(SUSPEND_AFTER + 9):
        record_crash("installs", ["x"], now)
        parked = Suspect.objects.get().parked_until
        if parked is not None:
            pauses.append(parked - now)
    assert pauses[:3] == [FIRST_SUSPENSION, 2 * FIRST_SUSPENSION, 4 * FIRST_SUSPENSION]
    assert pauses[-1] == quarantine.LONGEST_SUSPENSION


@pytest.mark.django_db
def test_a_job_in_quarantine_still_expires_in_time(account: CloudAccount) -> None:
    now = timezone.now()
    job = make_job(make_node(account), expires_at=now - timedelta(seconds=1))
    for _ in range(SUSPEND_AFTER):
        record_crash("installs", [f"job:{job.pk}"], now)
    Runner("installs", cloud_tasks.find_installs, cloud_tasks.installs_are_idle).run()
    job.refresh_from_db()
    assert (job.state, job.outcome) == (State.EXPIRED, "not_sent_in_time")


@pytest.mark.django_db
def test_the_page_shows_the_quarantine_and_a_person_can_end_it(account: CloudAccount) -> None:
    job = make_job(make_node(account), state=State.RUNNING)
    for _ in range(SUSPEND_AFTER):
        record_crash("installs", [f"job:{job.pk}"], timezone.now())
    OtaJob.objects.update(next_poll_at=timezone.now() + timedelta(minutes=1))
    client = Client()
    client.force_login(make_user(role=Role.VIEWER, household=account.household))
    page = f"/installs/{job.pk}/"
    text = client.get(page).content.decode()
    assert "Checks of this install are paused." in text
    assert "Check again now" not in text
    assert client.post(f"{page}again/").status_code == 403
    client.force_login(make_user(role=Role.MEMBER, household=account.household))
    assert "Check again now" in client.get(page).content.decode()
    assert health.queue().figures["set_aside"] == 1
    assert client.post(f"{page}again/").status_code == 302
    assert client.post(f"{page}again/").status_code == 302
    assert AuditEvent.objects.filter(action="install.taken_up").count() == 1
    assert "Checks of this install" not in client.get(page).content.decode()
    job.refresh_from_db()
    assert job.next_poll_at is not None
    assert job.next_poll_at <= timezone.now()


DEADLY = """
import os, signal, sys
from devices.rainmaker.client import RainmakerClient
from devices.worker import cloud_tasks
from devices.worker.runner import Runner
from devices.worker.watchdog import Watchdog

class NoCluster:
    def main_pid(self): return None
    def end(self): pass

class Deadly(RainmakerClient):
    def get_ota_status(self, *, node_id, ota_job_id):
        status = super().get_ota_status(node_id=node_id, ota_job_id=ota_job_id)
        if node_id == "POISON" and status.info:
            os.kill(os.getpid(), signal.SIGKILL)
        return status

Watchdog(NoCluster()).look()  # frees the lease of the one that died before
Runner(
    "installs", cloud_tasks.find_installs, cloud_tasks.installs_are_idle, make_client=Deadly
).run()
"""
CONFIRM = """
from devices.models import Node, User
from tests.support.engine import confirm
for node in Node.objects.order_by("pk"):
    confirm(User.objects.get(email="owner@example.com"), node)
"""


@pytest.mark.processes
def test_an_answer_that_crashes_the_worker_is_paused_and_the_other_installs_are_verified(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with a_terminal(tmp_path_factory.mktemp("poison"), hubs=3) as terminal:
        poisonous = terminal.cloud.node_ids()[0]
        terminal.ok("shell", "--no-imports", "-c", CONFIRM)
        deaths = 0
        until = monotonic() + 240
        while states(terminal) != ["running", "verified", "verified"] or deaths < SUSPEND_AFTER:
            assert monotonic() < until, states(terminal)
            done = terminal.run("shell", "--no-imports", "-c", DEADLY.replace("POISON", poisonous))
            deaths += done.returncode == -signal.SIGKILL
            assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        assert deaths == SUSPEND_AFTER
        assert terminal.trail("worker.set_aside") == [
            ("Thermacell Web", "worker", "worker", "failed")
        ]
        # the reply is harmless again, and a person asks
        terminal.ok("shell", "--no-imports", "-c", ASK_AGAIN)
        with a_worker(terminal):
            verified(terminal, 3)
        assert terminal.accepted(0) == terminal.accepted(1) == terminal.accepted(2) == 1


ASK_AGAIN = """
from devices.installs.requests import resume_polling
from devices.models import Actor, OtaJob, Suspect
actor = Actor(name="owner@example.com", role="owner")
resume_polling(OtaJob.objects.get(state="running"), actor=actor)
assert not Suspect.objects.exists()
"""


def states(terminal: Terminal) -> list[str]:
    rows = terminal.rows("SELECT state FROM devices_otajob ORDER BY state")
    return [str(row[0]) for row in rows]


@contextmanager
def a_worker(terminal: Terminal, **changes: str) -> Iterator[None]:
    terminal.environment |= changes
    process = terminal.start("worker")
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def verified(terminal: Terminal, count: int) -> None:
    until = monotonic() + 200
    while states(terminal).count("verified") < count:
        assert monotonic() < until, states(terminal)
        sleep(0.3)


FOREIGN = """
from django.utils import timezone
from django_q.models import OrmQ
from django_q.tasks import async_task
from devices.taskqueue.wakeups import wake_installs
async_task("nowhere.at_all", 1)
async_task("os._exit", "not a number")
async_task("devices.tasks.installs_loop", "too", many="arguments")
OrmQ.objects.create(key="thermacell-web", payload="garbage", lock=timezone.now())
wake_installs()
"""


@pytest.mark.processes
def test_a_changed_secret_key_and_foreign_tasks_drop_no_install(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with a_terminal(tmp_path_factory.mktemp("foreign"), hubs=2) as terminal:
        terminal.ok("shell", "--no-imports", "-c", FOREIGN)
        terminal.ok("shell", "--no-imports", "-c", CONFIRM)
        # signed with the key of before, among others the wake-up for what was just confirmed
        assert len(terminal.rows("SELECT id FROM django_q_ormq")) >= 5
        with a_worker(terminal, SECRET_KEY="a-new-key-" + "0123456789abcdef" * 4):
            terminal.ok("shell", "--no-imports", "-c", FOREIGN)  # and now of its own key
            verified(terminal, 2)
        assert terminal.accepted(0) == terminal.accepted(1) == 1
        left = terminal.rows("SELECT payload FROM django_q_ormq")
        assert "garbage" not in [row[0] for row in left]
