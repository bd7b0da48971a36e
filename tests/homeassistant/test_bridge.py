"""The bridge at a real Mosquitto broker, with a second client in Home Assistant's place."""

import json
import re
import ssl
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any, cast

import pytest
from django.utils import timezone

from devices.accounts.linking import unlink_account
from devices.homeassistant.bridge import Bridge
from devices.homeassistant.place import HUBS_AT_ONCE
from devices.homeassistant.settings import set_broker_url, set_client_pem
from devices.models import (
    Actor,
    CloudAccount,
    HomeAssistantLink,
    Household,
    MayInstall,
    Node,
    OtaJob,
)
from tests.support.certificates import Authority, written
from tests.support.factories import make_account, make_household, make_node, make_offer
from tests.support.homeassistant import Entity, World, allow, link_of, turn_until
from tests.support.homeassistant_schema import (
    DEVICE_MESSAGE,
    DISCOVERY_TOPIC,
    UPDATE_STATE,
    errors_in,
)
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.people import browser

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


def test_hubs_appear_by_themselves_in_the_only_household(bridge: Bridge, ear: Listener) -> None:
    household = make_household()
    node = make_node(make_account(household), name="Back porch {{ 7 }} +#/ \N{HOT BEVERAGE}")
    make_offer(node)
    turn_until(bridge, lambda: len(ear.hubs()) == 1)
    link = HomeAssistantLink.objects.get()
    assert link.is_on
    assert link.may_install == MayInstall.NO
    topic = ear.hubs()[0]
    assert DISCOVERY_TOPIC.match(topic)
    assert errors_in(ear.read(topic), DEVICE_MESSAGE) == []
    assert ear.read(topic)["device"]["name"] == node.marked_name
    assert ear.read(topic)["device"]["configuration_url"] == (
        f"https://hubs.example.org/hubs/{node.pk}/"
    )
    state = f"{link.topic_prefix}/hub/{node.pk}/update"
    turn_until(bridge, lambda: ear.read(state))
    assert errors_in(ear.read(state), UPDATE_STATE) == []
    # what is retained is there for a Home Assistant that starts later
    with Listener(ear.client.port) as late:
        late.wait(lambda: late.heard.keys() >= {topic, f"{link.topic_prefix}/status"})
        late.wait(lambda: f"{link.topic_prefix}/hub/{node.pk}/verdict" in late.heard)
        assert all(late.retained.values())


def test_one_of_several_households_joins_only_when_asked(bridge: Bridge, ear: Listener) -> None:
    mine, theirs = make_household(), make_household()
    make_node(make_account(mine))
    node = make_node(make_account(theirs))
    link_of(theirs)
    turn_until(bridge, lambda: ear.hubs())
    assert len(ear.hubs()) == 1
    assert ear.hubs()[0].endswith(f"/{node.pk}/config")
    assert not HomeAssistantLink.objects.filter(household=mine).exists()


def test_a_change_arrives_within_two_seconds(world: World) -> None:
    began = time.monotonic()
    world.node.touch(timezone.now(), fw_version="5.3.3", is_online=False)
    world.until(lambda: world.entity.read("update")["installed_version"] == "5.3.3")
    world.until(lambda: world.entity.read("facts")["online"] == "OFF")
    took_s = time.monotonic() - began
    assert took_s < 2, f"{took_s:.2f} s"


def test_an_unchanged_hub_is_not_published_again(world: World) -> None:
    other = make_node(world.account)
    entity = Entity(world.ear, world.link, other)
    world.until(lambda: entity.config())
    before = world.ear.count
    other.touch(timezone.now(), is_online=False)
    world.until(lambda: entity.read("facts")["online"] == "OFF")
    assert world.ear.count - before == 1


def test_a_hub_that_leaves_is_taken_back(world: World) -> None:
    world.node.touch(timezone.now(), gone_at=timezone.now())
    world.until(lambda: not world.ear.topics(f"/{world.node.pk}/"))
    assert world.is_online()


