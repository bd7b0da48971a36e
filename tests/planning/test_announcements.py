"""The notice about plans of an update policy: in time, about what may still start, or not sent."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from devices.models import (
    Channel,
    Delivery,
    Notice,
    Plan,
    PlanState,
    PolicyMode,
    Role,
    UpdatePolicy,
)
from devices.notifications.delivery import Words, send_due
from devices.notifications.messages import sentence
from devices.planning import dismissals, planner, season
from devices.planning.announcements import is_moot
from devices.planning.policy_rules import LEAD
from tests.support.factories import make_node, make_offer, person
from tests.support.plans import NOON, at
from tests.support.policies import DAY, EVENING, PolicyHome, evening, hold

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def home() -> PolicyHome:
    return PolicyHome()


@pytest.mark.parametrize(
    ("channel", "window", "due"),
    [
        ({"pace": "daily", "digest_at": "08:00"}, "22:00", "2026-06-02T08:00"),
        # before it is too late to answer: five hours before the start
        ({"pace": "daily", "digest_at": "17:30"}, "22:00", "2026-06-01T18:00"),
        ({"pace": "daily", "digest_at": "08:00"}, "00:00", "2026-06-01T18:00"),
        ({"quiet_from": "17:00", "quiet_until": "07:00"}, "22:00", "2026-06-02T07:00"),
        ({"quiet_from": "17:00", "quiet_until": "07:00"}, "00:00", "2026-06-01T19:00"),
    ],
)
def test_the_notice_goes_out_before_the_window_opens(
    home: PolicyHome, channel: dict[str, str], window: str, due: str
) -> None:
    Channel.objects.filter(pk=home.channel.pk).update(**channel)
    home.rule(window_start=at(f"2026-01-01T{window}").time())
    evening(EVENING)
    [plan] = home.plans
    [delivery] = Delivery.objects.all()
    assert delivery.due_at == at(due)
    assert delivery.due_at <= plan.not_before - LEAD


def cancel(home: PolicyHome) -> None:
    plan = Plan.objects.loaded().get(node=home.node, state=PlanState.WAITING)
    planner.cancel(plan, user=home.owner, actor=person(home.owner), now=EVENING)


def swap_offer(home: PolicyHome) -> None:
    home.node.offers.update(ended_at=EVENING)
    make_offer(home.node, md5="0" * 32)


def dismiss(home: PolicyHome) -> None:
    who = person(home.owner)
    dismissals.dismiss(home.node, "5.3.3", user=home.owner, actor=who, now=EVENING)


def leave_cloud(home: PolicyHome) -> None:
    home.set(gone_at=EVENING)


def install_it(home: PolicyHome) -> None:
    home.set(fw_version="5.3.3")


def ask_for_it(home: PolicyHome) -> None:
    UpdatePolicy.objects.get().hubs.create(node=home.node, mode=PolicyMode.ASK)


@pytest.mark.parametrize(
    "event", [cancel, swap_offer, dismiss, leave_cloud, install_it, ask_for_it]
)
def test_a_hub_that_will_not_be_installed_is_left_out_of_the_notice(
    home: PolicyHome, event: Callable[[PolicyHome], None]
) -> None:
    """Before the planner looks at it too."""
    more = make_node(home.account, name="Hub 2")
    make_offer(more, fw_version="5.4.0", first_seen_at=NOON - 30 * DAY)
    home.rule()
    evening(EVENING)
    notice = Notice.objects.get()
    assert notice.facts["versions"] == ["5.3.3", "5.4.0"]
    event(home)
    assert not is_moot(notice, EVENING)
    assert notice.facts["versions"] == ["5.4.0"]
    assert sentence(notice).startswith("Garden house, simulated: 5.4.0 installs itself on Hub 2,")
    Plan.objects.filter(node=more).delete()
    assert is_moot(notice, EVENING)


def hold_it(home: PolicyHome) -> None:
    hold(home)


def change_rule(home: PolicyHome) -> None:
    home.rule(EVENING, waiting_days=14)


def store_for_winter(home: PolicyHome) -> None:
    season.store(home.household, actor=person(home.owner), now=EVENING)


def lose_right(home: PolicyHome) -> None:
    home.household.memberships.update(role=Role.MEMBER)


@pytest.mark.parametrize("event", [hold_it, change_rule, store_for_winter, lose_right])
def test_a_notice_about_nothing_any_more_is_not_sent(
    home: PolicyHome, event: Callable[[PolicyHome], None]
) -> None:
    home.rule()
    evening(EVENING)
    delivery = Delivery.objects.get()
    event(home)
    send_due(EVENING, words=Words(is_moot=is_moot))
    delivery.refresh_from_db()
    assert (delivery.sent_at, delivery.dropped_at) == (None, EVENING)
