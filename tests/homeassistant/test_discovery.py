"""What Home Assistant is sent about a hub, compared with what it documents."""

import json
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any

import pytest
from django.utils.translation import override
from hypothesis import given
from hypothesis import strategies as st

from devices.homeassistant.broker import BrokerUnusable, read_broker
from devices.homeassistant.discovery import (
    COMPONENTS,
    Home,
    Hub,
    announcement,
    messages,
    readable_model,
    removal,
    when_of,
)
from devices.models import CloudAccount, Household, Node, Offer, OtaJob, Plan, State
from devices.models.attention import Attention
from devices.models.homeassistant import PRESS_WHEN
from devices.presentation.serializers import HubData, InstallData, PlanData, page_of
from tests.support.homeassistant_schema import (
    DEVICE_MESSAGE,
    DISCOVERY_TOPIC,
    UPDATE_STATE,
    errors_in,
)

HOME = Home("a1b2c3d4", "thermacell-web/0123456789abcdef0123", "homeassistant")
AT = datetime(2026, 11, 20, 18, 30, tzinfo=UTC)
NODE = Node(
    pk=7,
    account=CloudAccount(household=Household(name="Garden house"), base_url="https://cloud.test"),
    node_id="NODE7",
    name="Back porch",
    model="thermacell-hub",
    serial="N03HA00000000001",
    fw_version="5.3.2",
    is_online=True,
    checked_at=AT,
)
OFFER = Offer(
    ota_job_id="OTA_JOB_12345",
    fw_version="5.3.3",
    description="Bug fixes",
    size_bytes=245760,
    md5="a1b2",
    first_seen_at=AT,
)


def hub(
    offered: dict[str, Any] | None = None,
    install: InstallData | None = None,
    press: str | None = "signed:text",
    refusal: str = "",
    **fields: Any,
) -> Hub:
    """Return a hub; offered {} offers the usual firmware, with values another one."""
    node = copy(NODE)
    node.open_offers, node.latest_jobs, node.waiting_plans = [], [], []  # type: ignore[attr-defined]
    node.attention = Attention.NONE
    if offered is not None:
        offer = copy(OFFER)
        for name, value in offered.items():
            setattr(offer, name, value)
        node.open_offers = [offer]  # type: ignore[attr-defined]
    for name, value in fields.items():
        setattr(node, name, value)
    data = replace(HubData.of(node), install=install)
    return Hub(data=data, marked_name=str(node), press=press, refusal=refusal)


def installing(info: str = "", badge: str = "") -> InstallData:
    job = OtaJob(
        pk=3,
        node=NODE,
        hub_name="Back porch",
        cloud_node_id="NODE7",
        from_version="5.3.2",
        to_version="5.3.3",
        state="running",
        cloud_word="in-progress" if info else "",
        cloud_info=info,
    )
    data = InstallData.of(job)
    return replace(data, badge=badge or data.badge)


def payloads(one: Hub) -> dict[str, Any]:
    """Return {last part of the topic: payload}, each checked to be JSON."""
    found = {}
    for topic, payload in messages(HOME, one).items():
        found[topic.rpartition("/")[2]] = json.loads(payload)
    return found


@pytest.mark.parametrize(
    "one",
    [
        hub(),
        hub({}),
        hub({}, installing("Downloaded 40% Firmware Image")),
        hub(fw_version="", model="", serial="", is_online=None, checked_at=None),
        hub({}, press=None),
    ],
    ids=["up to date", "offered", "installing", "hardly known", "may not press"],
)
def test_a_hub_is_announced_as_documented(one: Hub) -> None:
    assert errors_in(announcement(HOME, one), DEVICE_MESSAGE) == []
    assert errors_in(payloads(one)["update"], UPDATE_STATE) == []
    assert DISCOVERY_TOPIC.match(HOME.config_topic(one.data.id))


def test_each_platform_is_there_and_reads_a_topic_that_is_published() -> None:
    sent = messages(HOME, hub({}))
    announced = announcement(HOME, hub({}))
    assert {name: one["platform"] for name, one in announced["components"].items()} == COMPONENTS
    read = {
        value
        for one in announced["components"].values()
        for name, value in one.items()
        if name in {"state_topic", "json_attributes_topic"}
    }
    assert read == set(sent) - {HOME.config_topic(7)} | {HOME.hub_topic(7, "event")}
    assert next(iter(sent)) == HOME.config_topic(7), "the states come after what resets them"
    assert set(removal(HOME, 7)) == set(sent), "all that is published can be taken back"


def test_the_update_entity_says_what_is_installed_and_offered() -> None:
    one = hub({}, installing("Downloaded 40% Firmware Image"))
    assert payloads(one)["update"] == {
        "installed_version": "5.3.2",
        "latest_version": "5.3.3",
        "in_progress": True,
        "update_percentage": 40,
    }