@pytest.mark.parametrize("cause", ["Home Assistant starts", "the settings change"])
def test_a_hub_that_leaves_while_all_are_published_again_is_removed(
    world: World, cause: str
) -> None:
    world.node.touch(timezone.now(), gone_at=timezone.now())
    if cause == "Home Assistant starts":
        world.bridge.look_due = time.monotonic() + 3  # the birth message comes first
        world.ear.say("homeassistant/status", "online")
    else:
        allow(world.link)
    world.until(lambda: not world.ear.topics(f"/{world.node.pk}/"))
    assert world.is_online()


def test_a_hub_that_left_while_no_bridge_ran_is_taken_back_too(
    bridge: Bridge, ear: Listener
) -> None:
    world = World(bridge, ear)
    stays = make_node(world.account)
    world.until(lambda: Entity(ear, world.link, stays).config())
    bridge.close()
    world.node.touch(timezone.now(), gone_at=timezone.now())
    second = Bridge()
    try:
        turn_until(second, lambda: not ear.topics(f"/{world.node.pk}/"))
        assert Entity(ear, world.link, stays).config()
    finally:
        second.close()


def test_switching_off_takes_everything_back(world: World) -> None:
    world.link.is_on = False
    world.link.revision += 1
    world.link.save()
    world.until(lambda: not world.ear.topics("/config"))
    world.until(lambda: not world.ear.topics("/hub/"))
    assert world.ear.heard[f"{world.link.topic_prefix}/status"] == b"offline"


@pytest.fixture
def second(bridge: Bridge, ear: Listener) -> Iterator[Bridge]:
    """Yield a bridge that comes after the household was switched off while none ran."""
    World(bridge, ear)
    bridge.close()
    HomeAssistantLink.objects.update(is_on=False)
    made = Bridge()
    yield made
    made.close()


def test_switching_off_while_no_bridge_ran_takes_everything_back(
    second: Bridge, ear: Listener
) -> None:
    turn_until(second, lambda: not HomeAssistantLink.objects.get().is_announced)
    ear.wait(lambda: not ear.topics("/config") and not ear.topics("/hub/"))
    assert not second.places


def test_a_connection_that_is_newer_than_its_event_is_not_taken_for_cleared(
    second: Bridge, ear: Listener
) -> None:
    second._renew()
    second._look()
    connection = next(iter(second.places.values())).connection
    until = time.monotonic() + 30
    while not connection.is_connected:
        assert time.monotonic() < until
        time.sleep(0.01)
    second._look()
    assert HomeAssistantLink.objects.get().is_announced
    turn_until(second, lambda: not HomeAssistantLink.objects.get().is_announced)
    ear.wait(lambda: not ear.topics("/config") and not ear.topics("/hub/"))


def test_what_the_broker_kept_is_not_repeated_when_home_assistant_starts(world: World) -> None:
    before = world.ear.count
    world.ear.say("homeassistant/status", "online")
    place = next(iter(world.bridge.places.values()))
    marker = place.marker
    world.until(lambda: place.marker != marker and place.has_stock and not place.is_stale)
    # the birth itself, and the marker that comes back after all that was kept
    assert world.ear.count - before == 2


def test_what_the_broker_lost_is_published_again_when_home_assistant_starts(world: World) -> None:
    shown = world.entity.config()
    world.ear.say(world.entity.config_topic, "", retain=True)
    world.ear.say(f"{world.entity.base}/update", "", retain=True)
    world.ear.wait(lambda: not world.ear.topics("/update"))
    world.ear.say("homeassistant/status", "online")
    world.until(lambda: world.entity.config() == shown and world.entity.read("update"))


def test_what_the_broker_kept_is_not_announced_again_by_the_next_bridge(
    bridge: Bridge, ear: Listener
) -> None:
    world = World(bridge, ear)
    bridge.close()
    ear.wait(lambda: not world.is_online())
    with Listener(ear.client.port, "homeassistant/#") as second_ear:
        second_ear.wait(lambda: len(second_ear.topics("/config")) == 2)
        before = second_ear.count
        second = Bridge()
        try:
            turn_until(second, world.is_online)
            assert second_ear.count == before
            world.node.touch(timezone.now(), name="Front porch")
            turn_until(second, lambda: "Front porch" in world.entity.config()["device"]["name"])
            world.node.touch(timezone.now(), name="Back porch")
            turn_until(second, lambda: "Back porch" in world.entity.config()["device"]["name"])
        finally:
            second.close()


