"""A press in Home Assistant: what it installs, and why it is refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.accounts.sessions import sign_out
from devices.homeassistant import bridge as bridge_module
from devices.homeassistant.bridge import Bridge
from devices.models import (
    AuditEvent,
    CloudAccount,
    HomeAssistantHub,
    MayInstall,
    Node,
    OtaJob,
    Plan,
    Repellent,
    Role,
)
from devices.models.message import Message, MessageCode
from devices.planning import planner
from devices.rainmaker.errors import SignInAgain
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_user,
    person,
)
from tests.support.homeassistant import Entity, World, allow, turn_until
from tests.support.homeassistant_schema import EVENT, errors_in
from tests.support.mosquitto import Listener, Mosquitto

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


def test_pressing_installs_what_was_shown(world: World) -> None:
    shown = world.entity.payload
    assert world.entity.part("install")["payload_press"] == shown
    world.entity.press()
    world.until(lambda: OtaJob.objects.exists())
    job = OtaJob.objects.get()
    assert (job.node, job.ota_job_id, job.to_version) == (
        world.node,
        world.offer.ota_job_id,
        "5.3.3",
    )
    assert job.requested_by == world.link.allowed_by
    assert job.requested_by_name == "Home Assistant (Garden house)"
    assert job.requested_via == "home-assistant"
    event = AuditEvent.objects.get(action="install.requested")
    assert event.actor_name == "Home Assistant (Garden house)"
    world.until(lambda: world.entity.read("update")["in_progress"])
    assert world.entity.refusal() == ""
    assert world.entity.payload != shown, "what was pressed is not pressed again"


def test_a_press_counts_once(world: World) -> None:
    shown = world.entity.payload
    world.entity.press(shown)
    world.entity.press(shown)
    world.until(lambda: world.entity.refusal() == "already_used")
    assert OtaJob.objects.count() == 1
    OtaJob.objects.update(state="failed", next_poll_at=None)
    world.node.touch(timezone.now())
    world.entity.press(shown)
    again = AuditEvent.objects.filter(action="install.request_refused")
    world.until(lambda: again.count() == 2)
    assert OtaJob.objects.count() == 1
    # and the next press, shown afresh, is a retry
    world.entity.press()
    world.until(lambda: OtaJob.objects.count() == 2)
    assert OtaJob.objects.get(is_latest=True).retry_of is not None


def test_a_press_that_was_refused_does_not_count_later(world: World) -> None:
    shown = world.entity.payload
    world.node.touch(timezone.now(), is_online=False)
    world.entity.press(shown)
    world.refused("hub_offline")
    world.node.touch(timezone.now(), is_online=True)
    world.entity.press(shown)
    world.refused("already_used")


def test_a_press_for_an_offer_that_changed_is_refused_with_the_difference(world: World) -> None:
    shown = world.entity.payload
    world.offer.ended_at = timezone.now()
    world.offer.save()
    make_offer(world.node, fw_version="5.4.0")
    world.node.touch(timezone.now())
    world.until(lambda: world.entity.read("update")["latest_version"] == "5.4.0")
    assert world.entity.payload != shown
    world.entity.press(shown)
    world.refused("offer_changed")
    assert "New version: 5.3.3, now 5.4.0" in world.entity.read("refusal")["about"]["sentence"]


def test_a_press_with_nothing_to_install_is_refused(world: World) -> None:
    world.offer.ended_at = timezone.now()
    world.offer.save()
    world.node.touch(timezone.now())
    world.until(lambda: world.entity.read("facts")["available"] == "OFF")
    world.entity.press()
    world.refused("no_offer")


def test_a_press_while_the_hub_is_in_use_is_refused(world: World) -> None:
    world.node.touch(timezone.now(), repellent=Repellent.PROTECTED, heard_at=timezone.now())
    world.until(lambda: world.entity.read("facts")["can_install"] is False)
    world.entity.press()
    world.refused("hub_in_use")


def in_use_an_hour_ago(world: World) -> None:
    then = timezone.now() - timedelta(hours=1)
    CloudAccount.objects.update(next_sync_at=timezone.now() + timedelta(hours=1))
    world.node.touch(timezone.now(), repellent=Repellent.PROTECTED, heard_at=then)
    world.until(lambda: world.entity.read("facts")["in_use"] == "ON")
    world.entity.press()
    world.until(lambda: CloudAccount.objects.get().next_sync_at <= timezone.now())
    assert world.entity.refusal() == "", "it waits for the reading"


def test_a_hub_that_was_in_use_is_read_again_before_a_press_is_refused(world: World) -> None:
    in_use_an_hour_ago(world)
    # as the worker writes what it reads
    world.node.touch(timezone.now(), repellent=Repellent.OFF, heard_at=timezone.now())
    world.until(lambda: OtaJob.objects.exists())


def test_a_hub_that_is_still_in_use_is_refused_after_the_reading(world: World) -> None:
    in_use_an_hour_ago(world)
    Node.objects.update(heard_at=timezone.now())
    world.refused("hub_in_use")


def test_a_press_does_not_wait_for_a_cloud_that_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge_module, "READING_WITHIN_S", 1.0)
    in_use_an_hour_ago(world)
    world.refused("hub_in_use")


def test_a_press_that_waits_is_decided_when_the_bridge_stops(world: World) -> None:
    in_use_an_hour_ago(world)
    world.bridge.close()
    assert HomeAssistantHub.objects.get().refusal_code == "hub_in_use"


def test_check_now_asks_for_offer_and_state(world: World) -> None:
    CloudAccount.objects.update(next_sync_at=timezone.now() + timedelta(hours=1))
    part = world.entity.part("check")
    world.ear.say(part["command_topic"], part["payload_press"])
    world.until(lambda: Node.objects.get().is_being_checked)
    assert CloudAccount.objects.get().next_sync_at <= timezone.now()
    event = AuditEvent.objects.get(action="check.asked")
    assert event.actor_name == "Home Assistant (Garden house)"
    world.ear.say(part["command_topic"], part["payload_press"])
    world.node.touch(timezone.now(), name="Marker")
    world.until(lambda: world.entity.config()["device"]["name"] == "Marker (simulated)")
    assert AuditEvent.objects.filter(action="check.asked").count() == 1, "it is asked already"


def test_a_stored_check_is_thrown_away(world: World) -> None:
    part = world.entity.part("check")
    world.bridge.close()
    world.ear.wait(lambda: not world.is_online())
    world.ear.say(part["command_topic"], part["payload_press"], retain=True)
    second = Bridge()
    try:
        turn_until(second, lambda: part["command_topic"] not in world.ear.topics())
        assert not Node.objects.get().is_being_checked
    finally:
        second.close()


@pytest.mark.parametrize(
    "changes",
    [{"is_online": False}, {"repellent": Repellent.WARMING}, {"fw_version": "5.3.3"}],
    ids=["offline", "in use", "installed already"],
)
def test_the_button_is_unavailable_when_a_press_would_be_refused(
    world: World, changes: dict[str, Any]
) -> None:
    assert world.entity.read("facts")["can_install"] is True
    world.node.touch(timezone.now(), **changes)
    world.until(lambda: world.entity.read("facts")["can_install"] is False)


def test_the_button_is_unavailable_when_the_account_is_signed_out(world: World) -> None:
    sign_out(world.account, SignInAgain("expired"), timezone.now())
    world.until(lambda: world.entity.read("facts")["can_install"] is False)


def events(world: World) -> list[dict[str, Any]]:
    """Return a list that every event of the entity is added to."""
    seen: list[dict[str, Any]] = []
    topic = world.entity.part("events")["state_topic"]
    world.ear.client.message_callback_add(
        topic,
        lambda _c, _d, message: seen.append(json.loads(message.payload) | {"r": message.retain}),
    )
    return seen


def test_refusals_and_results_are_events(world: World) -> None:
    seen = events(world)
    world.node.touch(timezone.now(), is_online=False)
    world.until(lambda: world.entity.read("facts")["online"] == "OFF")
    world.entity.press()
    world.until(lambda: seen)
    assert errors_in(seen[0], EVENT) == []
    assert (seen[0]["event_type"], seen[0]["code"]) == ("press_refused", "hub_offline")
    assert "sent nothing" in seen[0]["sentence"]
    world.node.touch(timezone.now(), is_online=True)
    world.until(lambda: world.entity.read("facts")["can_install"])
    world.entity.press()
    world.until(lambda: len(seen) == 2)
    assert seen[1]["event_type"] == "requested"
    OtaJob.objects.update(state="verified", ended_at=timezone.now(), next_poll_at=None)
    world.node.touch(timezone.now(), fw_version="5.3.3")
    world.until(lambda: len(seen) == 3)
    assert (seen[2]["event_type"], seen[2]["to_version"]) == ("verified", "5.3.3")
    types = world.entity.part("events")["event_types"]
    assert all(event["event_type"] in types and not event["r"] for event in seen)


def test_an_event_is_sent_once_and_none_is_lost_while_no_bridge_runs(world: World) -> None:
    seen = events(world)
    world.entity.press()
    world.until(lambda: seen)
    world.bridge.close()
    OtaJob.objects.update(state="failed", ended_at=timezone.now(), next_poll_at=None)
    world.node.touch(timezone.now())
    second = Bridge()
    try:
        turn_until(second, lambda: len(seen) == 2)
        world.node.touch(timezone.now(), name="Marker")
        turn_until(second, lambda: "Marker" in world.entity.config()["device"]["name"])
    finally:
        second.close()
    assert [event["event_type"] for event in seen] == ["requested", "failed"]


def test_what_happened_long_before_is_no_event(bridge: Bridge, ear: Listener) -> None:
    household = make_household("Garden house")
    node = make_node(make_account(household))
    long_ago = timezone.now() - timedelta(days=3)
    make_job(node, state="verified", now=long_ago)
    turn_until(bridge, lambda: ear.topics("/verdict"))
    assert not ear.topics("/event")


def test_a_refusal_is_forgotten_after_a_day(world: World) -> None:
    world.entity.press("nothing")
    world.refused("unreadable")
    HomeAssistantHub.objects.update(refused_at=timezone.now() - timedelta(hours=23))
    world.bridge.refusals_due = 0.0
    world.node.touch(timezone.now(), name="Marker")
    world.until(lambda: "Marker" in world.entity.config()["device"]["name"])
    assert world.entity.refusal() == "unreadable"
    HomeAssistantHub.objects.update(refused_at=timezone.now() - timedelta(hours=25))
    world.bridge.refusals_due = 0.0
    world.until(lambda: world.entity.refusal() == "")
    assert world.entity.read("refusal")["state"] == "none"


def test_a_refusal_is_forgotten_after_a_success(world: World) -> None:
    world.entity.press("nothing")
    world.refused("unreadable")
    # installed from the pages meanwhile
    make_job(world.node, state="verified", now=timezone.now())
    world.node.touch(timezone.now())
    world.until(lambda: world.entity.refusal() == "")


def test_a_press_while_an_install_runs_is_refused(world: World) -> None:
    make_job(world.node, state="running")
    world.node.touch(timezone.now())
    world.until(lambda: world.entity.read("update")["in_progress"])
    world.entity.press()
    world.refused("job_running")


def test_home_assistant_may_not_install_until_an_owner_allows_it(
    bridge: Bridge, ear: Listener
) -> None:
    world = World(bridge, ear, may_install=False)
    assert world.entity.part("install") == {"platform": "button"}
    assert "command_topic" not in world.entity.part("update")
    world.entity.press("install")
    world.refused("unreadable")
    allow(world.link)
    world.until(lambda: "payload_install" in world.entity.part("update"))
    shown = world.entity.payload
    world.link.may_install = MayInstall.NO
    world.link.revision += 1
    world.link.save()
    world.entity.press(shown)
    world.refused("not_allowed")


def test_only_the_chosen_hubs_may_be_installed_on(world: World) -> None:
    other = make_node(world.account)
    make_offer(other)
    entity = Entity(world.ear, world.link, other)
    world.until(lambda: entity.config() and "payload_install" in entity.part("update"))
    shown = world.entity.payload
    world.link.may_install = MayInstall.SOME
    world.link.revision += 1
    world.link.save()
    world.link.allowed_hubs.set([other])
    world.until(lambda: "payload_install" not in world.entity.part("update"))
    assert "payload_install" in entity.part("update")
    world.entity.press(shown)
    world.refused("not_allowed")


def test_what_an_owner_allowed_ends_with_their_ownership(world: World) -> None:
    assert world.link.allowed_by is not None
    world.link.allowed_by.memberships.update(role=Role.VIEWER)
    world.entity.press()
    world.refused("no_longer_allowed")


def test_a_stored_command_is_thrown_away_when_the_bridge_connects(
    broker: Mosquitto, bridge: Bridge, ear: Listener
) -> None:
    world = World(bridge, ear)
    shown = world.entity.payload
    bridge.close()
    ear.wait(lambda: not world.is_online())
    world.entity.press(shown, retain=True)
    second = Bridge()
    try:
        turn_until(second, lambda: world.entity.refusal() == "retained")
        turn_until(second, lambda: f"{world.entity.base}/install" not in ear.topics())
        assert not OtaJob.objects.exists()
    finally:
        second.close()


@pytest.mark.parametrize("payload", ["install", "{}", "\N{HOT BEVERAGE}", "a:b:c", "x" * 5000])
def test_what_is_not_a_press_is_refused(world: World, payload: str) -> None:
    world.entity.press(payload)
    world.refused("unreadable")


def test_a_press_for_another_hub_is_refused(world: World) -> None:
    other = make_node(world.account)
    make_offer(other)
    entity = Entity(world.ear, world.link, other)
    world.until(lambda: entity.config())
    world.entity.press(entity.payload)
    world.refused("unreadable")


def test_bytes_that_are_no_text_harm_nothing(world: World) -> None:
    world.ear.client.publish(f"{world.entity.base}/install", b"\xff\xfe\x00", qos=1)
    world.refused("unreadable")


def test_a_flood_of_presses_is_not_even_looked_at(world: World) -> None:
    for _ in range(bridge_module.PRESSES_A_MINUTE + 20):
        world.ear.client.publish(f"{world.entity.base}/install", "x", qos=1)
    world.refused("unreadable")
    world.node.touch(timezone.now(), name="Marker")
    world.until(lambda: world.entity.config()["device"]["name"] == "Marker (simulated)")
    refusals = AuditEvent.objects.filter(action="install.request_refused")
    assert refusals.count() <= bridge_module.PRESSES_A_MINUTE


def test_a_viewer_cannot_be_the_one_who_allowed_it(world: World) -> None:
    allow(world.link, by=make_user(role=Role.VIEWER, household=world.household))
    world.until(lambda: world.entity.config())
    world.entity.press()
    world.refused("no_longer_allowed")


def choose(world: World, words: str) -> None:
    """Choose in the select of the hub, and wait until it shows that."""
    part = world.entity.part("when")
    world.ear.say(part["command_topic"], words)
    world.until(lambda: world.entity.read("facts")["when"] == words)


def test_a_press_for_tonight_makes_a_plan_and_the_hub_shows_it(world: World) -> None:
    assert world.entity.part("when")["options"][0] == world.entity.read("facts")["when"] == "Now"
    assert world.entity.read("plan")["state"] is None
    choose(world, "Tonight")
    # neither is in the way of a plan
    world.node.touch(timezone.now(), is_online=False, repellent=Repellent.PROTECTED)
    world.until(lambda: world.entity.read("facts")["online"] == "OFF")
    assert world.entity.read("facts")["can_install"] is True
    world.entity.press()
    world.until(lambda: world.entity.read("plan")["state"])
    plan = Plan.objects.get()
    assert (plan.when, plan.requested_by) == ("tonight", world.link.allowed_by)
    assert (plan.requested_via, plan.requested_by_name) == (
        "home-assistant",
        "Home Assistant (Garden house)",
    )
    assert plan.to_version == world.offer.fw_version
    assert not OtaJob.objects.exists()
    shown = world.entity.read("plan")
    assert datetime.fromisoformat(shown["state"]).astimezone(UTC).hour == 22
    assert world.entity.read("offer")["planned_at"] == shown["state"]
    why = Message.of(MessageCode.HUB_IN_USE)
    Plan.objects.update(reason=why)
    world.node.touch(timezone.now())
    world.until(lambda: world.entity.read("plan")["waits"] == "The hub is in use.")
    assert world.entity.read("offer")["plan"]["reason"] == "The hub is in use."
    owner = world.link.allowed_by
    assert owner is not None
    planner.cancel(Plan.objects.get(), user=owner, actor=person(owner), now=timezone.now())
    world.until(lambda: world.entity.read("plan")["state"] is None)
    assert world.entity.refusal() == ""


def test_now_installs_again_and_words_that_name_no_moment_change_nothing(world: World) -> None:
    choose(world, "When it is next not in use")
    world.ear.say(world.entity.part("when")["command_topic"], "at")
    choose(world, "Now")
    world.entity.press()
    world.until(lambda: OtaJob.objects.exists())
    assert not Plan.objects.exists()


def test_a_press_for_tonight_is_refused_like_any_other(world: World) -> None:
    choose(world, "Tonight")
    assert world.link.allowed_by is not None
    world.link.allowed_by.memberships.update(role=Role.VIEWER)
    world.entity.press()
    world.refused("no_longer_allowed")
    assert not Plan.objects.exists()
