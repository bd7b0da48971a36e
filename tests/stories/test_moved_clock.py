"""Nights and days that a household plans for, lived through by real processes.

Not part of `make test`: `make stories` plays them, in some minutes. Web server, worker, terminal
and simulated cloud run under a moved clock; nothing in them is patched.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from tests.support.moved import MEMBER, House, next_change
from tests.support.smtp_server import SmtpServer

pytestmark = [pytest.mark.stories, pytest.mark.processes]
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
FIRST, SECOND, THIRD = range(3)


def an_evening(at: time) -> datetime:
    """Return this time on an ordinary evening to come."""
    return datetime.combine(datetime.now(UTC).date() + timedelta(days=20), at)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path, zone=BERLIN) as made:
        yield made


def test_tonight_begins_at_ten_and_goes_on_after_midnight(house: House) -> None:
    """One is free at ten, one is in use until 23:40, one comes online after midnight."""
    house.move_in(an_evening(time(21, 30)))
    for hub in (FIRST, SECOND, THIRD):
        house.plan(hub, "tonight")
    house.cloud.set_repellent(SECOND, True)
    house.cloud.set_online(THIRD, False)
    house.clock_is(an_evening(time(21, 59, 20)))
    house.on()
    house.wait_until(lambda: house.plan_of(FIRST).install == "verified")
    started = house.plan_of(FIRST).requested_at
    assert started is not None
    assert time(22, 0) <= started.time() < time(22, 5), started
    house.wait_until(lambda: house.plan_of(SECOND).waits_for == "in_use")
    house.wait_until(lambda: house.plan_of(THIRD).waits_for == "hub_offline")

    house.clock_is(an_evening(time(23, 39, 30)))
    assert house.plan_of(SECOND).state == "waiting"
    house.cloud.set_repellent(SECOND, False)
    house.wait_until(lambda: house.plan_of(SECOND).install == "verified")
    assert house.plan_of(THIRD).state == "waiting"

    house.clock_is(an_evening(time(0, 10)) + timedelta(days=1))
    house.cloud.set_online(THIRD, True)
    house.wait_until(lambda: house.plan_of(THIRD).install == "verified")
    started = house.plan_of(THIRD).requested_at
    assert started is not None
    assert time(0, 10) <= started.time() < time(0, 15), started
    assert [house.pushes(hub) for hub in (FIRST, SECOND, THIRD)] == [1, 1, 1]


def test_what_missed_its_night_waits_for_the_next(house: House) -> None:
    house.move_in(an_evening(time(21, 30)))
    house.plan(FIRST, "tonight")
    house.clock_is(an_evening(time(5, 0, 5)) + timedelta(days=1))
    house.on()
    house.wait_until(lambda: house.plan_of(FIRST).waits_for == "outside_window")
    assert house.pushes(FIRST) == 0
    house.clock_is(an_evening(time(22, 0, 5)) + timedelta(days=1))
    house.wait_until(lambda: house.plan_of(FIRST).install == "verified")
    assert house.pushes(FIRST) == 1


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK])
def test_the_night_with_an_hour_more(tmp_path: Path, zone: str) -> None:
    """The hour from 01:00 or 02:00 is shown twice: night both times, over at five."""
    change = next_change(zone, forwards=False)
    with House(tmp_path, zone=zone) as house:
        house.move_in(change - timedelta(hours=3))
        house.plan(FIRST, "tonight")
        house.plan(SECOND, f"{change:%Y-%m-%d}T04:30")
        house.cloud.set_online(FIRST, False)
        house.clock_is(change + timedelta(hours=4, minutes=29, seconds=30))
        house.on()
        house.cloud.set_online(FIRST, True)
        house.wait_until(lambda: house.plan_of(FIRST).install == "verified")
        house.wait_until(lambda: house.plan_of(SECOND).install == "verified")
        started = house.plan_of(SECOND).requested_at
        assert started is not None
        assert time(4, 30) <= started.time() < time(4, 35), started
        house.plan(THIRD, "tonight")
        house.clock_is(change + timedelta(hours=5, seconds=5))
        house.wait_until(lambda: house.plan_of(THIRD).waits_for == "outside_window")
        assert house.pushes(THIRD) == 0


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK])
def test_the_night_with_an_hour_less(tmp_path: Path, zone: str) -> None:
    """02:30 is never shown: no plan can be made for it, and the night ends at five all the same."""
    change = next_change(zone, forwards=True)
    with House(tmp_path, zone=zone) as house:
        house.move_in(change - timedelta(hours=3))
        refusal = house.plan(FIRST, f"{change:%Y-%m-%d}T02:30", status=2)
        assert "The clock skips this time" in refusal
        house.plan(FIRST, "tonight")
        house.plan(SECOND, "tonight")
        house.cloud.set_online(SECOND, False)
        house.clock_is(change + timedelta(hours=4, minutes=58))
        house.on()
        house.wait_until(lambda: house.plan_of(FIRST).install == "verified")
        house.clock_is(change + timedelta(hours=5, seconds=5))
        house.cloud.set_online(SECOND, True)
        house.wait_until(lambda: house.plan_of(SECOND).waits_for == "outside_window")
        assert [house.pushes(hub) for hub in (FIRST, SECOND)] == [1, 0]


def test_a_hub_that_is_back_after_five_days(house: House) -> None:
    house.move_in(an_evening(time(14)))
    house.cloud.set_online(FIRST, False)
    house.plan(FIRST, "online")
    house.on()
    house.wait_until(lambda: house.plan_of(FIRST).waits_for == "hub_offline")
    house.clock_is(an_evening(time(9)) + timedelta(days=5))
    assert house.plan_of(FIRST).state == "waiting"
    house.cloud.set_online(FIRST, True)
    house.wait_until(lambda: house.plan_of(FIRST).install == "verified")
    assert house.pushes(FIRST) == 1


def test_a_plan_ends_after_two_weeks(house: House) -> None:
    house.move_in(an_evening(time(14)))
    house.cloud.set_online(FIRST, False)
    house.plan(FIRST, "online")
    house.clock_is(an_evening(time(14, 1)) + timedelta(days=14))
    house.cloud.set_online(FIRST, True)
    house.on()
    house.wait_until(lambda: house.plan_of(FIRST).state == "expired")
    assert house.pushes(FIRST) == 0


def test_a_member_who_is_removed_before_the_night(house: House) -> None:
    house.move_in(an_evening(time(21, 30)))
    house.plan(FIRST, "tonight", by=MEMBER)
    house.plan(SECOND, "tonight")
    house.terminal.ok("household", "remove", "Garden", "--email", MEMBER)
    house.clock_is(an_evening(time(22, 0, 5)))
    house.on()
    house.wait_until(lambda: house.plan_of(SECOND).install == "verified")
    house.wait_until(lambda: house.plan_of(FIRST).state == "dropped")
    assert house.plan_of(FIRST).drop_reason == "right_lost"
    assert [house.pushes(hub) for hub in (FIRST, SECOND)] == [0, 1]


def test_an_offer_that_is_swapped_a_minute_before_ten(house: House) -> None:
    house.move_in(an_evening(time(21, 30)))
    house.plan(FIRST, "tonight")
    house.clock_is(an_evening(time(21, 59)))
    house.cloud.swap_offer(FIRST, fw_version="9.9.9")
    house.clock_is(an_evening(time(22, 0, 5)))
    house.on()
    house.wait_until(lambda: house.plan_of(FIRST).state != "waiting")
    row = house.plan_of(FIRST)
    if row.state == "started":  # the swap was not known yet: the question before the push finds it
        house.wait_until(lambda: house.plan_of(FIRST).install == "refused")
    else:
        assert row.drop_reason == "offer_changed"
    assert house.pushes(FIRST) == 0


def test_a_power_cut_at_ten(house: House) -> None:
    house.move_in(an_evening(time(21, 30)))
    for hub in (FIRST, SECOND, THIRD):
        house.plan(hub, "tonight")
    house.clock_is(an_evening(time(21, 59, 30)))
    house.on()
    house.wait_until(lambda: house.plan_of(FIRST).state == "started")
    house.cut_the_power()
    assert house.now().time() < time(22, 5)
    house.on()
    ended = {"verified", "unverified"}  # a push whose answer was lost is not repeated
    house.wait_until(
        lambda: all(house.plan_of(hub).install in ended for hub in (FIRST, SECOND, THIRD)), 240
    )
    assert all(house.pushes(hub) <= 1 for hub in (FIRST, SECOND, THIRD))
    assert [house.plan_of(hub).install for hub in (SECOND, THIRD)] == ["verified", "verified"]


ALL_BY_ITSELF = """
from datetime import time
from devices.models import Actor, Channel, Household, PolicyMode, User
from devices.planning.policies import PolicyWishes, change
home, owner = Household.objects.get(), User.objects.get(email="owner@example.com")
owner.emailaddress_set.update_or_create(email=owner.email, verified=True, primary=True)
topics = ["needs_you", "failed", "finished"]
Channel.objects.create(household=home, user=owner, topics=topics)
wishes = PolicyWishes(PolicyMode.INSTALL, time(22), time(5), 0, 1, 0)
change(home, wishes, user=owner, actor=Actor(owner.email, owner.pk, "owner", "web"))
"""


def test_a_policy_whose_first_hub_falls_back(tmp_path: Path) -> None:
    """The others are held, and people are told: of the plan before, and of its end after."""
    with SmtpServer() as mails, House(tmp_path, zone=BERLIN, offers=0) as house:

        def texts() -> str:
            return "\n".join(str(one.get_body(("plain",))) for one in mails.messages)

        house.move_in(an_evening(time(17)))
        house.terminal.environment["EMAIL_URL"] = f"smtp://127.0.0.1:{mails.port}"
        for hub in (FIRST, SECOND, THIRD):
            house.cloud.publish_offer(hub, fw_version="6.0.0")
            house.cloud.set_scenario(hub, "rolled_back")
        house.terminal.ok("firmware", "check")
        house.runs(ALL_BY_ITSELF)
        house.clock_is(an_evening(time(18, 0, 5)))
        house.on()
        house.wait_until(lambda: house.planned)
        [first] = house.planned
        house.wait_until(lambda: house.name(first) in texts())
        house.clock_is(an_evening(time(22, 0, 5)))
        assert house.plan_of(first).state == "waiting", "announced for tomorrow"

        house.clock_is(an_evening(time(22, 0, 5)) + timedelta(days=1))
        house.wait_until(lambda: house.plan_of(first).install == "rejected")
        house.wait_until(lambda: "rolled back" in texts().lower())
        for days in (2, 3, 4):
            house.clock_is(an_evening(time(18, 0, 5)) + timedelta(days=days))
            tomorrow = f"{an_evening(time(12)) + timedelta(days=days + 1):%Y-%m-%d}"

            def is_looked_at(day: str = tomorrow) -> bool:
                return house.policy_looks_at() >= day

            house.wait_until(is_looked_at)
            house.clock_is(an_evening(time(22, 0, 5)) + timedelta(days=days))
        assert house.planned == [first]
        assert sum(house.pushes(hub) for hub in (FIRST, SECOND, THIRD)) == 1
