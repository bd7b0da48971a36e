"""What kills the worker again and again is found, set aside and shown; nobody else waits for it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic, sleep

import pytest
from django.test import Client
from django.utils import timezone

from devices import poison, tasks
from devices.loop import Loop, Talk
from devices.models import AuditEvent, Beat, CloudAccount, OtaJob, Role, State, Suspect
from devices.poison import FIRST_PARK, PARK_AFTER, blame
from tests.factories import make_account, make_household, make_job, make_node, make_user
from tests.terminal import Terminal, a_terminal

LEASE = timedelta(seconds=45)


@pytest.fixture
def account() -> CloudAccount:
    return make_account(make_household())


def die_over(*keys: str, loop: str = "installs") -> None:
    """Leave the lease as a process does that was killed over these conversations."""
    assert Beat.take(loop, "dead", timezone.now() - timedelta(hours=1), LEASE)
    assert Beat.about_to(loop, "dead", keys)


def talk(account: CloudAccount, name: str, said: list[str], put_off: list[str]) -> Talk:
    """Return a conversation that takes a moment and notes that it was had, or put off."""

    def say(_client: object) -> None:
        sleep(0.05)

    def write(_answer: object, _now: datetime) -> None:
        said.append(name)

    def later(_now: datetime) -> None:
        put_off.append(name)

    return Talk(name, account, say, write, lambda problem, now: None, later)


def run(account: CloudAccount, *names: str, loop: str = "installs") -> list[str]:
    """Run a loop that talks about each of these once; return the order in which it did."""
    said: list[str] = []
    put_off: list[str] = []

    def find(_now: datetime, busy: frozenset[object]) -> Iterator[Talk]:
        for name in names:
            if name not in busy and name not in said and name not in put_off:
                yield talk(account, name, said, put_off)

    Loop(loop, find, lambda now: len(said) + len(put_off) >= len(names)).run()
    return said


@pytest.mark.django_db
def test_what_a_loop_gives_back_is_no_death(account: CloudAccount) -> None:
    assert sorted(run(account, "a", "b")) == ["a", "b"]
    run(account, "a")
    assert not Suspect.objects.exists()
    assert Beat.objects.get(name="installs").under_way == []


@pytest.mark.django_db
def test_all_that_was_under_way_is_suspect_and_cleared_by_living_through_it(
    account: CloudAccount,
) -> None:
    die_over("a", "b")
    seen: list[set[str]] = []

    def find(_now: datetime, busy: frozenset[object]) -> Iterator[Talk]:
        seen.append(set(Suspect.of("installs")))
        yield from ()

    Loop("installs", find, lambda now: bool(seen)).run()
    assert seen[0] == {"a", "b"}
    assert sorted(run(account, "a", "b", "c")) == ["a", "b", "c"]
    assert not Suspect.objects.exists()


@pytest.mark.django_db
def test_suspects_take_turns_so_that_the_guilty_one_is_found(account: CloudAccount) -> None:
    die_over("a", "b", "c")
    blame("installs", Beat.left_behind("installs", "dead"), timezone.now())
    together: list[set[object]] = []
    said: list[str] = []

    def find(_now: datetime, busy: frozenset[object]) -> Iterator[Talk]:
        together.append(set(busy))
        for name in ("a", "b", "c", "innocent"):
            if name not in busy and name not in said:
                yield talk(account, name, said, [])

    Beat.give_back("installs", "dead")
    Loop("installs", find, lambda now: len(said) == 4).run()
    assert sorted(said) == ["a", "b", "c", "innocent"]
    assert all(len(one - {"innocent"}) <= 1 for one in together)


@pytest.mark.django_db
def test_after_the_third_death_it_is_set_aside_recorded_and_left_alone(
    account: CloudAccount,
) -> None:
    job = make_job(make_node(account, name="Back porch"), state=State.RUNNING)
    key = f"job:{job.pk}"
    for _ in range(PARK_AFTER - 1):
        blame("installs", [key], timezone.now())
    assert not AuditEvent.objects.filter(action="worker.set_aside").exists()
    blame("installs", [key], timezone.now())
    event = AuditEvent.objects.get(action="worker.set_aside")
    assert "died 3 times while it dealt with the install of 5.3.3 on Back porch" in event.sentence
    assert event.job_id == job.pk
    assert run(account, key, "other") == ["other"]
    assert run(account, key, loop="chores") == [key], "another loop has its own books"


@pytest.mark.django_db
def test_each_further_time_it_is_left_alone_for_longer() -> None:
    now = timezone.now()
    pauses = []
    for _ in range(PARK_AFTER + 9):
        blame("installs", ["x"], now)
        parked = Suspect.objects.get().parked_until
        if parked is not None:
            pauses.append(parked - now)
    assert pauses[:3] == [FIRST_PARK, 2 * FIRST_PARK, 4 * FIRST_PARK]
    assert pauses[-1] == poison.LONGEST_PARK


@pytest.mark.django_db
def test_a_job_that_is_set_aside_still_expires_in_time(account: CloudAccount) -> None:
    now = timezone.now()
    job = make_job(make_node(account), expires_at=now - timedelta(seconds=1))
    for _ in range(PARK_AFTER):
        blame("installs", [f"job:{job.pk}"], now)
    Loop("installs", tasks.find_installs, tasks.installs_are_idle).run()
    job.refresh_from_db()
    assert (job.state, job.outcome) == (State.EXPIRED, "not_sent_in_time")


@pytest.mark.django_db
def test_the_page_says_so_and_a_person_has_it_taken_up(account: CloudAccount) -> None:
    job = make_job(make_node(account), state=State.RUNNING)
    for _ in range(PARK_AFTER):
        blame("installs", [f"job:{job.pk}"], timezone.now())
    OtaJob.objects.update(next_poll_at=timezone.now() + timedelta(minutes=1))
    client = Client()
    client.force_login(make_user(role=Role.VIEWER, household=account.household))
    page = f"/installs/{job.pk}/"
    text = client.get(page).content.decode()
    assert "We stopped asking about this install for now." in text
    assert "Ask again now" not in text
    assert client.post(f"{page}again/").status_code == 403
    client.force_login(make_user(role=Role.MEMBER, household=account.household))
    assert "Ask again now" in client.get(page).content.decode()
    assert client.get("/readyz").json()["parts"]["queue"]["set_aside"] == 1
    assert client.post(f"{page}again/").status_code == 302
    assert client.post(f"{page}again/").status_code == 302
    assert AuditEvent.objects.filter(action="install.taken_up").count() == 1
    assert "We stopped asking" not in client.get(page).content.decode()
    job.refresh_from_db()
    assert job.next_poll_at is not None
    assert job.next_poll_at <= timezone.now()


DEADLY = """
import os, signal, sys
from devices import tasks
from devices.cloud.client import RainmakerClient
from devices.loop import Loop
from devices.watchdog import Watchdog

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
Loop("installs", tasks.find_installs, tasks.installs_are_idle, make_client=Deadly).run()
"""
CONFIRM = """
from devices.models import Node, User
from tests.engine import confirm
for node in Node.objects.order_by("pk"):
    confirm(User.objects.get(email="owner@example.com"), node)
