"""Stored for winter: plans wait and do not expire, nobody is asked about a hub that is away, and in
spring each hub shows how far it is.
"""

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine

from devices.explanations.reasons import ReasonCode
from devices.fleet.attention import count, hubs_in
from devices.installs.lifecycle import expire
from devices.models import (
    Channel,
    Delivery,
    Household,
    Node,
    Notice,
    OtaJob,
    Plan,
    PlanState,
    Role,
    State,
    Topic,
    When,
)
from devices.models.attention import Attention
from devices.notifications.outbox import is_moot, notify_offer
from devices.planning import planner, queues, season
from devices.planning.next_start import next_start
from devices.presentation.badges import of_hub
from devices.presentation.headlines import standing_of
from tests.support.factories import make_job, make_user, person
from tests.support.people import browser, trail
from tests.support.plans import NIGHT, NOON, Home, at, look
from tests.support.queues import Home as Queued
from tests.support.queues import states

pytestmark = pytest.mark.django_db
SPRING = at("2027-04-01T12:00")
SPRING_NIGHT = at("2027-04-01T23:00")


@pytest.fixture
def home() -> Home:
    return Home()


def store(home: Home | Queued, now: datetime = NOON) -> None:
    season.store(home.household, actor=person(home.owner), now=now)


def wake(home: Home | Queued, now: datetime = SPRING) -> None:
    season.wake(home.household, actor=person(home.owner), now=now)


def put_away(home: Home, days: int = 40, now: datetime = NOON) -> None:
    changed_at = now - timedelta(days=days)
    Node.objects.update(is_online=False, online_changed_at=changed_at)


def test_a_plan_waits_through_the_winter_and_goes_on_in_spring(home: Home) -> None:
    plan = home.plan()
    store(home, NOON + timedelta(days=1))
    plan.refresh_from_db()
    assert plan.next_look_at == NOON + timedelta(days=1), "so that pages give the reason"
    for now in (NIGHT + timedelta(days=1), at("2027-03-01T23:00")):
        assert look(now, plan) == []
        assert plan.waits_for == ReasonCode.SEASON
        assert "stored for winter" in plan.reason.english
        assert plan.next_look_at is not None
        assert plan.next_look_at > now
        assert next_start(plan, now) is None
    before = plan.expires_at
    wake(home)
    plan.refresh_from_db()
    assert plan.expires_at - before == SPRING - (NOON + timedelta(days=1))
    assert plan.expires_at - SPRING == timedelta(days=13), "what was left of it"
    assert plan.changes == 1, "calendars take it over"
    assert plan.next_look_at == SPRING
    [job] = look(SPRING_NIGHT, plan)
    assert (plan.state, plan.job) == (PlanState.STARTED, job)


def test_a_plan_made_in_winter_has_all_its_time_in_spring(home: Home) -> None:
    store(home)
    plan = home.plan(When.IDLE, now=at("2027-01-01T12:00"))
    assert look(at("2027-01-02T12:00"), plan) == []
    wake(home)
    plan.refresh_from_db()
    assert plan.expires_at - SPRING == timedelta(days=14)


def test_a_set_time_that_was_missed_in_winter_does_not_start_late(home: Home) -> None:
    plan = home.plan(When.AT, clock=at("2026-06-05T02:00").replace(tzinfo=None))
    store(home)
    assert look(at("2026-06-05T02:00"), plan) == []
    assert look(SPRING, plan) == []
    assert plan.is_waiting
    wake(home)
    assert look(SPRING, plan) == []
    assert plan.state == PlanState.EXPIRED


def test_what_can_never_start_ends_in_winter_too(home: Home) -> None:
    plan = home.plan()
    store(home)
    home.owner.memberships.all().delete()
    assert look(NIGHT, plan) == []
    assert (plan.state, plan.drop_reason) == (PlanState.DROPPED, "right_lost")


def test_what_waited_for_its_turn_does_not_start_in_spring() -> None:
    home = Queued()
    batch = home.request(now=NOON)
    look(NOON)
    [job] = OtaJob.objects.all()
    queues.stop(batch, actor=person(home.owner), now=NOON)
    store(home)
    assert states(batch) == ["requested", "cancelled", "cancelled"]
    why = batch.items.get(position=2).reason.english
    assert why == "The household was stored for winter before its turn came."
    assert [event.detail["ended"] for event in trail("household.stored")] == [2]
    assert [event.actor_name for event in trail("plan.cancelled")] == [home.owner.email] * 2
    expire(job, NOON + timedelta(hours=1))
    wake(home)
    assert look(SPRING) == look(SPRING_NIGHT) == [job]


def test_what_a_person_wants_now_starts_in_winter_too() -> None:
    """As a press on one hub does; a hub that is offline has no turn."""
    home = Queued()
    store(home)
    Node.objects.filter(pk=home.nodes[0].pk).update(is_online=False)
    batch = home.request(now=NIGHT)
    look(NIGHT)
    assert states(batch) == ["dropped", "requested", "waiting"]
    waiting = Plan.objects.for_list().get(batch=batch, position=3)
    assert next_start(waiting, NIGHT) is not None
    assert look(NIGHT + timedelta(days=1))
    assert states(batch) == ["dropped", "requested", "expired"]


def test_a_person_may_still_start_it(home: Home) -> None:
    plan = home.plan()
    store(home)
    job = planner.start_now(plan, user=home.owner, actor=person(home.owner), now=NOON)
    assert OtaJob.objects.get() == job