def test_an_account_that_is_unlinked_and_linked_again_comes_back(world: World) -> None:
    unlink_account(world.account, actor=Actor.worker())
    world.until(lambda: not world.ear.hubs())
    # nothing else about the hub changes, as when the cloud answers what it answered before
    CloudAccount.objects.filter(pk=world.account.pk).update(state="linked")
    world.until(lambda: world.ear.hubs() and world.entity.read("update"))


def test_a_long_name_keeps_the_mark_of_a_simulated_hub(world: World) -> None:
    world.node.touch(timezone.now(), name="Porch " * 33)
    world.until(lambda: "Porch Porch" in world.entity.config()["device"]["name"])
    name = world.entity.config()["device"]["name"]
    assert name.endswith("… (simulated)")
    assert len(name) <= 120


def test_hubs_are_connected_by_a_bridge_device(world: World) -> None:
    announced = world.ear.read(f"homeassistant/device/thermacell_{world.link.key}/bridge/config")
    assert errors_in(announced, DEVICE_MESSAGE) == []
    assert world.entity.config()["device"]["via_device"] in announced["device"]["identifiers"]


def test_names_follow_the_language_of_the_household(world: World) -> None:
    Household.objects.filter(pk=world.household.pk).update(language="de")
    world.until(lambda: world.entity.part("update")["title"] == "LIV Hub Firmware")
    assert world.entity.part("available")["name"] == "Firmware-Update verfügbar"
    world.node.touch(timezone.now(), is_online=False)
    world.until(lambda: world.entity.read("facts")["online"] == "OFF")
    world.entity.press()
    world.until(lambda: world.entity.refusal() == "hub_offline")
    assert "nichts an den Hub gesendet" in world.entity.read("refusal")["state"]


def test_everything_is_published_again_when_the_broker_comes_back_empty(
    broker: Mosquitto, world: World
) -> None:
    shown = world.entity.config()
    world.ear.heard.clear()
    broker.stop()
    world.until(lambda: HomeAssistantLink.objects.get().state == "lost")
    world.node.touch(timezone.now(), name="Front porch")
    for path in broker.log.parent.glob("*.db"):
        path.unlink()
    broker.start()
    world.until(lambda: world.entity.config() and world.is_online(), limit_s=60)
    assert world.entity.config()["device"]["name"] == "Front porch (simulated)"
    assert world.entity.config()["components"].keys() == shown["components"].keys()
    assert HomeAssistantLink.objects.get().state == "connected"


def test_a_bridge_that_dies_leaves_its_last_will(bridge: Bridge, ear: Listener) -> None:
    world = World(bridge, ear)
    place = next(iter(bridge.places.values()))
    client = place.connection._client
    assert client is not None
    cast(socket, client.socket()).shutdown(SHUT_RDWR)  # as when it is killed: no goodbye
    ear.wait(lambda: ear.heard[f"{world.link.topic_prefix}/status"] == b"offline")
    world.until(world.is_online)


def test_a_lost_broker_delays_nothing(settings: Any) -> None:
    settings.MQTT_URL = "mqtt://127.0.0.1:9"
    household = make_household()
    make_node(make_account(household))
    bridge = Bridge()
    try:
        began = time.monotonic()
        turn_until(bridge, lambda: HomeAssistantLink.objects.filter(state="lost").exists())
        assert HomeAssistantLink.objects.get().trouble == "unreachable"
        while time.monotonic() - began < 2:
            one = time.monotonic()
            bridge.turn()
            assert time.monotonic() - one < 1.5
    finally:
        bridge.close()


