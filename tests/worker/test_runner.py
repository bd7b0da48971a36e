"""The loops: accounts take turns, one runner holds the lease, a faulty call stops no other."""

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.models import Beat, CloudAccount, Node, OtaJob, State
from devices.rainmaker.errors import CloudError
from devices.security.log_context import set_log_ids
from devices.security.log_formatter import SafeFormatter
from devices.taskqueue.leases import Lease
from devices.worker import cloud_tasks
from devices.worker.runner import THREADS_PER_ACCOUNT, CloudTask, Runner, Taken
from tests.support.factories import make_account, make_household, make_job, make_node

pytestmark = pytest.mark.django_db
LEASE = timedelta(seconds=45)


def due_hubs(account: CloudAccount, count: int, **fields: Any) -> None:
    for _ in range(count):
        make_node(account, next_check_at=timezone.now() - timedelta(hours=1), **fields)


def test_no_account_waits_behind_a_large_one() -> None:
    large, small = make_account(), make_account()
    CloudAccount.objects.update(next_sync_at=timezone.now() + timedelta(hours=1))
    due_hubs(large, 100, check_asked_at=timezone.now() - timedelta(hours=1))
    due_hubs(small, 1)
    found = [talk.account.pk for talk in cloud_tasks.find_chores(timezone.now(), Taken())]
    assert small.pk in found[:2]
    assert found.count(large.pk) == THREADS_PER_ACCOUNT


def test_a_check_that_a_person_asked_for_waits_behind_no_backlog() -> None:
    asked, now = make_account(), timezone.now()
    for _ in range(20):
        due_hubs(make_account(), 10)
    CloudAccount.objects.update(next_sync_at=now + timedelta(hours=1))
    due_hubs(asked, 6)
    node = make_node(asked, next_check_at=now, check_asked_at=now)
    found = [talk.key for talk in cloud_tasks.find_chores(timezone.now(), Taken())]
    assert found[0] == ("node", node.pk)
    full = Taken(full=frozenset({asked.pk}))
    keys = [talk.key for talk in cloud_tasks.find_chores(timezone.now(), full)]
    assert ("node", node.pk) not in keys
    in_flight = Taken(frozenset({("node", node.pk)}))
    keys = [talk.key for talk in cloud_tasks.find_chores(timezone.now(), in_flight)]
    assert len(keys) == len(set(keys)) == 32
    assert ("node", node.pk) not in keys


def test_accounts_in_trouble_whose_one_call_is_under_way_hold_up_no_other() -> None:
    """As many as are looked at together, each with more hubs that are due."""
    now = timezone.now()
    runner = Runner("test", cloud_tasks.find_chores, lambda now: True)
    for _ in range(cloud_tasks.ACCOUNTS_AT_ONCE):
        due_hubs(make_account(failures=1), 3)
    CloudAccount.objects.update(next_sync_at=now + timedelta(hours=1))
    for call in runner._chosen(now):
        runner.in_flight[Future()] = call
    assert len(runner.in_flight) == cloud_tasks.ACCOUNTS_AT_ONCE
    healthy = make_node(make_account(next_sync_at=now + timedelta(hours=1)), next_check_at=now)
    assert [call.key for call in runner._chosen(now)] == [("node", healthy.pk)]


def test_no_install_waits_behind_those_of_another_account() -> None:
    large, small = make_account(), make_account()
    before = timezone.now() - timedelta(minutes=1)
    for _ in range(80):
        make_job(make_node(large), state=State.RUNNING, next_poll_at=before)
    job = make_job(make_node(small), state=State.REQUESTED)
    found = [talk.key for talk in cloud_tasks.find_installs(timezone.now(), Taken())]
    assert ("job", job.pk) in found[:2]


