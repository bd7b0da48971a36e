"""Groups of hubs in the simulated cloud, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.simcloud_api import Api, refusal

pytestmark = pytest.mark.processes


def test_groups_are_made_filled_read_and_removed(me: Api, spare: Iterator[str]) -> None:
    one, two, path = next(spare), next(spare), "/v1/user/node_group"
    _, made = me.call("POST", path, group_name="Lake side", nodes=[one])
    group = f"{path}?group_id={made['group_id']}"
    me.call("PUT", group, node_list=[two])
    _, details = me.get(f"{group}&node_list=true")
    assert details["groups"][0]["nodes"] == [one, two]
    assert me.get(f"/v1/user/nodes?group_id={made['group_id']}")[1]["nodes"] == [one, two]
    me.call("PUT", group, operation="remove", nodes=[one], group_name="Dock side")
    _, details = me.get(f"{path}?node_details=true&sub_groups=true")
    found = details["groups"][-1]
    assert (found["group_name"], found["nodes"], found["total"]) == ("Dock side", [two], 1)
    assert found["node_details"][0]["id"] == two
    assert me.call("DELETE", group)[0] == 200
    assert refusal(me.get(group)) == (404, 108023)
    assert refusal(me.call("DELETE", path)) == (400, 108016)


def test_an_account_with_several_hubs_has_groups_from_the_start(me: Api) -> None:
    _, found = me.get("/v1/user/node_group?node_list=true")
    front, back = found["groups"][:2]
    assert (front["group_name"], back["group_name"]) == ("Front yard", "Back yard")
    nodes = me.get("/v1/user/nodes")[1]["nodes"]
    assert front["nodes"] + back["nodes"] == nodes
