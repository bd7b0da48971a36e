"""Choosing when an install starts, and the page of what is planned."""

from datetime import timedelta

import pytest
import time_machine
from django.urls import reverse
from django.utils import timezone

from devices.fleet.attention import count, hubs_of
from devices.installs.confirmation import sign, snapshot_offer
from devices.models import AuditEvent, Batch, Node, OtaJob, Plan, PlanState, Role, State, When
from devices.models.attention import Attention
from devices.planning import planner
from tests.support.client import Client
from tests.support.factories import (
    make_job,
    make_offer,
    make_plan,
    make_proposal,
    make_user,
    person,
)
from tests.support.people import browser
from tests.support.plans import NIGHT, NOON, Home, at, look

pytestmark = pytest.mark.django_db


@pytest.fixture
def home() -> Home:
    return Home()


def agreed(node: Node) -> str:
    assert node.offer is not None
    return sign(snapshot_offer(node, node.offer))


def text_of(client: Client, path: str) -> str:
    return " ".join(client.get(path).content.decode().split())


@pytest.mark.parametrize("when", ["tonight", "idle"])
def test_the_form_plans_exactly_what_it_showed(home: Home, when: str) -> None:
    client, path = browser(home.owner), f"/hubs/{home.node.pk}/install/"
    page = text_of(client, path)
    assert all(f'value="{one}"' in page for one in ("now", "tonight", "idle", "at"))
    answer = client.post(path, {"agreed": agreed(home.node), "when": when})
    assert answer["Location"] == f"/hubs/{home.node.pk}/"
    plan = Plan.objects.get()
    assert (plan.when, plan.requested_by) == (when, home.owner)
    assert home.node.offer is not None
    assert plan.binding == snapshot_offer(home.node, home.node.offer).dump()
    assert not OtaJob.objects.exists()
    assert "Planned:" in text_of(client, f"/hubs/{home.node.pk}/")


def test_now_is_what_happens_without_a_choice(home: Home) -> None:
    client, path = browser(home.owner), f"/hubs/{home.node.pk}/install/"
    answer = client.post(path, {"agreed": agreed(home.node)})
    assert answer["Location"] == f"/installs/{OtaJob.objects.get().pk}/"
    assert not Plan.objects.exists()


def test_a_time_is_one_on_the_clock_of_the_household(home: Home) -> None:
    path = f"/hubs/{home.node.pk}/install/"
    with time_machine.travel(NOON, tick=False):
        client = browser(home.owner)
        body = {"agreed": agreed(home.node), "when": "at", "at": "2026-06-05T02:00"}
        client.post(path, body)
        plan = Plan.objects.get()
        assert plan.not_before.isoformat() == "2026-06-05T00:00:00+00:00"
        assert "5 Jun 02:00" in text_of(client, "/")
        for wrong in ("", "soon", "2026-05-01T02:00", "2027-06-05T02:00"):
            answer = client.post(path, body | {"at": wrong})
            assert answer.status_code == 409, wrong
    assert Plan.objects.get() == plan


def test_an_offline_hub_is_no_dead_end(home: Home) -> None:
    home.set(is_online=False)
    client = browser(home.owner)
    assert "Install when it is back online" in text_of(client, f"/hubs/{home.node.pk}/")
    page = text_of(client, f"/hubs/{home.node.pk}/install/")
    assert 'value="online"' in page
    assert 'value="now"' not in page
    client.post(f"/hubs/{home.node.pk}/install/", {"agreed": agreed(home.node), "when": "online"})
    assert "When back online" in text_of(client, "/")
    assert look(timezone.now()) == []
    home.set(is_online=True)
    assert len(look(timezone.now())) == 1


def test_now_is_refused_for_a_hub_that_went_offline(home: Home) -> None:
    body = {"agreed": agreed(home.node), "when": "now"}
    home.set(is_online=False)
    answer = browser(home.owner).post(f"/hubs/{home.node.pk}/install/", body)
    assert answer.status_code == 409
    assert "The hub is offline" in answer.content.decode()


def test_another_offer_than_shown_is_not_planned(home: Home) -> None:
    body = {"agreed": agreed(home.node), "when": "tonight"}
    home.node.offers.update(ended_at=timezone.now())
    make_offer(home.node, fw_version="9.9.9")
    answer = browser(home.owner).post(f"/hubs/{home.node.pk}/install/", body)
    assert answer.status_code == 409
    assert not Plan.objects.exists()
    assert AuditEvent.objects.filter(action="install.request_refused").exists()


# --- several hubs


