"""A worker that is asked to stop: its loops start nothing new, also in the processes it forked."""

from collections.abc import Callable
from multiprocessing import get_context

import pytest
from django.utils import timezone

from devices import tasks
from devices.models import State
from devices.worker import stop_flag
from devices.worker.runner import Runner
from tests.support.factories import make_account, make_job, make_node


@pytest.fixture(autouse=True)
def lowered() -> None:
    stop_flag._flag.value = 0


def test_a_process_forked_before_the_flag_was_raised_sees_it() -> None:
    context = get_context("fork")
    here, there = context.Pipe()

    def wait_for_the_flag() -> None:
        there.send(stop_flag.is_raised())
        there.recv()
        there.send(stop_flag.is_raised())

    process = context.Process(target=wait_for_the_flag)
    process.start()
    assert here.recv() is False
    stop_flag.raise_flag()
    here.send("look again")
    assert here.recv() is True
    process.join(timeout=10)


def test_a_worker_that_is_to_stop_stops_none_that_comes_after_it() -> None:
    context = get_context("fork")  # as the start forks one after the other

    def be_a_worker_that_stops() -> None:
        stop_flag.begin()
        stop_flag.raise_flag()

    process = context.Process(target=be_a_worker_that_stops)
    process.start()
    process.join(timeout=10)
    assert not stop_flag.is_raised()


@pytest.mark.django_db
@pytest.mark.parametrize("loop", [tasks.installs_loop, tasks.chores_loop])
def test_a_loop_that_is_to_stop_starts_nothing(
    loop: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    account = make_account(next_sync_at=timezone.now())
    make_job(make_node(account), state=State.RUNNING, next_poll_at=timezone.now())
    started: list[str] = []
    monkeypatch.setattr(Runner, "_start", lambda self, *_: started.append(self.name))
    stop_flag.raise_flag()
    loop()
    assert started == []
