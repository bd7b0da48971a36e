"""What starts tonight is announced in the evening, and can be put off by one press."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import (
    TOPICS,
    AuditEvent,
    Batch,
    BatchState,
    Channel,
    Delivery,
    Node,
    Notice,
    OtaJob,
    Plan,
    PlanState,
    PushDevice,
    Role,
    Topic,
    User,
    When,
)
from devices.notifications.messages import sentence
from devices.planning import dismissals, planner, season, tonight
from devices.planning.announcements import is_moot
from devices.planning.plans import change, timing_of
from tests.support.client import Client
from tests.support.factories import make_offer, make_plan, make_user, person
from tests.support.plans import NOON, Home, at, look

pytestmark = pytest.mark.django_db
EVENING = at("2026-06-01T18:00")


def device_of(home: Home, user: User | None = None) -> Channel:
    """Return the channel of a device of this person, who gets every topic."""
    user = user or home.owner
    device = PushDevice.objects.create(
        user=user,
        sealed_endpoint="x",
        endpoint_digest=f"digest of {user.pk}",
        service="push.example",
        public_key="x",
        sealed_auth="x",
        name="Firefox on Android",
    )
    return Channel.objects.create(
        household=home.household, user=user, device=device, topics=[one.value for one in TOPICS]
    )


@pytest.fixture
def home() -> Home:
    return Home(hubs=3)


def announced(now: datetime) -> list[Notice]:
    """Let the worker announce once; return all notices there are."""
    tonight.announce(now)
    return list(Notice.objects.order_by("pk"))


def test_a_plan_is_announced_once_in_the_evening_by_the_households_clock(home: Home) -> None:
    device_of(home)
    plan = home.plan()
    assert announced(NOON) == []
    assert announced(EVENING - timedelta(seconds=1)) == []
    (notice,) = announced(EVENING)
    assert (notice.topic, notice.path) == (Topic.PLANNED, "/planned/")
    assert notice.facts["plans"] == [plan.pk]
    assert sentence(notice) == (
        "Hub 1 (Garden house, simulated): 5.3.3 is planned for tonight, between 22:00 and 05:00."
    )
    assert announced(EVENING + timedelta(minutes=1)) == [notice]
    assert announced(EVENING + timedelta(days=1)) == [notice]


def test_a_plan_that_is_made_later_is_announced_at_once(home: Home) -> None:
    device_of(home)
    home.plan(now=at("2026-06-01T23:10"))
    assert len(announced(at("2026-06-01T23:10"))) == 1


def test_several_are_one_message_and_those_for_later_or_another_time_are_not_in_it(
    home: Home,
) -> None:
    device_of(home)
    for node in home.nodes[:2]:
        home.plan(node=node)
    home.plan(When.AT, node=home.nodes[2], clock=at("2026-06-02T14:00"))
    (notice,) = announced(EVENING)
    assert sentence(notice) == (
        "Garden house, simulated: the updates of 2 hubs are planned for tonight."
    )
    home.plan(When.AT, now=EVENING, node=home.nodes[2], clock=at("2026-06-02T03:30"))
    assert sentence(announced(EVENING)[-1]) == (
        "Hub 3 (Garden house, simulated): 5.3.3 is planned for tonight at 03:30."
    )


@pytest.mark.parametrize("state", [BatchState.STOPPED, BatchState.RUNNING])
def test_a_stopped_queue_starts_nothing_and_is_not_announced(home: Home, state: str) -> None:
    device_of(home)
    queue = Batch.objects.create(household=home.household, state=state)
    make_plan(home.node, when=When.TONIGHT, batch=queue, not_before=NOON)
    assert len(announced(EVENING)) == (state == BatchState.RUNNING)


def test_what_no_longer_waits_is_not_sent(home: Home) -> None:
    device_of(home)
    first, second = (home.plan(node=node) for node in home.nodes[:2])
    (notice,) = announced(EVENING)
    planner.cancel(first, user=home.owner, actor=person(home.owner), now=EVENING)
    assert not is_moot(notice, EVENING)
    assert sentence(notice).startswith("Hub 2 (")
    tonight.put_off([second], actor=person(home.owner), now=EVENING)
    assert is_moot(notice, EVENING)


def test_a_household_that_is_stored_for_winter_is_told_nothing(home: Home) -> None:
    device_of(home)
    home.plan()
    season.store(home.household, actor=person(home.owner), now=NOON)
    assert announced(EVENING) == []
    season.wake(home.household, actor=person(home.owner), now=EVENING)
    (notice,) = announced(EVENING)
    assert not is_moot(notice, EVENING)
    season.store(home.household, actor=person(home.owner), now=EVENING)
    assert is_moot(notice, EVENING), "one that still waits is not sent"


def test_the_notice_does_not_outlive_its_night(home: Home) -> None:
    channel = device_of(home)
    home.plan()
    (notice,) = announced(EVENING)
    last, over = at("2026-06-02T04:59"), at("2026-06-02T05:00")
    assert not is_moot(notice, last)
    assert tonight.link_for(notice, channel, last)
    assert is_moot(notice, over)
    assert tonight.link_for(notice, channel, over) == ""


def swap_offer(plan: Plan) -> None:
    plan.node.offers.update(ended_at=EVENING)
    make_offer(plan.node, fw_version="9.9.9")


def dismiss(plan: Plan) -> None:
    who = User.objects.get()
    dismissals.dismiss(plan.node, "5.3.3", user=who, actor=person(who), now=EVENING)


def leave_cloud(plan: Plan) -> None:
    Node.objects.update(gone_at=EVENING)


def stop_queue(plan: Plan) -> None:
    queue = Batch.objects.create(household=plan.household, state=BatchState.STOPPED)
    Plan.objects.update(batch=queue)


def lose_right(plan: Plan) -> None:
    plan.household.memberships.update(role=Role.VIEWER)


@pytest.mark.parametrize("event", [swap_offer, dismiss, leave_cloud, stop_queue, lose_right])
def test_what_can_not_start_any_more_is_not_announced(home: Home, event: Any) -> None:
    """Before the planner looks at it too."""
    device_of(home)
    plan = home.plan()
    (notice,) = announced(EVENING)
    event(plan)
    assert Plan.objects.get().is_waiting
    assert is_moot(notice, EVENING)


@pytest.mark.parametrize(
    ("channel", "now", "due"),
    [
        ({}, "2026-06-01T18:00", "2026-06-01T18:00"),
        # no daily summary comes in time
        ({"pace": "daily", "digest_at": "08:00"}, "2026-06-01T18:00", "2026-06-01T18:00"),
        ({"pace": "daily", "digest_at": "20:00"}, "2026-06-01T18:00", "2026-06-01T20:00"),
        # what a person planned in quiet hours does not wake them up: it is moot at their end
        ({"quiet_from": "22:00", "quiet_until": "07:00"}, "2026-06-01T23:00", "2026-06-02T05:00"),
    ],
)
def test_a_daily_summary_after_the_night_does_not_hold_it(
    home: Home, channel: dict[str, str], now: str, due: str
) -> None:
    device = device_of(home)
    Channel.objects.filter(pk=device.pk).update(**channel)
    home.plan(now=at(now))
    announced(at(now))
    assert Delivery.objects.get().due_at == at(due)


def test_more_plans_cost_no_more_queries_to_judge() -> None:
    def queries(hubs: int) -> int:
        home = Home(hubs=hubs)
        device_of(home)
        for node in home.nodes:
            home.plan(node=node)
        notice = announced(EVENING)[-1]
        with CaptureQueriesContext(connection) as captured:
            assert not is_moot(notice, EVENING)
        return len(captured)

    assert queries(2) == queries(5)


@pytest.mark.parametrize(
    ("when", "clock", "says"),
    [
        (When.AT, "2026-06-02T03:30", "at 03:30"),
        (When.AT, "2026-06-02T14:00", None),
        (When.IDLE, None, None),
    ],
)
def test_a_message_that_waits_gives_the_times_of_now(
    home: Home, when: When, clock: str | None, says: str | None
) -> None:
    """The plan was changed since it was announced: to another time, or to none in that night."""
    device_of(home)
    plan = home.plan()
    (notice,) = announced(EVENING)
    timing = timing_of(when, home.household, EVENING, at(clock) if clock else None)
    change(plan, timing, user=home.owner, actor=person(home.owner), now=EVENING)
    notice.refresh_from_db()
    assert is_moot(notice, EVENING) is (says is None)
    if says is not None:
        assert sentence(notice) == (
            f"Hub 1 (Garden house, simulated): 5.3.3 is planned for tonight {says}."
        )
        assert len(announced(EVENING + timedelta(minutes=1))) == 2
        notice.refresh_from_db()
        assert is_moot(notice, EVENING), "the second one says it"


def test_it_costs_one_query_while_nothing_is_planned(home: Home) -> None:
    with CaptureQueriesContext(connection) as queries:
        tonight.announce(EVENING)
    assert len(queries) == 1


def test_what_is_put_off_starts_the_next_night_and_is_announced_again(home: Home) -> None:
    device_of(home)
    plan = home.plan()
    announced(EVENING)
    assert tonight.put_off([plan], actor=person(home.owner), now=EVENING) == [plan]
    assert tonight.put_off([plan], actor=person(home.owner), now=EVENING) == []
    plan.refresh_from_db()
    assert plan.not_before == at("2026-06-02T05:00")
    assert plan.changes == 1, "calendars take it over"
    assert look(at("2026-06-01T23:00"), plan) == []
    assert look(at("2026-06-02T04:59"), plan) == []
    assert plan.is_waiting
    assert len(announced(at("2026-06-02T18:00"))) == 2
    assert len(look(at("2026-06-02T22:00"), plan)) == 1
    event = AuditEvent.objects.get(action="plan.changed")
    assert event.sentence.endswith("put 5.3.3 on Hub 1 off: not tonight.")


def test_a_set_time_is_put_off_by_a_day_on_the_households_clock(home: Home) -> None:
    # the night in which the clock goes back
    evening = at("2026-10-24T19:00")
    plan = home.plan(When.AT, now=evening, clock=at("2026-10-25T04:00"))
    tonight.put_off([plan], actor=person(home.owner), now=evening)
    plan.refresh_from_db()
    assert plan.not_before == at("2026-10-26T04:00")
    assert plan.expires_at - plan.not_before == timedelta(hours=3)


def test_a_night_is_left_for_it_even_on_its_last_day(home: Home) -> None:
    plan = home.plan()
    Plan.objects.update(expires_at=at("2026-06-02T06:00"))
    plan.refresh_from_db()
    tonight.put_off([plan], actor=person(home.owner), now=EVENING)
    assert len(look(at("2026-06-02T23:00"), plan)) == 1


# --- the link in a push message


class Link:
    """A plan that was announced, and the link in the message to its owner's device."""

    def __init__(self, home: Home) -> None:
        self.home, self.plan, self.channel = home, home.plan(), device_of(home)
        tonight.announce(EVENING)
        self.notice = Notice.objects.get()
        with time_machine.travel(EVENING, tick=False):
            self.path = tonight.link_for(self.notice, self.channel, EVENING)

    def press(self, now: datetime = EVENING) -> int:
        """Press the button as a notification does, without cookie and form; return the status."""
        with time_machine.travel(now, tick=False):
            return Client(enforce_csrf_checks=True).post(self.path).status_code


