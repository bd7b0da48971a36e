"""What Home Assistant is told of a hub, held against what it documents."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.broker import BrokerUnusable, read_broker
from devices.homeassistant.discovery import COMPONENTS, Home, Hub, announcement, messages, removal
from tests.homeassistant_schema import DEVICE_MESSAGE, DISCOVERY_TOPIC, UPDATE_STATE, errors_in

HOME = Home("a1b2c3d4", "thermacell-web/0123456789abcdef0123", "homeassistant")


def hub(**fields: Any) -> Hub:
    values: dict[str, Any] = {
        "number": 7,
        "name": "Back porch",
        "model": "thermacell-hub",
        "serial": "N03HA00000000001",
        "installed": "5.3.2",
        "page": "https://hubs.example.org/hubs/7/",
        "is_online": True,
        "checked_at": datetime(2026, 11, 20, 18, 30, tzinfo=UTC),
    }
    return Hub(**values | fields)


OFFERED = {
    "offered": "5.3.3",
    "description": "Bug fixes",
    "size_bytes": 245760,
    "ota_job_id": "OTA_JOB_12345",
    "md5": "a1b2",
    "press": "signed:text",
}


def told(one: Hub) -> dict[str, Any]:
    """Return {last part of the topic: payload}, each checked to be JSON."""
    found = {}
    for topic, payload in messages(HOME, one).items():
        found[topic.rpartition("/")[2]] = json.loads(payload)
    return found


@pytest.mark.parametrize(
    "one",
    [
        hub(),
        hub(**OFFERED),
        hub(**OFFERED, is_installing=True, percent=40, verdict="Downloading"),
        hub(installed="", model="", serial="", is_online=None, checked_at=None),
        hub(**OFFERED | {"press": None}),
    ],
    ids=["up to date", "offered", "installing", "hardly known", "may not press"],
)
def test_a_hub_is_announced_as_documented(one: Hub) -> None:
    assert errors_in(announcement(HOME, one), DEVICE_MESSAGE) == []
    assert errors_in(told(one)["update"], UPDATE_STATE) == []
    assert DISCOVERY_TOPIC.match(HOME.config_topic(one.number))


def test_each_platform_is_there_and_reads_a_topic_that_is_published() -> None:
    sent = messages(HOME, hub(**OFFERED))
    said = announcement(HOME, hub(**OFFERED))
    assert {name: one["platform"] for name, one in said["components"].items()} == COMPONENTS
    read = {
        value
        for one in said["components"].values()
        for name, value in one.items()
        if name in {"state_topic", "json_attributes_topic"}
    }
    assert read == set(sent) - {HOME.config_topic(7)}
    assert list(sent)[-1] == HOME.config_topic(7), "an entity that appears finds its state"
    assert set(removal(HOME, 7)) == set(sent), "all that is published can be taken back"


def test_the_update_entity_says_what_is_installed_and_offered() -> None:
    assert told(hub(**OFFERED, is_installing=True, percent=40))["update"] == {
        "installed_version": "5.3.2",
        "latest_version": "5.3.3",
        "title": "thermacell-hub firmware",
        "release_summary": "Bug fixes",
        "release_url": "https://hubs.example.org/hubs/7/",
        "in_progress": True,
        "update_percentage": 40,
    }


def test_without_an_offer_nothing_newer_is_claimed() -> None:
    said = told(hub())
    assert said["update"]["latest_version"] == said["update"]["installed_version"] == "5.3.2"
    assert said["facts"]["available"] == "OFF"
    assert said["offer"]["available_version"] is None


def test_a_percent_is_only_said_when_the_hub_gave_one() -> None:
    assert told(hub(**OFFERED, is_installing=True))["update"]["update_percentage"] is None
    assert told(hub(**OFFERED, percent=40))["update"]["update_percentage"] is None


def test_the_binary_sensor_has_the_attributes_a_home_assistant_sensor_would_have() -> None:
    said = told(hub(**OFFERED))
    about = said["offer"]
    assert (about["available_version"], about["description"], about["file_size"]) == (
        "5.3.3",
        "Bug fixes",
        245760,
    )
    one = announcement(HOME, hub(**OFFERED))["components"]["available"]
    assert one["json_attributes_topic"].endswith("/offer")


def test_who_may_not_press_gets_no_button() -> None:
    parts = announcement(HOME, hub(**OFFERED | {"press": None}))["components"]
    assert parts["install"] == {"platform": "button"}
    assert "command_topic" not in parts["update"]


def test_a_long_description_is_cut_for_the_summary_and_whole_in_the_attributes() -> None:
    said = told(hub(**OFFERED | {"description": "ä" * 5000}))
    assert len(said["update"]["release_summary"]) == 255
    assert len(said["offer"]["description"]) == 5000


NASTY = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300)


@given(name=NASTY, model=NASTY, serial=NASTY, installed=NASTY, offered=NASTY, text=NASTY)
def test_no_name_or_text_breaks_a_topic_or_a_payload(
    name: str, model: str, serial: str, installed: str, offered: str, text: str
) -> None:
    one = hub(
        name=name,
        model=model,
        serial=serial,
        installed=installed,
        **OFFERED | {"offered": offered, "description": text, "ota_job_id": name},
        verdict=text,
        refusal=text,
    )
    plain = messages(HOME, hub(**OFFERED))
    said = messages(HOME, one)
    assert list(said) == list(plain), "topics are made of our own keys and numbers only"
    assert errors_in(json.loads(said[HOME.config_topic(7)]), DEVICE_MESSAGE) == []
    assert errors_in(told(one)["update"], UPDATE_STATE) == []
    templates = [
        part.get("value_template")
        for part in announcement(HOME, one)["components"].values()
        if "value_template" in part
    ]
    assert templates == [
        part.get("value_template")
        for part in announcement(HOME, hub(**OFFERED))["components"].values()
        if "value_template" in part
    ], "and templates hold none of their words"
    assert all(len(told(one)[name]["state"] or "") <= 255 for name in ("verdict", "refusal"))


def test_numbers_are_only_read_from_ones_own_topics() -> None:
    assert HOME.number_in(HOME.hub_topic(12, "install")) == 12
    assert HOME.number_in(HOME.config_topic(12)) == 12
    for topic in (
        "thermacell-web/other/hub/12/install",
        f"{HOME.topic_prefix}/hub/12/install/",
        f"{HOME.topic_prefix}/hub/x/install",
        f"{HOME.topic_prefix}/hub/１２/install",
        "homeassistant/device/thermacell_ffffffff/12/config",
    ):
        assert HOME.number_in(topic) is None


def test_addresses_of_brokers_are_read_and_their_passwords_kept_out_of_sight() -> None:
    broker = read_broker("mqtt://porch:fire%40flies@broker.example.org")
    assert (broker.host, broker.port, broker.is_tls) == ("broker.example.org", 1883, False)
    assert (broker.user, broker.password) == ("porch", "fire@flies")
    assert "flies" not in repr(broker) + str(broker)
    assert read_broker("mqtts://broker.example.org").port == 8883


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker.example.org",
        "http://host",
        "mqtt://",
        "mqtt://host/path",
        "mqtt://h:x",
        "mqtt:h",
    ],
)
def test_an_address_that_is_none_is_refused_in_a_sentence(url: str) -> None:
    with pytest.raises(BrokerUnusable, match="must read"):
        read_broker(url)


def test_certificates_need_tls_and_must_be_some() -> None:
    with pytest.raises(BrokerUnusable, match="mqtts"):
        read_broker("mqtt://host", ca_pem="-----BEGIN CERTIFICATE-----")
    with pytest.raises(BrokerUnusable, match="cannot be read"):
        read_broker("mqtts://host", ca_pem="-----BEGIN CERTIFICATE-----\nx")
    with pytest.raises(BrokerUnusable, match="cannot be read"):
        read_broker("mqtts://host", client_pem="nothing")
