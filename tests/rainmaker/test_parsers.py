"""Reading the cloud's JSON: what is understood, what is unknown, what is refused."""

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.rainmaker import parsers
from devices.rainmaker.errors import AnswerUnreadable, NoVersion
from devices.rainmaker.schemas import OtaWord, Repellent

OFFER = {
    "status": "success",
    "ota_available": True,
    "description": "New firmware version with bug fixes",
    "fw_version": "5.3.3",
    "ota_job_id": "OTA_JOB_12345",
    "file_size": 245760,
    "url": "https://images.example/firmware_5.3.3.bin?signature=SECRET",
    "file_md5": "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6",
}
CONFIG = {
    "node_id": "JM7UVxmMgPUYUhVJVBWEf6",
    "config_version": "2020-03-20",
    "info": {
        "name": "Thermacell LIV Hub",
        "fw_version": "5.3.2",
        "type": "thermacell-hub",
        "model": "thermacell-hub",
        "project_name": "liv",
        "platform": "esp32",
    },
    "devices": [{"name": "LIV Hub", "serial_num": "N03HA31924B9062"}],
    "services": [{"name": "OTA", "type": "esp.service.ota"}],
}
HUB = {
    "Name": "Patio",
    "Hub ID": "N03HA31924B9062",
    "Enable Repellers": True,
    "Refill Life": 62.5,
    "System Runtime": 1234,
    "System Status": 3,
    "Error": 0x01000048,
    "RSSI": -61,
}
ELEMENT = {
    "id": "JM7UVxmMgPUYUhVJVBWEf6",
    "role": "primary",
    "config": CONFIG,
    "status": {"connectivity": {"connected": True, "timestamp": 1584698464101}},
    "params": {"LIV Hub": HUB},
}