def test_a_resting_account_is_left_alone_and_its_expired_confirmation_ends() -> None:
    now = timezone.now()
    account = make_account(resume_at=now + timedelta(minutes=5), failures=3)
    late = make_job(make_node(account), expires_at=now - timedelta(seconds=1))
    sent = make_job(make_node(account), state=State.RUNNING)
    cloud_tasks.advance_installs(timezone.now(), Taken())
    assert list(cloud_tasks.find_installs(timezone.now(), Taken())) == []
    late.refresh_from_db()
    sent.refresh_from_db()
    assert (late.state, late.outcome) == (State.EXPIRED, "not_sent_in_time")
    assert sent.state == State.RUNNING
    assert sent.next_poll_at is not None
    assert sent.next_poll_at > now


def test_a_lost_install_of_an_unlinked_account_is_not_polled_for_ever() -> None:
    now = timezone.now()
    job = make_job(
        make_node(make_account(state="unlinked")),
        state=State.LOST,
        next_poll_at=now,
        listen_until=now - timedelta(seconds=1),
    )
    cloud_tasks.advance_installs(timezone.now(), Taken())
    assert list(cloud_tasks.find_installs(timezone.now(), Taken())) == []
    assert OtaJob.objects.get(pk=job.pk).next_poll_at is None


def test_a_lease_is_held_by_one_until_it_runs_out() -> None:
    now = timezone.now()
    assert Lease("installs", LEASE, "a").acquire(now)
    assert not Lease("installs", LEASE, "b").acquire(now + timedelta(seconds=44))
    assert Lease("installs", LEASE, "b").acquire(now + timedelta(seconds=46))
    assert not Lease("installs", LEASE, "a").renew(now=now + timedelta(seconds=47))
    Lease("installs", LEASE, "a").release()
    assert not Lease("installs", LEASE, "c").acquire(now + timedelta(seconds=48))


def test_a_faulty_call_does_not_stop_the_others() -> None:
    account = make_account(make_household())
    written: list[str] = []
    waiting = ["poison", "good", "bad writer", "fine"]

    class Spoken(CloudTask[str]):
        def call(self, _client: object) -> str:
            if self.key == "poison":
                raise ValueError("a fault of ours")
            return str(self.key)

        def on_result(self, answer: str, _now: object) -> None:
            if answer == "bad writer":
                raise KeyError(answer)
            written.append(answer)

        def on_error(self, error: CloudError, _now: object) -> None:
            raise AssertionError(error)

    def find(_now: datetime, busy: Taken) -> Iterator[CloudTask[str]]:
        while waiting:
            yield Spoken(waiting.pop(0), account)

    Runner("test", find, lambda now: not waiting).run()
    assert sorted(written) == ["fine", "good"]
    assert Beat.objects.get(name="test").holder == ""


def test_what_a_call_logs_names_its_account_and_install(caplog: pytest.LogCaptureFixture) -> None:
    account = make_account(make_household())
    waiting = [("job", 12)]

    class Logged(CloudTask[None]):
        def call(self, _client: object) -> None:
            logging.warning("in a thread")

        def on_result(self, _answer: None, _now: object) -> None:
            logging.warning("in the runner")

        def on_error(self, error: CloudError, _now: object) -> None:
            raise AssertionError(error)

    def find(_now: datetime, busy: Taken) -> Iterator[CloudTask[None]]:
        while waiting:
            yield Logged(waiting.pop(), account)

    set_log_ids()  # those of a request before
    caplog.handler.setFormatter(SafeFormatter("%(message)s"))
    Runner("test", find, lambda now: not waiting).run()
    ids = f"[job=12 account={account.pk}]"
    assert caplog.text.splitlines() == [f"in a thread {ids}", f"in the runner {ids}"]


def test_a_hub_that_left_or_whose_account_is_signed_out_is_not_checked() -> None:
    gone = make_account()
    due_hubs(gone, 1, gone_at=timezone.now())
    due_hubs(make_account(state="signed_out"), 1)
    due_hubs(make_account(resume_at=timezone.now() + timedelta(minutes=1)), 1)
    assert not Node.objects.due_for_check(timezone.now()).exists()