def test_a_press_puts_it_off_and_a_look_does_not(home: Home) -> None:
    link = Link(home)
    with time_machine.travel(EVENING, tick=False):
        page = Client().get(link.path).content.decode()
    assert "Not tonight?" in page
    assert "Hub 1 (simulated): 5.3.3" in page
    assert Plan.objects.get().not_before < EVENING
    assert link.press() == 200
    assert Plan.objects.get().not_before == at("2026-06-02T05:00")
    event = AuditEvent.objects.get(action="plan.changed")
    assert (event.actor_name, event.via) == (home.owner.email, "link")
    assert link.press() == 200  # safe on repeat
    assert AuditEvent.objects.filter(action="plan.changed").count() == 1


def end_device(link: Link) -> None:
    PushDevice.objects.all().delete()


def end_channel(link: Link) -> None:
    Channel.objects.all().delete()


def hand_device_on(link: Link) -> None:
    """Another person turned push messages on in this browser."""
    PushDevice.objects.update(user=make_user(role=Role.OWNER, household=link.home.household))


def lower_role(link: Link) -> None:
    link.home.household.memberships.update(role=Role.VIEWER)


def leave(link: Link) -> None:
    link.home.household.memberships.all().delete()


def sign_out_everywhere(link: Link) -> None:
    User.objects.update(access_epoch=1)