def test_a_hub_that_is_away_in_winter_needs_nobody(home: Home) -> None:
    put_away(home)
    counts = count(hubs_in(home.household))
    assert (counts.new, counts.stored) == (1, 0)
    revision = home.node.revision
    store(home)
    counts = count(hubs_in(home.household))
    assert (counts.new, counts.attention, counts.stored, counts.offline) == (0, 0, 1, 1)
    node = hubs_in(home.household).for_list().get()
    assert node.revision > revision, "open pages show it"
    assert of_hub(node, Attention(node.attention), NOON).words == "Stored for winter"
    assert standing_of(home.household) == "Nothing to do: one hub is stored for winter."
    home.set(is_online=True)
    assert hubs_in(home.household).get().attention == Attention.NEW


def test_no_notice_is_about_a_hub_that_is_away_in_winter(home: Home) -> None:
    Channel.objects.create(
        household=home.household, user=home.owner, topics=[Topic.NEW_FIRMWARE.value]
    )
    offer = home.node.offers.get()
    offer.node.account.household = home.household
    notify_offer(offer, NOON)
    notice = Notice.objects.get()
    assert not is_moot(notice)
    put_away(home)
    store(home)
    assert is_moot(notice), "one that still waits is not sent"
    Delivery.objects.all().delete()
    Notice.objects.all().delete()
    offer = Node.objects.select_related("account__household").get().offers.get()
    notify_offer(offer, NOON)
    assert not Notice.objects.exists()
    home.set(is_online=True)
    notify_offer(Node.objects.get().offers.get(), NOON)
    assert Notice.objects.count() == 1


def test_it_is_suggested_to_who_manages_when_all_hubs_are_long_away() -> None:
    home, now = Home(hubs=2), NOON
    member = make_user(role=Role.MEMBER, household=home.household)
    with time_machine.travel(now, tick=False):
        lines = {
            user: lambda user=user: browser(user).get("/").content.decode()
            for user in (home.owner, member)
        }
        words = "have been offline for a month"
        put_away(home, days=29)
        assert words not in lines[home.owner]()
        put_away(home, days=31)
        assert words in lines[home.owner]()
        assert words not in lines[member]()
        home.set(is_online=True)
        assert words not in lines[home.owner]()
        put_away(home, days=31)
        store(home)
        assert "has been stored for winter since" in lines[member]()
        wake(home, now)
        page = lines[member]()
        assert words not in page
        assert "Spring in" in page
    later = now + season.SPRING_LASTS
    assert season.kind_of(Household.objects.get(), later) == season.SeasonKind.SUGGESTED


def test_a_household_without_hubs_is_not_stored_by_suggestion(home: Home) -> None:
    home.node.delete()
    assert season.kind_of(home.household, NOON) is None


def test_the_page_stores_and_wakes_and_the_trail_has_it(home: Home) -> None:
    put_away(home)
    home.plan()
    client, page = browser(home.owner), f"/households/{home.household.pk}/season/"
    assert client.post(page, {"act": "store"})["Location"] == page
    assert client.post(page, {"act": "store"}).status_code == 302
    text = " ".join(client.get(page).content.decode().split())
    assert "Garden house is stored for winter." in text
    assert "One planned install waits" in text
    for shown in ("/", "/planned/", f"/hubs/{home.node.pk}/"):
        assert "after winter" in client.get(shown).content.decode().lower(), shown
    viewer = make_user(role=Role.VIEWER, household=home.household)
    text = browser(viewer).get(page).content.decode()
    assert home.owner.email not in text
    assert "End winter" not in text
    assert "Stored for winter" in client.get("/households/").content.decode()
    assert "Stored for winter" in client.get(f"/hubs/{home.node.pk}/").content.decode()
    assert client.post(page, {"act": "wake"})["Location"] == page
    assert client.post(page, {"act": "wake"}).status_code == 302
    assert [event.detail["plans"] for event in trail("household.stored")] == [1]
    [woken] = trail("household.woken")
    assert woken.actor_name == home.owner.email
    assert Node.objects.get().is_being_checked, "what it is offered is looked at"


def test_spring_shows_what_each_hub_has_done() -> None:
    home = Home(hubs=4)
    with time_machine.travel(SPRING, tick=False):
        put_away(home, now=SPRING)
        store(home, SPRING - timedelta(days=100))
        wake(home)
        asleep, offered, current, proven = home.nodes
        after = {"is_online": True, "online_changed_at": SPRING, "checked_at": SPRING}
        later = SPRING + timedelta(hours=1)
        for node in (offered, current, proven):
            home.set(node, **after | {"checked_at": later})
        current.offers.all().delete()
        make_job(proven, state=State.VERIFIED, now=later)
        found = {one.node: one for one in season.awakenings(Household.objects.get())}
    done: dict[Any, tuple[bool, ...]] = {
        node: (one.woke_up, one.was_checked, one.is_verified) for node, one in found.items()
    }
    assert done == {
        asleep: (False, False, False),
        offered: (True, True, False),
        current: (True, True, True),
        proven: (True, True, True),
    }
    with time_machine.travel(later, tick=False):
        page = browser(home.owner).get(f"/households/{home.household.pk}/season/")
    text = " ".join(page.content.decode().split())
    assert "Two of four hubs are ready" in text
    assert "Not online yet" in text


def test_the_line_costs_one_question_however_many_plans(django_assert_num_queries: Any) -> None:
    home = Home(hubs=3)
    with django_assert_num_queries(1):
        season.seasons_of([home.household.pk], [home.household.pk], NOON)


def test_nothing_is_changed_by_a_second_press(home: Home) -> None:
    wake(home)
    assert trail("household.woken") == []
    store(home)
    store(home, NOON + timedelta(days=1))
    assert Household.objects.get(pk=home.household.pk).stored_at == NOON
    assert len(trail("household.stored")) == 1
    assert not Plan.objects.exists()
