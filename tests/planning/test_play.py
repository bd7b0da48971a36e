"""The next day in fast time: it says what the planner then does, and changes nothing."""

from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.explanations.reasons import ReasonCode
from devices.installs.confirmation import snapshot_offer
from devices.models import AuditEvent, Node, OtaJob, Plan, State, When
from devices.planning import plans, queues
from devices.planning.play import MOST, TAKES, Played, play
from tests.support.client import Client
from tests.support.factories import make_node, make_offer, person
from tests.support.plans import NIGHT, NOON, Home, at, look

pytestmark = pytest.mark.django_db
TEN = at("2026-06-01T22:00")


def of(played: list[Played], node: Node) -> Played:
    [one] = [one for one in played if one.plan.node_id == node.pk]
    return one


def codes(one: Played) -> list[ReasonCode]:
    return [wait.reason.code for wait in one.waits]


def test_it_says_what_the_planner_then_does():
    home = Home(hubs=4)
    first, second, off, used = home.nodes
    for node in home.nodes:
        home.plan(node=node)
    home.set(off, is_online=False)
    home.set(used, repellent="protected")

    played, _ = play(home.household, NOON)

    assert [one.plan.node_id for one in played[:2]] == [first.pk, second.pk]
    assert of(played, first).starts_at == TEN
    assert codes(of(played, first)) == [ReasonCode.OUTSIDE_WINDOW]
    assert of(played, second).starts_at == TEN + TAKES
    assert codes(of(played, second)) == [ReasonCode.OUTSIDE_WINDOW, ReasonCode.TURN]
    assert of(played, off).starts_at is None
    assert codes(of(played, off))[:2] == [ReasonCode.OUTSIDE_WINDOW, ReasonCode.HUB_OFFLINE]
    assert of(played, used).starts_at is None
    assert ReasonCode.IN_USE in codes(of(played, used))

    assert look(TEN - timedelta(seconds=1)) == []
    [job] = look(TEN)
    assert job.node_id == first.pk
    assert len(look(TEN + TAKES - timedelta(minutes=1))) == 1
    OtaJob.objects.update(
        state=State.VERIFIED, outcome="verified", ended_at=TEN + TAKES, next_poll_at=None
    )
    assert [job.node_id for job in look(TEN + TAKES)] == [first.pk, second.pk]
    assert len(look(at("2026-06-02T04:59"))) == 2


def test_a_plan_for_a_set_time_that_meets_its_end_says_so():
    home = Home(hubs=2)
    early, late = home.nodes
    home.plan(When.AT, node=early, clock=at("2026-06-01T14:00"))
    plan = home.plan(When.AT, node=late, clock=at("2026-06-01T15:00"))
    home.set(late, is_online=False)
    played, _ = play(home.household, NOON)
    assert of(played, early).starts_at == at("2026-06-01T14:00")
    assert of(played, late).ends_at == plan.expires_at
    assert codes(of(played, late))[0] == ReasonCode.TOO_EARLY


def test_an_install_under_way_keeps_the_next_one_waiting_as_long_as_it_usually_takes():
    home = Home(hubs=2)
    for node in home.nodes:
        home.plan(node=node, now=NIGHT)
    [job] = look(NIGHT)
    OtaJob.objects.filter(pk=job.pk).update(pushed_at=NIGHT)
    [waits], _ = play(home.household, NIGHT + timedelta(minutes=1))
    assert waits.starts_at == NIGHT + TAKES


def test_a_queue_goes_on_by_its_own_width():
    home = Home(hubs=3)

    chosen = [(node, snapshot_offer(node, node.offer)) for node in home.nodes if node.offer]
    queues.request(
        user=home.owner,
        household=home.household,
        chosen=chosen,
        at_once=2,
        stops_on_failure=True,
        actor=person(home.owner),
        timing=plans.timing_of(When.TONIGHT, home.household, NOON),
        now=NOON,
    )
    starts = [one.starts_at for one in play(home.household, NOON)[0]]
    assert starts == [TEN, TEN, TEN + TAKES]


def test_it_changes_nothing_and_asks_little():
    home = Home(hubs=2)
    for node in home.nodes:
        home.plan(node=node)
    before = list(Plan.objects.order_by("pk").values())
    events = AuditEvent.objects.count()
    with CaptureQueriesContext(connection) as few:
        play(home.household, NOON)
    assert list(Plan.objects.order_by("pk").values()) == before
    assert AuditEvent.objects.count() == events
    assert not OtaJob.objects.exists()

    bigger = Home(hubs=12)
    for node in bigger.nodes:
        bigger.plan(node=node)
    with CaptureQueriesContext(connection) as many:
        play(bigger.household, NOON)
    assert len(many) == len(few)


def test_its_page_names_the_time_and_the_reason(client):
    home = Home(hubs=2)
    home.plan(node=home.nodes[0])
    home.plan(node=home.nodes[1])
    home.set(home.nodes[1], is_online=False)
    with time_machine.travel(NOON, tick=False):
        client.force_login(home.owner)
        page = client.get(reverse("planned_play", args=[home.household.pk])).content.decode()
        listed = client.get(reverse("planned")).content.decode()
    assert "22:00" in page
    assert "Not in this time" in page
    assert reverse("planned_play", args=[home.household.pk]) in listed


def test_its_page_says_how_many_it_leaves_out(client: Client) -> None:
    home = Home()
    nodes = [make_node(home.account, name=f"More {n}") for n in range(MOST)]
    offers = [make_offer(node) for node in nodes]
    chosen = [
        (node, snapshot_offer(node, offer)) for node, offer in zip(nodes, offers, strict=True)
    ]
    home.plan()
    plans.make(
        chosen,
        plans.timing_of(When.TONIGHT, home.household, NOON),
        household=home.household,
        user=home.owner,
        actor=person(home.owner),
        now=NOON,
    )
    with time_machine.travel(NOON, tick=False):
        client.force_login(home.owner)
        page = client.get(reverse("planned_play", args=[home.household.pk])).content.decode()
    assert "1 more hub is not shown." in page