def without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def changed(fields: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {**fields, **values}


def test_an_offer_is_read_whole_and_its_link_stays_out_of_sight():
    offer = parsers.read_offer(OFFER)
    assert offer.is_available
    assert (offer.ota_job_id, offer.fw_version) == ("OTA_JOB_12345", "5.3.3")
    assert (offer.size_bytes, offer.md5) == (245760, "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6")
    assert offer.url.endswith("signature=SECRET")
    assert "SECRET" not in repr(offer)


@pytest.mark.parametrize("word", [False, None])
def test_no_update_is_read_as_such_with_everything_else_empty(word):
    offer = parsers.read_offer(changed(OFFER, ota_available=word))
    assert not offer.is_available
    assert (offer.ota_job_id, offer.fw_version, offer.url, offer.size_bytes) == ("", "", "", None)


@pytest.mark.parametrize("word", ["true", "false", 1, 0, "", [], {}])
def test_neither_true_nor_false_is_not_guessed(word):
    with pytest.raises(AnswerUnreadable, match="neither yes nor no"):
        parsers.read_offer(changed(OFFER, ota_available=word))


def test_an_answer_that_does_not_say_is_not_read_as_up_to_date():
    with pytest.raises(AnswerUnreadable, match="does not say whether"):
        parsers.read_offer({"status": "success"})


@pytest.mark.parametrize("bad", ["", None, 7, "a\nb", "x" * 129, " a", "\ud800"])
def test_an_offer_without_a_usable_job_id_is_unreadable(bad):
    with pytest.raises(AnswerUnreadable, match="job id"):
        parsers.read_offer(changed(OFFER, ota_job_id=bad))


@pytest.mark.parametrize("bad", ["", None, 5.3, "5\x00", "5" * 65])
def test_an_offer_without_a_usable_version_is_unreadable(bad):
    with pytest.raises(AnswerUnreadable, match="firmware version"):
        parsers.read_offer(changed(OFFER, fw_version=bad))


@pytest.mark.parametrize(
    ("sent", "size_bytes"),
    [(0, 0), ("245760", 245760), (2.0, 2), (-1, None), ("big", None), (None, None), (True, None)],
)
def test_sizes(sent, size_bytes):
    assert parsers.read_offer(changed(OFFER, file_size=sent)).size_bytes == size_bytes


def test_a_description_keeps_its_lines_and_loses_other_control_characters():
    offer = parsers.read_offer(changed(OFFER, description="a\nb\x00c\ud800d"))
    assert offer.description == "a\nb c d"


def test_a_description_is_whole_up_to_a_bound_and_then_marked_as_cut():
    notes = "A" * 1990 + " IMPORTANT: install 5.3.3 first."
    offer = parsers.read_offer(changed(OFFER, description=notes))
    assert (offer.description, offer.is_description_cut) == (notes, False)
    longest = parsers.read_offer(changed(OFFER, description="é" * 65_536))
    assert (len(longest.description), longest.is_description_cut) == (65_536, False)
    cut = parsers.read_offer(changed(OFFER, description="é" * 65_537))
    assert (len(cut.description), cut.is_description_cut) == (65_536, True)


@pytest.mark.parametrize(
    "sent",
    ["5.3.3 ", " 5.3.3", "5.3.3\n", "\t5.3.3\r\n", "5.3.3\xa0", "\ufeff5.3.3", "5.3.3\u200b"],
)
def test_spaces_around_a_version_say_nothing_and_the_original_is_kept(sent):
    offer = parsers.read_offer(changed(OFFER, fw_version=sent))
    assert offer.fw_version == "5.3.3"
    assert "5.3.3" in offer.fw_version_as_sent
    assert len(offer.fw_version_as_sent) > len("5.3.3")
    config = parsers.read_node_config(changed(CONFIG, info={"fw_version": sent}))
    assert config.fw_version == "5.3.3"
    assert config.fw_version_as_sent == offer.fw_version_as_sent


WINDOW = {"start": 60, "end": 300}
VALIDITY = {"start": 1704067200, "end": 1704153600}


@pytest.mark.parametrize("as_text", [False, True])
def test_the_limits_of_an_offer_in_time_are_read(as_text):
    metadata: Any = {"download_window": WINDOW, "validity": VALIDITY, "own": "x"}
    offer = parsers.read_offer(
        changed(OFFER, metadata=json.dumps(metadata) if as_text else metadata)
    )
    assert (offer.window_start_min, offer.window_end_min) == (60, 300)
    assert offer.valid_from == INSTANT
    assert offer.valid_until == INSTANT + timedelta(days=1)
    assert offer.is_window_readable
    assert json.loads(offer.metadata) == metadata


@pytest.mark.parametrize("metadata", [None, {}, "", {"own": 1}, {"validity": {}}, "{}"])
def test_an_offer_without_limits_has_none(metadata):
    offer = parsers.read_offer(changed(OFFER, metadata=metadata))
    assert offer.is_window_readable
    assert offer.valid_from is offer.valid_until is None
    assert offer.window_start_min is offer.window_end_min is None


@pytest.mark.parametrize(
    "metadata",
    [
        "soon",
        [1],
        7,
        {"download_window": {"start": 60}},
        {"download_window": {"start": "noon", "end": 5}},
        {"download_window": {"start": -1, "end": 1500}},
        {"download_window": "nights"},
        {"validity": {"end": "tomorrow"}},
        {"validity": 5},
    ],
)
def test_limits_that_cannot_be_read_are_marked(metadata):
    assert not parsers.read_offer(changed(OFFER, metadata=metadata)).is_window_readable


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("triggered", OtaWord.TRIGGERED),
        ("initiated", OtaWord.STARTED),
        ("started", OtaWord.STARTED),
        ("in_progress", OtaWord.IN_PROGRESS),
        ("in-progress", OtaWord.IN_PROGRESS),
        ("In-Progress ", OtaWord.IN_PROGRESS),
        ("delayed", OtaWord.DELAYED),
        ("success", OtaWord.SUCCESS),
        ("completed", OtaWord.SUCCESS),
        ("SUCCESS", OtaWord.SUCCESS),
        ("rejected", OtaWord.REJECTED),
        ("failed", OtaWord.FAILED),
        ("unknown", OtaWord.UNKNOWN),
        ("rebooting", OtaWord.UNKNOWN),
    ],
)
def test_words_of_both_dialects(word, state):
    status = parsers.read_ota_status({"status": word})
    assert status.state is state
    assert status.word == word.strip()


INSTANT = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timestamp", "at"),
    [
        (1704067200, INSTANT),
        (1704067200000, INSTANT),
        ("1704067200", INSTANT),
        ("1704067200000", INSTANT),
        (1704067200.0, INSTANT),
        ("1704067200.0", INSTANT),
        (1704067200123, datetime(2024, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)),
        (0, None),
        (-5, None),
        (True, None),
        (None, None),
        ("", None),
        ("yesterday", None),
        (10**17, None),
        (10**400, None),
        (float("inf"), None),
        ([], None),
    ],
)
def test_timestamps_in_seconds_and_milliseconds(timestamp, at):
    status = parsers.read_ota_status({"status": "started", "timestamp": timestamp})
    if at is None:
        assert status.at is None
    else:
        assert status.at is not None
        assert abs((status.at - at).total_seconds()) < 0.001
        assert status.raw_timestamp == str(timestamp)


NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timestamp", "is_believed"),
    [
        (NOW, True),
        (NOW + timedelta(minutes=10), True),
        (NOW + timedelta(minutes=11), False),
        (NOW + timedelta(days=3652), False),
        (datetime(2015, 1, 1, tzinfo=UTC), True),
        (datetime(2014, 12, 31, tzinfo=UTC), False),
        (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), False),
    ],
)
def test_a_time_that_cannot_be_true_is_unknown_and_its_text_is_kept(timestamp, is_believed):
    raw = int(timestamp.timestamp() * 1000) if timestamp.year > 1970 else 1
    fields = {"connected": True, "timestamp": raw}
    status = parsers.read_node_status({"connectivity": fields}, now=NOW)
    element = changed(ELEMENT, status={"connectivity": fields})
    (node,) = parsers.read_nodes_page({"node_details": [element]}, now=NOW).nodes
    update = parsers.read_ota_status({"status": "started", "timestamp": raw}, now=NOW)
    for at in (status.changed_at, node.connectivity.changed_at, update.at):
        assert at == (timestamp if is_believed else None)
    assert {status.raw_timestamp, update.raw_timestamp} == {str(raw)}


def test_the_hubs_words_are_kept_verbatim():
    sent = {
        "node_id": "N",
        "status": "in-progress",
        "additional_info": "Downloaded 40% Firmware Image",
        "timestamp": 1704067200000,
        "ts_source": "NODE",
    }
    status = parsers.read_ota_status(sent, node_id="N", ota_job_id="J")
    assert status.info == "Downloaded 40% Firmware Image"
    assert status.source == "NODE"
    assert json.loads(status.verbatim) == sent


def test_a_huge_answer_is_kept_in_part():
    status = parsers.read_ota_status({"status": "failed", "additional_info": "x" * 100_000})
    assert len(status.verbatim) == 4096
    assert len(status.info) == 4000


@pytest.mark.parametrize("status", [None, "", "  ", 3, [], True])
def test_an_answer_without_a_word_is_unreadable(status):
    with pytest.raises(AnswerUnreadable, match="how the update stands"):
        parsers.read_ota_status({"status": status})


@pytest.mark.parametrize("field", ["node_id", "ota_job_id"])
def test_an_answer_about_something_else_is_unreadable(field):
    with pytest.raises(AnswerUnreadable, match="another"):
        parsers.read_ota_status({"status": "success", field: "Z"}, node_id="N", ota_job_id="J")


def test_a_hub_is_read_whole():
    page = parsers.read_nodes_page(
        {"nodes": [ELEMENT["id"]], "node_details": [ELEMENT], "total": "1", "next_id": "abc"}
    )
    assert (page.total, page.next_id, page.skipped) == (1, "abc", 0)
    (node,) = page.nodes
    assert (node.node_id, node.role) == ("JM7UVxmMgPUYUhVJVBWEf6", "primary")
    assert node.connectivity.is_connected is True
    assert node.connectivity.raw_timestamp == "1584698464101"
    assert node.connectivity.changed_at is not None
    assert node.config is not None
    assert (node.config.fw_version, node.config.serial) == ("5.3.2", "N03HA31924B9062")
    assert node.config.device_names == ("LIV Hub",)
    assert node.config.has_ota_service
    assert node.facts is not None
    assert node.facts.name == "Patio"
    assert node.facts.repellent is Repellent.PROTECTED
    assert node.facts.is_on is True
    assert (node.facts.refill_life_percent, node.facts.has_cartridge) == (62.5, True)
    assert node.facts.runtime_minutes == 7404
    assert node.facts.error_bits == 0
    assert node.facts.rssi_dbm == -61


@pytest.mark.parametrize(
    "element",
    [
        changed(ELEMENT, config=None),
        changed(ELEMENT, config=[]),
        changed(ELEMENT, config={"info": {}}),
        changed(ELEMENT, config=changed(CONFIG, node_id="another")),
        without(ELEMENT, "config"),
    ],
)
def test_a_hub_without_a_readable_configuration_is_still_a_hub(element):
    (node,) = parsers.read_nodes_page({"node_details": [element]}).nodes
    assert node.config is None
    assert node.facts is not None