@time_machine.travel(NOON, tick=False)
def test_several_are_planned_together_and_some_left_out() -> None:
    home = Home(hubs=4)
    home.set(home.nodes[3], is_online=False)
    client = browser(home.owner)
    page = client.get("/queues/new/?all=1")
    [section] = page.context["sections"]
    assert (section.fit, section.can_wait) == (3, 1)
    ticks = [home.nodes[0].pk, home.nodes[2].pk, home.nodes[3].pk]
    body = {"agreed": section.agreed, "ticks": "1", "tick": ticks, "when": "tonight"}
    client.post("/queues/new/", body)
    plans = Plan.objects.order_by("position")
    assert [plan.node_id for plan in plans] == ticks
    assert {plan.when for plan in plans} == {When.TONIGHT}
    assert look(NIGHT) == list(OtaJob.objects.filter(node=home.nodes[0]))
    # it waits for the hub that is offline, and for its turn
    OtaJob.objects.update(state=State.VERIFIED, ended_at=NIGHT, next_poll_at=None)
    look(NIGHT + timedelta(minutes=9))
    OtaJob.objects.update(state=State.VERIFIED, ended_at=NIGHT, next_poll_at=None)
    look(NIGHT + timedelta(minutes=19))
    assert [plan.state for plan in plans.all()] == ["started", "started", "waiting"]
    assert "Tonight 22:00" in text_of(client, f"/queues/{plans[0].batch_id}/")


@pytest.mark.parametrize("when", ["now", "tonight"])
def test_nothing_ticked_is_nothing_planned(when: str) -> None:
    home = Home(hubs=2)
    client = browser(home.owner)
    [section] = client.get("/queues/new/?all=1").context["sections"]
    body = {"agreed": section.agreed, "ticks": "1", "when": when}
    answer = client.post("/queues/new/", body)
    assert answer.status_code == 409
    assert "no hub was selected" in answer.content.decode()


@time_machine.travel(NIGHT, tick=False)
def test_at_night_tonight_is_said_to_begin_at_once() -> None:
    home = Home(hubs=2)
    client = browser(home.owner)
    for page in (f"/hubs/{home.node.pk}/install/", "/queues/new/?all=1"):
        assert "from now until 05:00, when not in use" in text_of(client, page)
    home.plan(now=NIGHT)
    home.plan(node=home.nodes[1], now=NIGHT)
    planner.advance(NIGHT)
    page = text_of(client, "/planned/")
    assert "Tonight until 05:00" in page
    assert "Tonight 22:00" not in page


@time_machine.travel(NOON, tick=False)
def test_a_queue_that_waits_for_the_night_says_so_and_stops_as_a_whole() -> None:
    home = Home(hubs=2)
    client = browser(home.owner)
    [section] = client.get("/queues/new/?all=1").context["sections"]
    ticks = [node.pk for node in home.nodes]
    body = {"agreed": section.agreed, "ticks": "1", "tick": ticks, "when": "tonight"}
    queue = client.post("/queues/new/", body)["Location"]
    planner.advance(NOON)
    page = text_of(client, queue)
    assert "Nothing has started yet." in page
    assert "Stop the queue" in page
    assert 'href="/planned/"' in client.get(queue).content.decode().split("<table")[0]
    client.post(f"{queue}stop/")
    planner.advance(NOON)
    planned = text_of(client, "/planned/")
    assert "Its queue is stopped." in planned
    assert "Tried again" not in planned, "it goes on when a person lets it"
    client.post(reverse("queue_resume", args=[Batch.objects.get().pk]))
    assert look(NIGHT)
    page = text_of(client, queue)
    assert "The queue is running." in page
    assert "Stop after this one" in page


# --- the page


@time_machine.travel(NOON, tick=False)
def test_the_page_says_what_each_waits_for_and_does_it_now() -> None:
    home = Home()
    plan = home.plan()
    planner.advance(NOON)
    client = browser(home.owner)
    page = text_of(client, "/planned/")
    assert "One install is planned." in page
    assert "Tonight 22:00" in page
    assert "It starts between" in page
    mark = client.get("/planned/").context["mark"]
    assert client.get(f"/planned/live/?v={mark}").status_code == 204
    answer = client.post(f"/planned/{plan.pk}/start/")
    job = OtaJob.objects.get()
    assert answer["Location"] == f"/installs/{job.pk}/"
    assert (job.requested_by, job.requested_via) == (home.owner, "web")
    plan.refresh_from_db()
    assert (plan.state, plan.job) == (PlanState.STARTED, job)
    assert client.get(f"/planned/live/?v={mark}").status_code == 200
    assert client.post(f"/planned/{plan.pk}/start/")["Location"] == "/planned/"
    assert OtaJob.objects.count() == 1


