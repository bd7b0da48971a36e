"""The loops: accounts take turns, a lease is held by one, a poisonous talk stops nobody."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices import tasks
from devices.loop import THREADS_PER_ACCOUNT, Loop, Talk
from devices.models import Beat, CloudAccount, Node, OtaJob, State
from tests.factories import make_account, make_household, make_job, make_node

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
    found = [talk.account.pk for talk in tasks.find_chores(timezone.now(), frozenset())]
    assert small.pk in found[:2]
    assert found.count(large.pk) == THREADS_PER_ACCOUNT


def test_no_install_waits_behind_those_of_another_account() -> None:
    large, small = make_account(), make_account()
    before = timezone.now() - timedelta(minutes=1)
    for _ in range(80):
        make_job(make_node(large), state=State.RUNNING, next_poll_at=before)
    job = make_job(make_node(small), state=State.REQUESTED)
    found = [talk.key for talk in tasks.find_installs(timezone.now(), frozenset())]
    assert ("job", job.pk) in found[:2]


def test_a_resting_account_is_left_alone_and_its_expired_confirmation_ends() -> None:
    now = timezone.now()
    account = make_account(resume_at=now + timedelta(minutes=5), failures=3)
    late = make_job(make_node(account), expires_at=now - timedelta(seconds=1))
    sent = make_job(make_node(account), state=State.RUNNING)
    assert list(tasks.find_installs(timezone.now(), frozenset())) == []
    late.refresh_from_db()
    sent.refresh_from_db()
    assert (late.state, late.outcome) == (State.EXPIRED, "not_sent_in_time")
    assert sent.state == State.RUNNING
    assert sent.next_poll_at is not None
    assert sent.next_poll_at > now


def test_a_lost_install_of_an_unlinked_account_is_not_listened_to_for_ever() -> None:
    now = timezone.now()
    job = make_job(
        make_node(make_account(state="unlinked")),
        state=State.LOST,
        next_poll_at=now,
        listen_until=now - timedelta(seconds=1),
    )
    assert list(tasks.find_installs(timezone.now(), frozenset())) == []
    assert OtaJob.objects.get(pk=job.pk).next_poll_at is None


def test_a_lease_is_held_by_one_until_it_runs_out() -> None:
    now = timezone.now()
    assert Beat.take("installs", "a", now, LEASE)
    assert not Beat.take("installs", "b", now + timedelta(seconds=44), LEASE)
    assert Beat.take("installs", "b", now + timedelta(seconds=46), LEASE)
    assert not Beat.renew("installs", "a", now + timedelta(seconds=47), LEASE)
    Beat.give_back("installs", "a")
    assert not Beat.take("installs", "c", now + timedelta(seconds=48), LEASE)


def test_a_poisonous_conversation_stops_nobody_else() -> None:
    account = make_account(make_household())
    written: list[str] = []
    waiting = ["poison", "good", "bad writer", "fine"]

    def say(name: str) -> Any:
        def speak(_client: object) -> str:
            if name == "poison":
                raise ValueError("a fault of ours")
            return name

        return speak

    def write(name: str, _now: object) -> None:
        if name == "bad writer":
            raise KeyError(name)
        written.append(name)

    def find(_now: object, busy: frozenset[object]) -> Iterator[Talk]:
        while waiting:
            name = waiting.pop(0)
            yield Talk(name, account, say(name), write, lambda problem, now: None)

    Loop("test", find, lambda now: not waiting).run()
    assert sorted(written) == ["fine", "good"]
    assert Beat.objects.get(name="test").holder == ""


def test_a_hub_that_left_or_whose_account_is_signed_out_is_not_checked() -> None:
    gone = make_account()
    due_hubs(gone, 1, gone_at=timezone.now())
    due_hubs(make_account(state="signed_out"), 1)
    due_hubs(make_account(resume_at=timezone.now() + timedelta(minutes=1)), 1)
    assert not Node.objects.due_for_check(timezone.now()).exists()