@pytest.mark.parametrize("poison", [None, 7, [], {}, {"id": 5}, {"id": ""}, {"id": "a\x00"}])
def test_one_poisonous_element_does_not_lose_the_others(poison):
    page = parsers.read_nodes_page({"node_details": [ELEMENT, poison, changed(ELEMENT, id="B")]})
    assert [node.node_id for node in page.nodes] == [ELEMENT["id"], "B"]
    assert page.skipped == 1


def test_a_hub_that_is_only_listed_is_not_lost():
    page = parsers.read_nodes_page({"nodes": [ELEMENT["id"], "B"], "node_details": [ELEMENT]})
    assert [node.node_id for node in page.nodes] == [ELEMENT["id"], "B"]
    assert page.nodes[1].config is None
    assert page.nodes[1].connectivity.is_connected is None


def test_the_node_id_is_read_under_either_name():
    element = changed(without(ELEMENT, "id"), node_id=ELEMENT["id"])
    assert parsers.read_nodes_page({"node_details": [element]}).nodes[0].node_id == ELEMENT["id"]


def test_the_role_is_read_under_either_name():
    element = changed(without(ELEMENT, "role"), primary=False)
    assert parsers.read_nodes_page({"node_details": [element]}).nodes[0].role == "secondary"


@pytest.mark.parametrize("answer", [{}, {"nodes": None}, {"nodes": {}}, [], None, "x"])
def test_an_answer_without_a_list_is_not_an_empty_account(answer):
    with pytest.raises(AnswerUnreadable):
        parsers.read_nodes_page(answer)


@pytest.mark.parametrize("next_id", [5, {}, "a\nb"])
def test_a_next_page_that_cannot_be_asked_for_is_unreadable(next_id):
    with pytest.raises(AnswerUnreadable, match="goes on"):
        parsers.read_nodes_page({"nodes": [], "next_id": next_id})


@pytest.mark.parametrize(
    ("params", "has_cartridge", "percent"),
    [(-1, False, None), (0, True, 0), ("50", True, 50), (101, None, None), (None, None, None)],
)
def test_refill_life(params, has_cartridge, percent):
    facts = parsers.read_hub_facts({"LIV Hub": {"Refill Life": params}})
    assert facts is not None
    assert (facts.has_cartridge, facts.refill_life_percent) == (has_cartridge, percent)


@pytest.mark.parametrize(
    ("params", "repellent"),
    [
        ({"System Status": 1}, Repellent.OFF),
        ({"System Status": 2}, Repellent.WARMING),
        ({"System State": 3}, Repellent.PROTECTED),
        ({"System Status": 0}, Repellent.UNKNOWN),
        ({"System Status": 9}, Repellent.UNKNOWN),
        ({"System Status": None, "System State": "2"}, Repellent.WARMING),
        ({}, Repellent.UNKNOWN),
    ],
)
def test_repellent(params, repellent):
    facts = parsers.read_hub_facts({"LIV Hub": params})
    assert facts is not None
    assert facts.repellent is repellent


def test_error_bits_keep_only_what_is_an_error():
    facts = parsers.read_hub_facts({"LIV Hub": {"Error": 0x01000048 | 0x2}})
    assert facts is not None
    assert facts.error_bits == 0x2


def test_another_kind_of_node_has_no_hub_facts():
    assert parsers.read_hub_facts({"Light": {"Power": True}}) is None


def test_a_hub_that_never_connected_is_neither_on_nor_off_line():
    status = parsers.read_node_status({"connectivity": {}})
    assert status.is_connected is None
    assert status.changed_at is None


@pytest.mark.parametrize("status", [None, {}, "online", {"connectivity": None}, 5])
def test_an_element_that_does_not_mention_the_connection_is_marked(status):
    (node,) = parsers.read_nodes_page({"node_details": [changed(ELEMENT, status=status)]}).nodes
    assert node.connectivity.is_connected is None
    assert not node.connectivity.is_reported
    (known,) = parsers.read_nodes_page({"node_details": [ELEMENT]}).nodes
    assert known.connectivity.is_reported
    assert parsers.read_node_status({"connectivity": {}}).is_reported