def test_starting_now_what_cannot_start_leaves_the_plan(home: Home) -> None:
    plan = home.plan()
    home.set(is_online=False)
    client = browser(home.owner)
    page = client.post(f"/planned/{plan.pk}/start/", follow=True).content.decode()
    assert "Nothing was sent." in page
    plan.refresh_from_db()
    assert plan.is_waiting


def test_one_press_cancels_and_history_keeps_it(home: Home) -> None:
    plan = home.plan()
    client = browser(home.owner)
    client.post(f"/planned/{plan.pk}/cancel/")
    assert look(NIGHT, plan) == []
    assert plan.state == PlanState.CANCELLED
    with time_machine.travel(timezone.now(), tick=False):
        assert "Cancelled by" in text_of(client, "/planned/")
        assert "Plan of 5.3.3: plan cancelled" in text_of(client, f"/hubs/{home.node.pk}/")


def test_a_plan_is_changed_to_another_moment(home: Home) -> None:
    plan = home.plan()
    client, path = browser(home.owner), f"/planned/{plan.pk}/"
    assert 'value="tonight"' in text_of(client, path)
    assert client.post(path, {"when": "idle"})["Location"] == "/planned/"
    plan.refresh_from_db()
    assert (plan.when, plan.window_start) == (When.IDLE, None)
    for wrong in ({}, {"when": "now"}, {"when": "at", "at": "x"}):
        assert client.post(path, wrong).status_code == 409


def test_who_only_looks_sees_the_plan_and_no_other_address(home: Home) -> None:
    home.plan()
    viewer = make_user(role=Role.VIEWER, household=home.household)
    page = text_of(browser(viewer), "/planned/")
    assert "Hub 1" in page
    assert home.owner.email not in page
    assert "Start now" not in page
    stranger = make_user()
    assert "Hub 1" not in text_of(browser(stranger), "/planned/")


# --- who needs a person


@time_machine.travel(NOON, tick=False)
def test_a_planned_hub_needs_no_attention() -> None:
    home = Home()
    client = browser(home.owner)
    assert "Your hub has new firmware available." in text_of(client, "/")
    make_job(home.node, state=State.FAILED)
    assert count(hubs_of(home.owner)).attention == 1
    home.plan()
    counts = count(hubs_of(home.owner))
    assert (counts.new, counts.attention, counts.planned) == (0, 0, 1)
    page = text_of(client, "/")
    assert "Your hub has a planned update." in page
    assert "Tonight 22:00" in page
    [row] = client.get("/?show=planned").context["rows"]
    assert row.node == home.node


def test_a_stopped_queue_and_a_signed_out_account_do_need_someone(home: Home) -> None:
    plan = home.plan()
    home.account.state = "signed_out"
    home.account.save()
    assert hubs_of(home.owner).get().attention == Attention.SIGNED_OUT
    assert plan.is_waiting


def test_the_page_costs_the_same_for_few_and_many() -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def queries(hubs: int) -> int:
        home = Home(hubs=hubs)
        for node in home.nodes:
            home.plan(node=node)
        client = browser(home.owner)
        with CaptureQueriesContext(connection) as found:
            assert client.get("/planned/").status_code == 200
        return len(found)

    assert queries(2) == queries(9)


def test_a_viewer_reads_no_address_in_a_reason(home: Home) -> None:
    viewer = make_user(role=Role.VIEWER, household=home.household)
    now = timezone.now()
    plan = home.plan(now=now)
    planner.cancel(plan, user=home.owner, actor=person(home.owner), now=now)
    for who, is_whole in ((home.owner, True), (viewer, False)):
        page = browser(who).get("/planned/").content.decode()
        assert "Cancelled by" in page
        assert (home.owner.email in page) is is_whole


def test_the_answer_to_a_proposal_is_not_changed(home: Home) -> None:
    plan = make_plan(home.node, proposal=make_proposal(home.node), when=When.TONIGHT)
    client = browser(home.owner)
    assert client.post(f"/planned/{plan.pk}/", {"when": "idle"}).status_code == 409
    assert f"change-{plan.pk}" not in text_of(client, "/planned/")
    plan.refresh_from_db()
    assert plan.when == When.TONIGHT


def test_the_form_shows_the_time_that_was_chosen(home: Home) -> None:
    client = browser(home.owner)
    with time_machine.travel(NOON, tick=False):
        plan = home.plan(When.AT, clock=at("2026-06-05T02:00").replace(tzinfo=None))
    path = f"/planned/{plan.pk}/"
    assert 'value="2026-06-05T02:00"' in text_of(client, path)
    answer = client.post(path, {"when": "at", "at": "2020-01-01T02:00"})
    assert answer.status_code == 409
    assert 'value="2020-01-01T02:00"' in answer.content.decode()