def test_title_notes_and_link_are_announced_where_home_assistant_keeps_them() -> None:
    part = announcement(HOME, hub({}))["components"]["update"]
    assert (part["title"], part["release_summary"], part["release_url"]) == (
        "LIV Hub firmware",
        "Bug fixes",
        page_of("hub", 7),
    )
    # a state would be forgotten with the next announcement, which every press brings
    assert not {"title", "release_summary", "release_url"} & payloads(hub({}))["update"].keys()


def test_a_press_announces_only_the_two_components_that_send_it() -> None:
    before = announcement(HOME, hub({}, press="first"))
    after = announcement(HOME, hub({}, press="second"))
    changed = {
        name for name, part in before["components"].items() if part != after["components"][name]
    }
    assert changed == {"update", "install"}
    assert {name: before[name] for name in before if name != "components"} == {
        name: after[name] for name in after if name != "components"
    }


def test_what_installs_is_kept_off_automatic_dashboards() -> None:
    parts = announcement(HOME, hub({}))["components"]
    acting = {name for name, part in parts.items() if "command_topic" in part}
    assert acting == {"update", "install", "when", "check"}
    assert all(parts[name]["entity_category"] for name in acting)
    off = {name for name, part in parts.items() if part.get("enabled_by_default") is False}
    assert off == {"in_use", "signal", "refill"}


@pytest.mark.parametrize("can_install", [True, False])
def test_the_button_is_available_only_when_a_press_would_count(can_install: bool) -> None:
    one = replace(hub({}), can_install=can_install)
    part = announcement(HOME, one)["components"]["install"]
    assert part["availability_mode"] == "all"
    assert [place["topic"] for place in part["availability"]] == [
        HOME.status_topic,
        HOME.hub_topic(7, "facts"),
    ]
    assert payloads(one)["facts"]["can_install"] is can_install


@pytest.mark.parametrize("language", ["en", "de", "es"])
def test_each_moment_is_shown_and_chosen_by_its_words(language: str) -> None:
    with override(language):
        part = announcement(HOME, hub({}))["components"]["when"]
        assert len(part["options"]) == len(PRESS_WHEN)
        for when in PRESS_WHEN:
            shown = payloads(replace(hub({}), when=when))["facts"]["when"]
            assert shown in part["options"]
            assert (when_of(shown), when_of(when.value)) == (when, when)
    assert when_of("at") is when_of("some time") is None


def test_a_plan_is_a_time_with_the_reason_for_the_wait() -> None:
    assert payloads(hub({}))["plan"] == {"state": None, "waits": "nothing is planned", "about": {}}
    plan = PlanData.of(
        Plan(
            pk=4,
            node=NODE,
            household=NODE.account.household,
            when="tonight",
            not_before=AT,
            expires_at=AT,
            window_start=time(22),
            window_end=time(5),
            binding={"to_version": "5.3.3"},
        )
    )
    one = replace(hub({}), plan=replace(plan, reason="The hub is in use."), plan_starts_at=AT)
    sent = payloads(one)
    assert sent["plan"]["state"] == sent["offer"]["planned_at"] == "2026-11-20T18:30:00.000+00:00"
    assert sent["plan"]["waits"] == "The hub is in use."
    assert sent["plan"]["about"] == sent["offer"]["plan"]
    assert sent["offer"]["plan"]["when"] == "tonight"
    assert payloads(replace(one, plan=plan))["plan"]["waits"].startswith("tonight, 22:00")


@pytest.mark.parametrize("state", State)
def test_the_verdict_is_one_of_its_options(state: State) -> None:
    one = hub({}, replace(installing(), state=state))
    options = announcement(HOME, one)["components"]["verdict"]["options"]
    assert payloads(one)["verdict"]["state"] in options


@pytest.mark.parametrize("language", ["de", "es"])
def test_everything_has_names_in_each_language(language: str) -> None:
    english = announcement(HOME, hub({}))["components"]
    with override(language):
        parts = announcement(HOME, hub({}))["components"]
    same = {name for name, part in parts.items() if part["name"] == english[name]["name"]}
    assert same <= {"update"}, "Firmware is Firmware"
    assert parts["update"]["title"] != english["update"]["title"]
    assert parts["verdict"]["options"] != english["verdict"]["options"]


def test_a_step_back_is_called_one() -> None:
    one = hub({"fw_version": "5.3.1"})
    part = announcement(HOME, one)["components"]["update"]
    assert part["title"] == "LIV Hub firmware (older version)"
    assert part["release_summary"] == "Older than the installed version. Bug fixes"
    assert payloads(one)["offer"]["is_step_back"] is True
    assert payloads(one)["facts"]["available"] == "ON"
    assert payloads(hub({}))["offer"]["is_step_back"] is False


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("thermacell-hub", "LIV Hub"),
        ("thermacell_hub-2", "Thermacell Hub 2"),
        ("LIV Hub 2", "LIV Hub 2"),
        ("", ""),
        (None, ""),
    ],
)
def test_models_are_readable(model: str | None, shown: str) -> None:
    assert readable_model(model) == shown


