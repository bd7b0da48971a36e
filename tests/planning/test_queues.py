"""Queues: one confirmation for several hubs, carried out one by one, through real loops."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.installs.confirmation import snapshot_offer
from devices.models import (
    AuditEvent,
    BatchState,
    Household,
    Node,
    OtaJob,
    PlanState,
    Role,
    State,
    When,
)
from devices.planning import planner, queues
from devices.planning.plans import StalePlan, move_to, timing_of
from tests.support.engine import PASSWORD, link, run_until
from tests.support.factories import make_household, make_offer, make_owner, person
from tests.support.people import browser
from tests.support.queues import Home, end, offered, states
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.django_db


def test_hubs_go_one_by_one() -> None:
    home = Home()
    batch = home.request()
    now = timezone.now()
    for _ in range(3):
        planner.advance(now)
    assert states(batch) == ["requested", "waiting", "waiting"]
    end(batch, 1, State.VERIFIED)
    planner.advance(timezone.now())
    assert states(batch) == ["verified", "requested", "waiting"]


def test_more_at_a_time_when_asked_for() -> None:
    batch = Home(hubs=5).request(at_once=2)
    planner.advance(timezone.now())
    assert states(batch).count("requested") == 2


def test_an_offline_hub_is_skipped_with_its_reason() -> None:
    home = Home()
    batch = home.request()
    Node.objects.filter(pk=home.nodes[0].pk).update(is_online=False)
    planner.advance(timezone.now())
    assert states(batch) == ["dropped", "requested", "waiting"]
    assert "offline" in batch.items.get(position=1).reason.english


def test_a_failure_stops_the_queue_until_a_person_resumes_it() -> None:
    home = Home()
    batch = home.request()
    planner.advance(timezone.now())
    end(batch, 1, State.UNVERIFIED)
    planner.advance(timezone.now())
    batch.refresh_from_db()
    assert batch.state == BatchState.STOPPED
    assert states(batch) == ["unverified", "waiting", "waiting"]
    queues.resume(batch, user=home.owner, actor=person(home.owner))
    planner.advance(timezone.now())
    assert states(batch) == ["unverified", "requested", "waiting"]
    end(batch, 2, State.FAILED)
    planner.advance(timezone.now())
    batch.refresh_from_db()
    assert batch.state == BatchState.STOPPED


def test_told_so_it_goes_on_after_a_failure() -> None:
    batch = Home().request(stops_on_failure=False)
    planner.advance(timezone.now())
    end(batch, 1, State.FAILED)
    planner.advance(timezone.now())
    assert states(batch) == ["failed", "requested", "waiting"]


def test_what_was_confirmed_is_what_is_asked_for() -> None:
    """An offer that changed while the hub waited its turn is not installed."""
    home = Home()
    batch = home.request()
    home.nodes[0].offers.update(ended_at=timezone.now())
    make_offer(home.nodes[0], fw_version="9.9.9")
    planner.advance(timezone.now())
    assert states(batch) == ["dropped", "requested", "waiting"]
    assert (
        "offer has changed since the form was opened" in batch.items.get(position=1).reason.english
    )


def test_a_person_who_lost_the_right_starts_nothing_more() -> None:
    home = Home()
    batch = home.request()
    home.owner.memberships.update(role=Role.VIEWER)
    planner.advance(timezone.now())
    assert states(batch) == ["dropped", "dropped", "dropped"]
    assert not OtaJob.objects.exists()


def test_a_signed_out_account_stops_the_queue_and_keeps_what_waits() -> None:
    home = Home()
    batch = home.request()
    home.nodes[0].account.state = "signed_out"
    home.nodes[0].account.save()
    planner.advance(timezone.now())
    batch.refresh_from_db()
    assert batch.state == BatchState.STOPPED
    assert "Sign in to the cloud account again" in batch.why_stopped.english
    assert states(batch) == ["waiting"] * 3


def test_hubs_of_a_cloud_that_does_not_answer_keep_their_turn() -> None:
    home = Home()
    batch = home.request()
    now = timezone.now()
    account = home.nodes[0].account
    account.resume_at = now + timedelta(minutes=2)
    account.save()
    planner.advance(now)
    assert states(batch) == ["waiting"] * 3
    planner.advance(now + timedelta(minutes=3))
    assert states(batch) == ["requested", "waiting", "waiting"]


def test_a_confirmation_does_not_last_for_ever() -> None:
    home = Home()
    batch = home.request()
    planner.advance(timezone.now() + queues.VALID)
    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED
    assert states(batch) == [PlanState.EXPIRED] * 3
    with pytest.raises(queues.QueueError):
        queues.resume(batch, user=home.owner, actor=person(home.owner))


def test_stopping_lets_what_runs_go_on() -> None:
    home = Home()
    batch = home.request()
    planner.advance(timezone.now())
    batch.refresh_from_db()
    queues.stop(batch, actor=person(home.owner))
    planner.advance(timezone.now())
    assert states(batch) == ["requested", "waiting", "waiting"]
    with pytest.raises(queues.QueueError):
        queues.stop(batch, actor=person(home.owner))


def test_an_item_taken_twice_starts_once() -> None:
    """Two workers that both believe the lease is theirs."""
    home = Home(hubs=1)
    batch = home.request()
    now = timezone.now()
    item, stale = batch.items.get(), batch.items.get()
    move_to(item, PlanState.CANCELLED, actor=person(home.owner), note="Mine.", now=now)
    with pytest.raises(StalePlan):
        move_to(stale, PlanState.STARTED, actor=person(home.owner), note="", now=now)
    planner.advance(now)
    assert not OtaJob.objects.exists()


def test_a_finished_queue_says_so_in_the_trail() -> None:
    home = Home(hubs=2)
    batch = home.request(at_once=2)
    planner.advance(timezone.now())
    end(batch, 1, State.VERIFIED)
    end(batch, 2, State.VERIFIED)
    planner.advance(timezone.now())
    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED
    actions = AuditEvent.objects.order_by("sequence").values_list("action", flat=True)
    assert list(actions) == [
        "queue.requested",
        "install.requested",
        "install.requested",
        "queue.finished",
    ]


def test_a_stopped_queue_costs_nothing_however_many_hubs_wait(
    django_assert_max_num_queries: Any,
) -> None:
    """Its hubs are not looked at until it goes on, also those that are in use."""
    home, now = Home(hubs=12), timezone.now()
    Node.objects.update(repellent="protected")
    idle = timing_of(When.IDLE, home.household, now)
    batch = home.request(timing=idle, now=now)
    planner.advance(now)
    queues.stop(batch, actor=person(home.owner), now=now)
    planner.advance(now)
    for minutes in (1, 30, 300):
        later = now + timedelta(minutes=minutes)
        with django_assert_max_num_queries(5):
            planner.advance(later)
        with django_assert_max_num_queries(1):
            assert planner.is_idle(later)
    Node.objects.update(repellent="off", idle_since=now)
    batch.refresh_from_db()
    queues.resume(batch, user=home.owner, actor=person(home.owner), now=later)
    planner.advance(later)
    assert states(batch) == ["requested", *["waiting"] * 11]


def test_a_stopped_queue_of_which_nothing_waits_any_more_is_through() -> None:
    home = Home()
    batch = home.request()
    queues.stop(batch, actor=person(home.owner))
    planner.advance(timezone.now() + queues.VALID)
    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED
    assert states(batch) == [PlanState.EXPIRED] * 3


@pytest.mark.parametrize("pk", ["x", "", "99999999999999999999", "9" * 5_000, "²"])
def test_a_hub_that_cannot_be_an_id_is_left_out(pk: str) -> None:
    client = browser(Home().owner)
    assert client.get("/queues/new/", {"hub": pk}).status_code == 200
    answer = client.post("/queues/new/", {"hub": pk, "agreed": "bad"})
    assert answer.status_code == 409
    assert "Nothing was sent" in answer.content.decode()


@pytest.fixture
def cloud() -> Iterator[SimCloud]:
    with SimCloud(hubs=4, offers=1.0, speed=60, users=[f"porch@example.com:{PASSWORD}"]) as opened:
        yield opened


@pytest.mark.django_db(transaction=True)
def test_a_queue_runs_to_its_end_against_a_cloud(cloud: SimCloud, settings: Any) -> None:
    settings.ENGINE_PACE = 60
    household: Household = make_household("Garden house")
    owner = make_owner(household)
    account = link(cloud, household, owner, "porch@example.com")
    nodes = list(account.nodes.order_by("name"))
    fit = [node for node in nodes if node.offer is not None and node.is_online]
    assert len(fit) > 1
    batch = queues.request(
        user=owner,
        household=household,
        chosen=[(node, snapshot_offer(node, offered(node))) for node in fit],
        at_once=1,
        stops_on_failure=True,
        actor=person(owner),
    )
    most = 0

    def is_over() -> bool:
        nonlocal most
        batch.refresh_from_db()
        most = max(most, OtaJob.objects.live().count())
        return batch.state != BatchState.RUNNING

    run_until(is_over, limit_s=120)
    assert states(batch) == ["verified"] * len(fit)
    assert most == 1
    for node in fit:
        assert cloud.pushes(node.node_id) == {"accepted": 1}


def test_a_queue_that_cannot_be_read_holds_up_no_other() -> None:
    damaged, due = Home().request(), Home().request()
    damaged.items.update(binding={})
    planner.advance(timezone.now())
    assert states(damaged) == ["waiting", "waiting", "waiting"]
    assert states(due) == ["requested", "waiting", "waiting"]