@pytest.mark.parametrize("name", ["OTA", "Updates"])
def test_the_parameters_of_the_ota_service_are_read_under_its_own_name(name):
    config = changed(CONFIG, services=[{"name": name, "type": "esp.service.ota"}])
    params = {"LIV Hub": HUB, name: {"Status": "in-progress", "Info": "Downloading", "URL": ""}}
    element = changed(ELEMENT, config=config, params=params)
    (node,) = parsers.read_nodes_page({"node_details": [element]}).nodes
    assert node.config is not None
    assert node.facts is not None
    assert (node.config.has_ota_service, node.config.ota_service) == (True, name)
    assert (node.facts.ota_status, node.facts.ota_info) == ("in-progress", "Downloading")


@pytest.mark.parametrize("answer", [{}, {"connectivity": None}, {"connectivity": True}])
def test_an_answer_without_connectivity_is_unreadable(answer):
    with pytest.raises(AnswerUnreadable):
        parsers.read_node_status(answer)


def test_a_configuration_of_another_hub_is_unreadable():
    with pytest.raises(AnswerUnreadable, match="another hub"):
        parsers.read_node_config(CONFIG, node_id="B")


@pytest.mark.parametrize("info", [{}, {"fw_version": None}, {"fw_version": 5}, {"fw_version": " "}])
def test_a_configuration_without_a_version_differs_from_an_unreadable_one(info):
    with pytest.raises(NoVersion):
        parsers.read_node_config(changed(CONFIG, info=info))


@pytest.mark.parametrize("info", [None, "x", []])
def test_a_configuration_without_a_description_is_unreadable(info):
    with pytest.raises(AnswerUnreadable):
        parsers.read_node_config(changed(CONFIG, info=info))


OTHER_KEYS = """
    nodes node_details next_id total connectivity connected timestamp primary additional_info
    ts_source accesstoken idtoken refreshtoken user_id supported_versions serial_num error_code
"""
KEYS = st.sampled_from(
    sorted({*OFFER, *CONFIG, "fw_version", "name", *HUB, *ELEMENT, "LIV Hub", *OTHER_KEYS.split()})
) | st.text(max_size=5)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**310)
    | st.floats()
    | st.text(st.characters(), max_size=30)
    | st.sampled_from(["success", "JM7U", "1704067200", "a.eyJhIjo1fQ.c", "a.[[[.c", "-1"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=8),
    max_leaves=25,
)
READERS = [
    parsers.read_offer,
    parsers.read_ota_status,
    parsers.read_node_status,
    parsers.read_node_config,
    parsers.read_hub_facts,
    parsers.read_nodes_page,
    parsers.read_user,
    parsers.read_action,
    lambda answer: parsers.read_tokens(answer, email="a@b.c"),
]
SHAPES: list[tuple[int, dict[str, Any]]] = [
    (0, OFFER),
    (1, {"status": "started", "timestamp": 5, "additional_info": "x", "ts_source": "NODE"}),
    (2, {"connectivity": {"connected": True, "timestamp": 5}}),
    (3, CONFIG),
    (4, {"LIV Hub": HUB}),
    (5, {"nodes": ["A"], "node_details": [ELEMENT], "total": 1, "next_id": "b"}),
    (8, {"accesstoken": "a.eyJleHAiOjV9.c", "idtoken": "a.e30.c", "refreshtoken": "r"}),
]


@given(answer=JSON)
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_understands_or_says_that_it_does_not(reader, answer):
    with contextlib.suppress(AnswerUnreadable):
        assert_can_be_stored(reader(answer))


@given(data=st.data())
@pytest.mark.parametrize(("number", "shape"), SHAPES)
def test_a_damaged_answer_is_understood_or_refused(number, shape, data):
    answer = json.loads(json.dumps(shape))
    spot = answer
    while True:
        key = data.draw(
            st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot)))
        )
        if isinstance(spot[key], (dict, list)) and spot[key] and data.draw(st.booleans()):
            spot = spot[key]
            continue
        spot[key] = data.draw(JSON)
        break
    with contextlib.suppress(AnswerUnreadable):
        assert_can_be_stored(READERS[number](answer))


def assert_can_be_stored(value: object) -> None:
    """No text that a database refuses, no time without a zone, no number beyond 64 bits."""
    if isinstance(value, str):
        assert "\x00" not in value
        value.encode()
        assert len(value) <= 16_384
    elif isinstance(value, datetime):
        assert value.tzinfo is UTC
    elif isinstance(value, int):
        assert abs(value) < 2**63
    elif isinstance(value, tuple):
        for one in value:
            assert_can_be_stored(one)
    elif hasattr(value, "__slots__") and not isinstance(value, (Repellent, OtaWord)):
        for name in value.__slots__:
            assert_can_be_stored(getattr(value, name))
