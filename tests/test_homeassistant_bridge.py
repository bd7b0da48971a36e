"""The bridge at a real Mosquitto broker, with a second client in Home Assistant's place."""

import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any, cast

import pytest
from django.utils import timezone

from devices.homeassistant import bridge as bridge_module
from devices.homeassistant.bridge import Bridge
from devices.models import (
    AuditEvent,
    HomeAssistantLink,
    Household,
    MayInstall,
    Node,
    OtaJob,
    Repellent,
    Role,
)
from tests.certificates import Authority, written
from tests.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
    make_user,
)
from tests.homeassistant_schema import DEVICE_MESSAGE, DISCOVERY_TOPIC, UPDATE_STATE, errors_in
from tests.mosquitto import Listener, Mosquitto

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


@pytest.fixture
def bridge(broker: Mosquitto, settings: Any) -> Iterator[Bridge]:
    """Yield a bridge to the server's broker; the test gives it its turns."""
    settings.MQTT_URL = broker.url
    settings.PUBLIC_URL = "https://hubs.example.org"
    made = Bridge()
    yield made
    made.close()


@pytest.fixture
def ear(broker: Mosquitto) -> Iterator[Listener]:
    with Listener(broker.port) as listener:
        yield listener


def turn_until(bridge: Bridge, is_true: Callable[[], object], *, limit_s: float = 30) -> None:
    until = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < until, "the bridge did not get there in time"
        bridge.turn()


def link_of(household: Household, **fields: Any) -> HomeAssistantLink:
    return HomeAssistantLink.objects.create(household=household, is_on=True, **fields)


def allow(link: HomeAssistantLink, **fields: Any) -> None:
    """Let Home Assistant install, as the settings page does."""
    link.may_install = fields.pop("may_install", MayInstall.ALL)
    link.allowed_by = fields.pop("by", None) or make_owner(link.household)
    link.allowed_at = timezone.now()
    link.revision += 1
    link.save()


class Entity:
    """One hub as Home Assistant has it from the second client."""

    def __init__(self, ear: Listener, link: HomeAssistantLink, node: Node) -> None:
        self.ear = ear
        self.base = f"{link.topic_prefix}/hub/{node.pk}"
        self.config_topic = f"{link.discovery_prefix}/device/thermacell_{link.key}/{node.pk}/config"

    def config(self) -> Any:
        return self.ear.read(self.config_topic)

    def part(self, name: str) -> Any:
        return self.config()["components"][name]

    def read(self, name: str) -> Any:
        return self.ear.read(f"{self.base}/{name}")

    @property
    def payload(self) -> str:
        return str(self.part("update")["payload_install"])

    def press(self, payload: str = "", *, retain: bool = False) -> None:
        self.ear.say(f"{self.base}/install", payload or self.payload, retain=retain)

    def refusal(self) -> str:
        return str((self.read("refusal") or {"about": {"code": ""}})["about"]["code"] or "")


class World:
    """A household with one offered hub that Home Assistant sees and may install on."""

    def __init__(self, bridge: Bridge, ear: Listener, *, may_install: bool = True) -> None:
        self.bridge, self.ear = bridge, ear
        self.household = make_household("Garden house")
        self.account = make_account(self.household)
        self.node = make_node(self.account, name="Back porch")
        self.offer = make_offer(self.node)
        self.link = link_of(self.household)
        if may_install:
            allow(self.link)
        self.entity = Entity(ear, self.link, self.node)
        self.until(lambda: self.entity.config() and self.is_online())

    def is_online(self) -> bool:
        return self.ear.heard.get(f"{self.link.topic_prefix}/status") == b"online"

    def until(self, is_true: Callable[[], object], **limits: float) -> None:
        turn_until(self.bridge, is_true, **limits)

    def refused(self, code: str) -> None:
        """Wait for this refusal; nothing must have been asked for."""
        self.until(lambda: self.entity.refusal() == code)
        said = self.entity.read("refusal")
        assert "sent nothing" in said["about"]["sentence"]
        assert not OtaJob.objects.filter(requested_via="home-assistant").exists()
        refusals = AuditEvent.objects.filter(action="install.request_refused")
        event = refusals.latest("sequence")
        assert event.actor_name == "Home Assistant (Garden house)"
        assert code in event.detail["reasons"]


@pytest.fixture
def world(bridge: Bridge, ear: Listener) -> World:
    return World(bridge, ear)


def test_hubs_appear_by_themselves_in_the_only_household(bridge: Bridge, ear: Listener) -> None:
    household = make_household()
    node = make_node(make_account(household), name="Back porch {{ 7 }} +#/ \N{HOT BEVERAGE}")
    make_offer(node)
    turn_until(bridge, lambda: len(ear.topics("/config")) == 1)
    link = HomeAssistantLink.objects.get()
    assert link.is_on
    assert link.may_install == MayInstall.NO
    topic = ear.topics("/config")[0]
    assert DISCOVERY_TOPIC.match(topic)
    assert errors_in(ear.read(topic), DEVICE_MESSAGE) == []
    assert ear.read(topic)["device"]["name"] == node.marked_name
    assert ear.read(topic)["device"]["configuration_url"] == (
        f"https://hubs.example.org/hubs/{node.pk}/"
    )
    assert errors_in(ear.read(f"{link.topic_prefix}/hub/{node.pk}/update"), UPDATE_STATE) == []
    # what is retained is there for a Home Assistant that starts later
    with Listener(ear.client.port) as late:
        late.wait(lambda: late.heard.keys() >= {topic, f"{link.topic_prefix}/status"})
        late.wait(lambda: f"{link.topic_prefix}/hub/{node.pk}/verdict" in late.heard)
        assert all(late.retained.values())


