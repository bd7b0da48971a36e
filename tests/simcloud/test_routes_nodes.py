"""The simulated cloud's hubs over real HTTP: lists, details, parameters, schedules."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.simcloud_api import Api, refusal
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.processes


def test_listing_is_whole_unless_pages_are_asked_for(me: Api) -> None:
    _, found = me.get("/v1/user/nodes")
    assert len(found["nodes"]) == found["total"] == 40
    assert "node_details" not in found
    assert "next_id" not in found
    assert me.get("/v1/user/nodes?start_id=")[1] == found


def test_pages_join_up(me: Api) -> None:
    everything, start, pages = [], "", 0
    while True:
        path = f"/v1/user/nodes?num_records=15&start_id={start}&node_details=true"
        _, found = me.get(path)
        everything += found["nodes"]
        assert [node["id"] for node in found["node_details"]] == found["nodes"]
        pages, start = pages + 1, found.get("next_id", "")
        if not start:
            break
    assert pages == 3
    assert everything == me.get("/v1/user/nodes")[1]["nodes"]


def test_wrong_page_is_refused(me: Api) -> None:
    assert refusal(me.get("/v1/user/nodes?start_id=nonsense")) == (500, 105043)
    assert refusal(me.get("/v1/user/nodes?num_records=none"))[0] == 400


def test_details_carry_what_each_client_reads(me: Api) -> None:
    node = me.get("/v1/user/nodes")[1]["nodes"][0]
    found = me.get(f"/v1/user/nodes?node_id={node}")[1]["node_details"][0]
    assert found["id"] == found["node_id"] == found["config"]["node_id"] == node
    assert found["role"] == "primary"
    assert found["primary"] is True
    info = found["config"]["info"]
    assert info["name"] == "Thermacell LIV Hub"
    assert info["type"] == info["model"] == "thermacell-hub"
    params = found["params"]["LIV Hub"]
    assert found["config"]["devices"][0]["serial_num"] == params["Hub ID"]
    assert isinstance(params["System Runtime"], int)
    assert found["tags"] == []
    ms = found["status"]["connectivity"]["timestamp"]
    assert type(ms) is int
    assert 1e12 < ms < (time.time() + 60) * 1000
    published = {p["name"] for p in found["config"]["devices"][0]["params"]}
    assert set(params) <= published


def test_parts_of_the_details_can_be_left_out(me: Api) -> None:
    path = "/v1/user/nodes?node_details=true&config=false&params=false&status=false&show_tags=false"
    for found in me.get(path)[1]["node_details"]:
        assert not {"config", "params", "status", "tags"} & set(found)


@pytest.mark.parametrize("name", ["node_id", "nodeid"])
@pytest.mark.parametrize("what", ["config", "status", "params"])
def test_both_spellings_of_the_node_id_work(me: Api, what: str, name: str) -> None:
    found = me.get("/v1/user/nodes?node_details=true")[1]["node_details"][3]
    status, body = me.get(f"/v1/user/nodes/{what}?{name}={found['id']}")
    assert status == 200
    part = found[what]
    assert set(body) == set(part)


@pytest.mark.parametrize(
    ("path", "missing", "foreign"),
    [
        ("config", (400, 100009), (400, 100010)),
        ("status", (400, 100009), (400, 103020)),
        ("params", (400, 100009), (400, 100010)),
        ("ota_update", (400, 105018), (400, 103020)),
    ],
)
def test_missing_and_foreign_nodes_are_refused(
    me: Api, other: Api, path: str, missing: tuple[int, int], foreign: tuple[int, int]
) -> None:
    theirs = other.get("/v1/user/nodes")[1]["nodes"][0]
    assert refusal(me.get(f"/v1/user/nodes/{path}")) == missing
    assert refusal(me.get(f"/v1/user/nodes/{path}?node_id={theirs}")) == foreign
    assert refusal(me.get(f"/v1/user/nodes/{path}?node_id=nonsense")) == foreign
    assert refusal(me.get(f"/v1/user/nodes?node_id={theirs}")) == (404, 100015)


def test_params_are_written_to_one_node_or_to_many(me: Api, spare: Iterator[str]) -> None:
    one, two = next(spare), next(spare)
    body = {"LIV Hub": {"Name": "Herb bed", "LED Hue": 120}}
    assert me.call("PUT", f"/v1/user/nodes/params?nodeid={one}", body)[0] == 200
    found = me.get(f"/v1/user/nodes/params?node_id={one}")[1]["LIV Hub"]
    assert (found["Name"], found["LED Hue"]) == ("Herb bed", 120)
    batch = [
        {"node_id": two, "payload": {"LIV Hub": {"Enable Repellers": True}}},
        {"node_id": "nonsense", "payload": {"LIV Hub": {"Enable Repellers": True}}},
    ]
    status, answers = me.call("PUT", "/v1/user/nodes/params", batch)
    assert status == 207
    assert [answer["status"] for answer in answers] == ["success", "failure"]
    found = me.get(f"/v1/user/nodes/params?node_id={two}")[1]["LIV Hub"]
    assert (found["Enable Repellers"], found["System Status"]) == (True, 2)


def test_params_that_crash_or_do_not_fit_are_refused(me: Api, spare: Iterator[str]) -> None:
    path = f"/v1/user/nodes/params?node_id={next(spare)}"
    for body in ({"LIV Hub": {"LED Saturation": 3}}, {"LIV Hub": 3}, {}):
        assert refusal(me.call("PUT", path, body)) == (400, 100012)
    assert refusal(me.call("PUT", path, [{}] * 26)) == (400, 100012)
    assert refusal(me.call("PUT", path, 3)) == (400, 100006)


def test_tags_and_metadata_merge(me: Api, spare: Iterator[str]) -> None:
    node = next(spare)
    path = f"/v1/user/nodes?node_id={node}"

    def told() -> tuple[Any, Any]:
        found = me.get(path)[1]["node_details"][0]
        return found["tags"], found.get("metadata")

    me.call("PUT", path, tags=["place:lake"], metadata={"a": {"x": 1, "y": [1]}, "b": 2})
    me.call("PUT", path, tags=["place:lake", "kind:dock"], metadata={"a": {"y": [2]}, "b": None})
    assert told() == (["place:lake", "kind:dock"], {"a": {"x": 1, "y": [2]}})
    assert me.get("/v1/user/nodes?tags=kind:dock")[1]["nodes"] == [node]
    assert refusal(me.call("PUT", path, tags=["nocolon"])) == (400, 105046)
    me.call("DELETE", path, tags=["place:lake"])
    me.call("PUT", path, {"metadata": None})
    assert told() == (["kind:dock"], None)
    assert refusal(me.call("DELETE", "/v1/user/nodes", tags=["a:b"])) == (400, 105018)


def test_schedules_are_kept_as_their_operations_say(me: Api, spare: Iterator[str]) -> None:
    path = f"/v1/user/nodes/params?node_id={next(spare)}"

    def write(**schedule: Any) -> list[Any]:
        me.call("PUT", path, {"Schedule": {"Schedules": [schedule]}})
        return list(me.get(path)[1]["Schedule"]["Schedules"])

    assert write(id="A1", operation="add", name="Dusk") == [
        {"enabled": True, "id": "A1", "name": "Dusk"}
    ]
    assert write(id="A1", operation="disable")[0]["enabled"] is False
    assert write(id="A1", operation="remove") == []


def test_reboot_takes_a_hub_away_for_a_moment(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node = next(spare)
    me.call("PUT", f"/v1/user/nodes/params?node_id={node}", {"System": {"Reboot": True}})
    assert cloud.hub(node)["online"] is True
    cloud.advance(5)
    assert cloud.hub(node)["online"] is False
    cloud.advance(20)
    assert cloud.hub(node)["online"] is True


def test_hub_never_seen_has_no_connectivity_and_no_params(
    cloud: SimCloud, me: Api, spare: Iterator[str]
) -> None:
    node = next(spare)
    cloud.set_scenario(node, "offline", never=True)
    assert me.get(f"/v1/user/nodes/status?node_id={node}") == (200, {"connectivity": {}})
    assert refusal(me.get(f"/v1/user/nodes/params?node_id={node}")) == (400, 102006)
