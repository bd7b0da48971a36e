"""A hub whose calls fail or stall keeps its trouble to itself: its neighbours go on."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.models import CloudAccount, Node, OtaJob, State
from devices.rainmaker.client import RainmakerClient
from devices.worker import cloud_tasks
from devices.worker.runner import CloudTask, Runner, Taken
from tests.support.engine import PASSWORD, confirm, link, run_until
from tests.support.factories import make_account, make_household, make_job, make_node, make_owner
from tests.support.simcloud_process import SimCloud

PACE = 40
GARDEN = "garden@example.com"
pytestmark = pytest.mark.django_db


@pytest.fixture
def cloud(settings: Any) -> Iterator[SimCloud]:
    settings.ENGINE_PACE = PACE
    with SimCloud(hubs=4, speed=PACE, offers=0, users=[f"{GARDEN}:{PASSWORD}"]) as started:
        for index in range(4):
            started.control("POST", f"/hubs/{index}/offer", {"fw_version": "6.0.0"})
            started.control("PUT", f"/hubs/{index}/online", {"online": True})
        yield started


@pytest.mark.processes
def test_two_sick_hubs_do_not_hold_up_their_neighbours(cloud: SimCloud) -> None:
    household = make_household()
    owner = make_owner(household)
    account = link(cloud, household, owner, GARDEN)
    nodes = list(account.nodes.select_related("account__household").order_by("pk"))
    # after its push one hub's description answers 500, another's stalls without an answer
    jobs = [confirm(owner, node) for node in nodes]
    sick, stalled, *honest = jobs
    sent = OtaJob.objects.filter(pushed_at__isnull=False)
    run_until(lambda: sent.filter(pk__in=[sick.pk, stalled.pk]).count() == 2)
    faults = ((sick, "500"), (stalled, "cut_after"))
    for job, kind in faults:
        fault = {"kind": kind, "path": "*/config", "method": "GET", "count": 10_000}
        cloud.control("POST", "/faults", {**fault, "node_id": job.cloud_node_id})
    rests: list[int] = []

    def are_over() -> bool:
        rests.append(CloudAccount.objects.get(pk=account.pk).failures)
        return not OtaJob.objects.live().filter(pk__in=[job.pk for job in honest]).exists()

    run_until(are_over, limit_s=40)
    for job in honest:
        job.refresh_from_db()
        assert (job.state, job.outcome) == (State.VERIFIED, "verified")
    assert not any(rests)

    def is_sick_over() -> bool:
        sick.refresh_from_db()
        return not sick.is_live

    run_until(is_sick_over, limit_s=60)
    assert (sick.state, sick.outcome) == (State.LOST, "version_not_read")
    assert sick.version_trouble == "server_trouble"
    assert sick.status_trouble == ""
    assert sick.asked_at is not None


class Recorded(CloudTask[None]):
    """A call that the runner would make."""

    def __init__(self, number: int, node: Node, *, is_troubled: bool) -> None:
        super().__init__(("job", number), node.account)
        self.is_troubled = is_troubled

    def call(self, client: RainmakerClient) -> None:
        return None

    def on_result(self, answer: None, now: Any) -> None:
        return None

    def on_error(self, error: Any, now: Any) -> None:
        return None


def test_hubs_in_trouble_take_one_call_of_an_account_at_a_time() -> None:
    node = make_node()
    tasks = [Recorded(number, node, is_troubled=number < 6) for number in range(10)]
    runner = Runner("test", lambda now, busy: tasks, lambda now: True)
    chosen = [task.key for task in runner._chosen(timezone.now())]
    assert chosen == [("job", 0), ("job", 6), ("job", 7), ("job", 8)]


def test_due_installs_go_by_a_persons_push_first_then_by_who_waits_longest() -> None:
    account, now = make_account(), timezone.now()

    def due(asked_s: int | None, **fields: Any) -> OtaJob:
        asked_at = None if asked_s is None else now - timedelta(seconds=asked_s)
        return make_job(
            make_node(account), now=now - timedelta(minutes=9), asked_at=asked_at, **fields
        )

    recent = due(10, state=State.RUNNING)
    long_ago = due(500, state=State.RUNNING)
    from_queue = due(None, requested_via="queue")
    mine = due(20)
    found = [task.key[1] for task in cloud_tasks.find_installs(now, Taken())]  # type: ignore[index]
    assert found == [mine.pk, from_queue.pk, long_ago.pk, recent.pk]


def test_installs_in_flight_take_no_turn_from_those_that_wait() -> None:
    account, now = make_account(), timezone.now()
    long_ago = now - timedelta(minutes=5)
    stalled = [make_job(make_node(account), state=State.RUNNING, now=long_ago) for _ in range(20)]
    waiting = make_job(make_node(account), state=State.RUNNING, now=long_ago, asked_at=now)
    busy = Taken(frozenset(("job", job.pk) for job in stalled))
    assert [task.key for task in cloud_tasks.find_installs(now, busy)] == [("job", waiting.pk)]