def test_one_of_several_households_joins_only_when_told_to(bridge: Bridge, ear: Listener) -> None:
    mine, theirs = make_household(), make_household()
    make_node(make_account(mine))
    node = make_node(make_account(theirs))
    link_of(theirs)
    turn_until(bridge, lambda: ear.topics("/config"))
    assert len(ear.topics("/config")) == 1
    assert ear.topics("/config")[0].endswith(f"/{node.pk}/config")
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
    world.node.touch(timezone.now(), repellent=Repellent.PROTECTED)
    world.entity.press()
    world.refused("hub_in_use")


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


def test_a_hub_that_leaves_is_taken_back(world: World) -> None:
    world.node.touch(timezone.now(), gone_at=timezone.now())
    world.until(lambda: not world.ear.topics(f"/{world.node.pk}/"))
    assert world.is_online()


@pytest.mark.parametrize("anew", ["Home Assistant starts", "the settings change"])
def test_a_hub_that_leaves_as_everything_is_told_anew_is_taken_back(
    world: World, anew: str
) -> None:
    world.node.touch(timezone.now(), gone_at=timezone.now())
    if anew == "Home Assistant starts":
        world.bridge.look_due = time.monotonic() + 3  # the birth message is heard first
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


def test_a_line_that_is_up_before_the_bridge_heard_of_it_is_not_taken_for_tidy(
    second: Bridge, ear: Listener
) -> None:
    second._hold()
    second._look()
    line = next(iter(second.places.values())).line
    until = time.monotonic() + 30
    while not line.is_connected:
        assert time.monotonic() < until
        time.sleep(0.01)
    second._look()
    assert HomeAssistantLink.objects.get().is_announced
    turn_until(second, lambda: not HomeAssistantLink.objects.get().is_announced)
    ear.wait(lambda: not ear.topics("/config") and not ear.topics("/hub/"))


def test_everything_is_said_again_when_home_assistant_starts(world: World) -> None:
    before = world.ear.count
    world.ear.say("homeassistant/status", "online")
    world.until(lambda: world.ear.count >= before + 1 + 7)
    assert world.ear.topics("/config")


def test_everything_is_said_again_when_the_broker_comes_back_empty(
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
    client = place.line._client
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
        assert [len(ear.topics("/config")) for ear in ears] == [1, 1]
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
        link.keep_broker(own.url)
        link.save()
        assert own.url not in link.sealed_broker_url
        turn_until(bridge, lambda: ear.topics("/config") and own_ear.topics("/config"))
        assert [topic.split("/")[3] for topic in ear.topics("/config")] == [str(nodes[0].pk)]
        assert [topic.split("/")[3] for topic in own_ear.topics("/config")] == [str(nodes[1].pk)]


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
        link.keep_broker(strict.url.replace("mqtt://", "mqtts://"))
        link.save()
        # without a certificate of ours it does not talk to us, and the page says so
        turn_until(bridge, lambda: HomeAssistantLink.objects.get().trouble != "")
        assert HomeAssistantLink.objects.get().state != "connected"
        ours = authority.issue("thermacell-web")
        link.keep_client_pem("".join(ours))
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
        turn_until(bridge, lambda: len(ear.topics("/config")) == 1000, limit_s=60)
        told = [ear.read(topic) for topic in ear.topics("/config")[::100]]
        assert all(errors_in(message, DEVICE_MESSAGE) == [] for message in told)


def test_no_password_reaches_a_log(settings: Any, caplog: Any) -> None:
    settings.MQTT_URL = "mqtt://porch:fireflies-at-dusk@127.0.0.1:9"
    make_node(make_account(make_household()))
    bridge = Bridge()
    with caplog.at_level("DEBUG"):
        turn_until(bridge, lambda: HomeAssistantLink.objects.filter(state="lost").exists())
        bridge.close()
    assert "no connection" in caplog.text
    assert "fireflies" not in caplog.text


def test_a_wrong_password_is_named(bridge: Bridge, settings: Any, tmp_path: Any) -> None:
    with Mosquitto("allow_anonymous false") as locked:
        settings.MQTT_URL = f"mqtt://porch:wrong@127.0.0.1:{locked.port}"
        make_node(make_account(make_household()))
        turn_until(bridge, lambda: HomeAssistantLink.objects.filter(trouble="refused").exists())


def test_a_viewer_cannot_be_the_one_who_allowed_it(world: World) -> None:
    allow(world.link, by=make_user(role=Role.VIEWER, household=world.household))
    world.until(lambda: world.entity.config())
    world.entity.press()
    world.refused("no_longer_allowed")