def test_a_second_bridge_waits_for_the_first(broker: Mosquitto, world: World) -> None:
    second = Bridge()
    for _ in range(3):
        second.turn()
    assert not second.is_mine
    assert not second.places
    world.bridge.close()
    turn_until(second, lambda: second.is_mine and world.is_online())
    second.close()


def test_a_test_message_comes_back(world: World) -> None:
    HomeAssistantLink.objects.update(test_asked_at=timezone.now(), revision=99)
    world.until(lambda: not HomeAssistantLink.objects.get().is_testing)
    assert f"{world.link.topic_prefix}/test" in world.ear.heard


def test_two_households_at_one_broker_do_not_meet(bridge: Bridge, broker: Mosquitto) -> None:
    houses = [make_household("Garden house"), make_household("Lake cabin")]
    nodes = [make_node(make_account(house)) for house in houses]
    links = [link_of(houses[0]), link_of(houses[1], discovery_prefix="homeassistant-cabin")]
    for node, link in zip(nodes, links, strict=True):
        make_offer(node)
        allow(link)
    ears = [
        Listener(broker.port, f"{link.discovery_prefix}/#", f"{link.topic_prefix}/#")
        for link in links
    ]
    try:
        entities = [Entity(*one) for one in zip(ears, links, nodes, strict=True)]
        turn_until(bridge, lambda: all(entity.config() for entity in entities))
        assert [len(ear.hubs()) for ear in ears] == [1, 1]
        assert links[0].key not in json.dumps(entities[1].config())
        # the cabin's Home Assistant presses the garden's hub, with the right words of its own,
        # and with the garden's own words on a topic of its own
        ears[1].say(f"{entities[1].base}/install", entities[0].payload)
        ears[1].say(f"{links[1].topic_prefix}/hub/{nodes[0].pk}/install", entities[0].payload)
        ears[1].say(f"{entities[0].base}/install", entities[1].payload)
        turn_until(bridge, lambda: entities[1].refusal() == "unreadable")
        turn_until(bridge, lambda: entities[0].refusal() == "unreadable")
        assert not OtaJob.objects.exists()
        entities[1].press()
        turn_until(bridge, lambda: OtaJob.objects.exists())
        assert OtaJob.objects.get().household == houses[1]
    finally:
        for ear in ears:
            ear.close()


def test_a_household_may_have_a_broker_of_its_own(bridge: Bridge, ear: Listener) -> None:
    with Mosquitto() as own, Listener(own.port) as own_ear:
        houses = [make_household(), make_household()]
        nodes = [make_node(make_account(house)) for house in houses]
        link_of(houses[0])
        link = HomeAssistantLink(household=houses[1], is_on=True)
        set_broker_url(link, own.url)
        link.save()
        assert own.url not in link.sealed_broker_url
        turn_until(bridge, lambda: ear.hubs() and own_ear.hubs())
        assert [topic.split("/")[3] for topic in ear.hubs()] == [str(nodes[0].pk)]
        assert [topic.split("/")[3] for topic in own_ear.hubs()] == [str(nodes[1].pk)]