def close(link: Link) -> None:
    User.objects.update(is_active=False)


def change_token(link: Link) -> None:
    link.path = link.path[:-3] + "x/"


@pytest.mark.parametrize(
    "event",
    [
        *(end_device, end_channel, hand_device_on, lower_role, leave),
        *(sign_out_everywhere, close, change_token),
    ],
)
def test_the_link_ends_with_what_it_was_made_for(home: Home, event: Any) -> None:
    link = Link(home)
    event(link)
    assert link.press() == 410
    assert Plan.objects.get().not_before < EVENING


def test_the_link_ends_with_the_night(home: Home) -> None:
    link = Link(home)
    for over in (at("2026-06-02T05:00"), at("2026-06-03T18:00")):
        assert link.press(over) == 410
        with time_machine.travel(over, tick=False):
            page = Client().get(link.path)
        assert page.status_code == 410
        assert "This night is over. Nothing was changed." in page.content.decode()
    assert Plan.objects.get().not_before < EVENING


def test_the_link_touches_only_what_it_names(home: Home) -> None:
    link = Link(home)
    other = home.plan(node=home.nodes[1])
    elsewhere = Home()
    elsewhere.plan()
    assert link.press() == 200
    other.refresh_from_db()
    assert other.not_before < EVENING
    assert not AuditEvent.objects.filter(household_id=elsewhere.household.pk, via="link").exists()


def test_only_who_may_install_gets_it_and_only_for_what_can_wait(home: Home) -> None:
    link = Link(home)
    viewer = make_user(role=Role.VIEWER, household=home.household)
    assert tonight.link_for(link.notice, device_of(home, viewer), EVENING) == ""
    mails = Channel.objects.create(household=home.household, user=home.owner, topics=[])
    assert tonight.link_for(link.notice, mails, EVENING) == ""
    Plan.objects.update(state=PlanState.CANCELLED, ended_at=EVENING, next_look_at=None)
    assert tonight.link_for(link.notice, link.channel, EVENING) == ""


def test_what_has_started_is_left_alone_and_the_page_says_so(home: Home) -> None:
    link = Link(home)
    (job,) = look(at("2026-06-01T22:00"))
    assert link.press(at("2026-06-01T22:01")) == 200
    with time_machine.travel(at("2026-06-01T22:01"), tick=False):
        assert "There is nothing to put off" in Client().get(link.path).content.decode()
    assert OtaJob.objects.get() == job