def test_without_an_offer_nothing_newer_is_claimed() -> None:
    sent = payloads(hub())
    assert sent["update"]["latest_version"] == sent["update"]["installed_version"] == "5.3.2"
    assert sent["facts"]["available"] == "OFF"
    assert sent["offer"]["available_version"] is None
    assert "release_summary" not in announcement(HOME, hub())["components"]["update"]


def test_a_percent_is_only_said_when_the_hub_gave_one() -> None:
    assert payloads(hub({}, installing()))["update"]["update_percentage"] is None
    over = replace(installing("Downloaded 40% Firmware Image"), is_over=True)
    assert payloads(hub({}, over))["update"]["update_percentage"] is None


def test_the_binary_sensor_has_the_attributes_a_home_assistant_sensor_would_have() -> None:
    sent = payloads(hub({}))
    about = sent["offer"]
    assert (about["available_version"], about["description"], about["file_size"]) == (
        "5.3.3",
        "Bug fixes",
        245760,
    )
    assert (about["ota_available"], about["fw_version"]) == (True, "5.3.2")
    assert about["offer"] == {
        "ota_job_id": "OTA_JOB_12345",
        "fw_version": "5.3.3",
        "description": "Bug fixes",
        "file_size": 245760,
        "file_md5": "a1b2",
        "first_seen_at": "2026-11-20T18:30:00.000+00:00",
    }
    one = announcement(HOME, hub({}))["components"]["available"]
    assert one["json_attributes_topic"].endswith("/offer")


def test_who_may_not_press_gets_no_button() -> None:
    parts = announcement(HOME, hub({}, press=None))["components"]
    assert parts["install"] == {"platform": "button"}
    assert parts["when"] == {"platform": "select"}
    assert "command_topic" not in parts["update"]


def test_a_long_description_is_cut_for_the_summary_and_whole_in_the_attributes() -> None:
    one = hub({"description": "ä" * 5000})
    assert len(announcement(HOME, one)["components"]["update"]["release_summary"]) == 255
    assert len(payloads(one)["offer"]["description"]) == 5000


NASTY = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300)


@given(name=NASTY, model=NASTY, serial=NASTY, installed=NASTY, offered=NASTY, text=NASTY)
def test_no_name_or_text_breaks_a_topic_or_a_payload(
    name: str, model: str, serial: str, installed: str, offered: str, text: str
) -> None:
    one = hub(
        name=name,
        model=model,
        serial=serial,
        fw_version=installed,
        offered={"fw_version": offered, "description": text, "ota_job_id": name},
        install=installing(badge=text),
        refusal=text,
    )
    plain = messages(HOME, hub({}))
    sent = messages(HOME, one)
    assert list(sent) == list(plain), "topics are made of our own keys and numbers only"
    assert errors_in(json.loads(sent[HOME.config_topic(7)]), DEVICE_MESSAGE) == []
    assert errors_in(payloads(one)["update"], UPDATE_STATE) == []
    templates = [
        part.get("value_template")
        for part in announcement(HOME, one)["components"].values()
        if "value_template" in part
    ]
    assert templates == [
        part.get("value_template")
        for part in announcement(HOME, hub({}))["components"].values()
        if "value_template" in part
    ], "and templates hold none of their words"
    assert all(len(payloads(one)[name]["state"] or "") <= 255 for name in ("verdict", "refusal"))


def test_numbers_are_only_read_from_ones_own_topics() -> None:
    assert HOME.number_in(HOME.hub_topic(12, "install")) == 12
    assert HOME.number_in(HOME.config_topic(12)) == 12
    for topic in (
        "thermacell-web/other/hub/12/install",
        f"{HOME.topic_prefix}/hub/12/install/",
        f"{HOME.topic_prefix}/hub/x/install",
        f"{HOME.topic_prefix}/hub/{'9' * 5_000}/install",
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


@pytest.mark.parametrize("user", ["%0D%0ASET%20x", "a%00b", "a%1bb", "%7f"])
def test_a_user_of_a_broker_holds_no_line_of_another_protocol(user: str) -> None:
    for url in (f"mqtt://{user}:p@host", f"mqtt://u:{user}@host"):
        with pytest.raises(BrokerUnusable, match="control characters"):
            read_broker(url)


def test_certificates_need_tls_and_must_be_some() -> None:
    with pytest.raises(BrokerUnusable, match="mqtts"):
        read_broker("mqtt://host", ca_pem="-----BEGIN CERTIFICATE-----")
    with pytest.raises(BrokerUnusable, match="cannot be read"):
        read_broker("mqtts://host", ca_pem="-----BEGIN CERTIFICATE-----\nx")
    with pytest.raises(BrokerUnusable, match="cannot be read"):
        read_broker("mqtts://host", client_pem="nothing")