def test_a_broker_may_ask_for_tls_and_a_certificate(bridge: Bridge, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    authority = Authority()
    certificate, key = authority.issue("broker")
    files = written(tmp_path, authority=authority.pem, certificate=certificate, key=key)
    lines = [
        "allow_anonymous true",
        f"cafile {files['authority']}",
        f"certfile {files['certificate']}",
        f"keyfile {files['key']}",
        "require_certificate true",
    ]
    house = make_household()
    node = make_node(make_account(house))
    with Mosquitto(*lines) as strict:
        link = HomeAssistantLink(household=house, is_on=True, ca_pem=authority.pem)
        set_broker_url(link, strict.url.replace("mqtt://", "mqtts://"))
        link.save()
        # without a certificate of ours it does not talk to us, and the page says so
        turn_until(bridge, lambda: HomeAssistantLink.objects.get().trouble != "")
        assert HomeAssistantLink.objects.get().state != "connected"
        ours = authority.issue("thermacell-web")
        set_client_pem(link, "".join(ours))
        link.revision += 1
        link.save()
        turn_until(bridge, lambda: HomeAssistantLink.objects.get().state == "connected")
        mine, secret = authority.issue("home-assistant")
        context = ssl.create_default_context(cadata=authority.pem)
        pair = written(tmp_path, mine=mine, secret=secret)
        context.load_cert_chain(pair["mine"], pair["secret"])
        with Listener(strict.port, tls=context) as listener:
            turn_until(bridge, lambda: listener.topics(f"/{node.pk}/config"))


def test_a_thousand_hubs_are_announced(bridge: Bridge, broker: Mosquitto) -> None:
    account = make_account(make_household())
    Node.objects.bulk_create(
        Node(account=account, node_id=f"N{n:021}", name=f"Porch {n}", fw_version="5.3.2")
        for n in range(1000)
    )
    # as Home Assistant listens: a broker keeps only so much for one who listens to everything
    with Listener(broker.port, "homeassistant/#") as ear:
        turn_until(bridge, lambda: ear.hubs())
        assert len(ear.hubs()) <= 2 * HUBS_AT_ONCE, (
            "a broker keeps only so much for a slow listener"
        )
        turn_until(bridge, lambda: len(ear.hubs()) == 1000, limit_s=120)
        sample = [ear.read(topic) for topic in ear.hubs()[::100]]
        assert all(errors_in(message, DEVICE_MESSAGE) == [] for message in sample)


def test_no_password_reaches_a_log(settings: Any, caplog: Any) -> None:
    settings.MQTT_URL = "mqtt://porch:fireflies-at-dusk@127.0.0.1:9"
    make_node(make_account(make_household()))
    bridge = Bridge()
    with caplog.at_level("DEBUG"):
        turn_until(bridge, lambda: HomeAssistantLink.objects.filter(state="lost").exists())
        bridge.close()
    assert "no connection" in caplog.text
    assert "fireflies" not in caplog.text


def test_the_access_rules_on_the_page_are_enough_and_no_more(
    bridge: Bridge, settings: Any, tmp_path: Any
) -> None:
    mine, theirs = make_household("Garden house"), make_household("Next door")
    link, _ = link_of(mine), link_of(theirs)
    allow(link)
    node, other = make_node(make_account(mine)), make_node(make_account(theirs))
    make_offer(node)
    page = browser(link.allowed_by).get(f"/households/{mine.pk}/home-assistant/").content.decode()
    rules = unescape(re.findall(r"<pre[^>]*>([^<]*acl|[^<]*readwrite[^<]*)</pre>", page)[0])
    tmp_path.chmod(0o755)
    acl = tmp_path / "acl"
    acl.write_text(rules + "\n\nuser everything\ntopic readwrite #\n")
    acl.chmod(0o700)
    with Mosquitto("allow_anonymous true", f"acl_file {acl}") as shared:
        settings.MQTT_URL = f"mqtt://thermacell-web@127.0.0.1:{shared.port}"
        with (
            Listener(shared.port, user="home-assistant") as home,
            Listener(shared.port, user="everything") as neighbour,
        ):
            neighbour.say(f"homeassistant/device/thermacell_x/{other.pk}/config", "{}", retain=True)
            entity = Entity(home, link, node)
            turn_until(bridge, entity.config)
            assert home.topics(f"/{other.pk}/config") == []
            turn_until(bridge, lambda: home.heard.get(f"{link.topic_prefix}/status") == b"online")
            entity.press()
            turn_until(bridge, lambda: OtaJob.objects.filter(node=node).exists())
            home.say("homeassistant/status", "online")
            turn_until(bridge, lambda: neighbour.heard.get("homeassistant/status") == b"online")


def test_a_wrong_password_is_named(bridge: Bridge, settings: Any, tmp_path: Any) -> None:
    with Mosquitto("allow_anonymous false") as locked:
        settings.MQTT_URL = f"mqtt://porch:wrong@127.0.0.1:{locked.port}"
        make_node(make_account(make_household()))
        turn_until(bridge, lambda: HomeAssistantLink.objects.filter(trouble="refused").exists())