"""


@pytest.mark.processes
def test_a_reply_that_kills_the_worker_is_set_aside_and_the_others_are_verified(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with a_terminal(tmp_path_factory.mktemp("poison"), hubs=3) as terminal:
        poisonous = terminal.cloud.node_ids()[0]
        terminal.ok("shell", "--no-imports", "-c", CONFIRM)
        deaths = 0
        until = monotonic() + 240
        while states(terminal) != ["running", "verified", "verified"] or deaths < PARK_AFTER:
            assert monotonic() < until, states(terminal)
            done = terminal.run("shell", "--no-imports", "-c", DEADLY.replace("POISON", poisonous))
            deaths += done.returncode == -signal.SIGKILL
            assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        assert deaths == PARK_AFTER
        assert terminal.trail("worker.set_aside") == [
            ("Thermacell Web", "worker", "worker", "failed")
        ]
        # the reply is harmless again, and a person asks
        terminal.ok("shell", "--no-imports", "-c", ASK_AGAIN)
        with a_worker(terminal):
            verified(terminal, 3)
        assert terminal.accepted(0) == terminal.accepted(1) == terminal.accepted(2) == 1


ASK_AGAIN = """
from devices.installs import ask_again
from devices.models import Actor, OtaJob, Suspect
ask_again(OtaJob.objects.get(state="running"), actor=Actor(name="owner@example.com", role="owner"))
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
from devices.wake import wake_installs
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
