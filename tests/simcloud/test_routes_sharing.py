"""Hubs of the simulated cloud are shared and transferred, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.simcloud_api import OTHER, Api, refusal
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.processes


def test_sharing_from_asking_to_leaving(cloud: SimCloud, me: Api, spare: Iterator[str]) -> None:
    node, guest = next(spare), Api(cloud.url, *OTHER)
    _, asked = me.call("PUT", "/v1/user/nodes/sharing", nodes=[node], user_name=OTHER[0])
    request_id = asked["request_id"]
    _, waiting = guest.get("/v1/user/nodes/sharing/requests?primary_user=false")
    found = next(r for r in waiting["sharing_requests"] if r["request_id"] == request_id)
    assert (found["request_status"], found["node_ids"]) == ("pending", [node])
    assert refusal(guest.get(f"/v1/user/nodes/status?node_id={node}")) == (400, 103020)
    accept = {"accept": True, "request_id": request_id}
    assert guest.call("PUT", "/v1/user/nodes/sharing/requests", accept)[0] == 200
    assert refusal(guest.call("PUT", "/v1/user/nodes/sharing/requests", accept))[0] == 400
    details = guest.get(f"/v1/user/nodes?node_id={node}")[1]["node_details"][0]
    assert (details["role"], details["primary"]) == ("secondary", False)
    _, shares = me.get(f"/v1/user/nodes/sharing?node_id={node}")
    assert shares["node_sharing"][0]["users"] == {
        "primary": ["me@example.com"],
        "secondary": [OTHER[0]],
    }
    assert refusal(
        guest.call("PUT", "/v1/user/nodes/sharing", nodes=[node], user_name="me@example.com")
    )
    path = f"/v1/user/nodes/sharing?nodes={node}&user_name={OTHER[0]}"
    assert guest.call("DELETE", path)[0] == 200
    assert node not in guest.get("/v1/user/nodes")[1]["nodes"]


def test_sharing_can_be_declined_and_taken_back(cloud: SimCloud, spare: Iterator[str]) -> None:
    node = next(spare)
    cloud.add_account("giver@example.com", "pw", [node])
    cloud.add_account("taker@example.com", "pw")
    giver = Api(cloud.url, "giver@example.com", "pw")
    taker = Api(cloud.url, "taker@example.com", "pw")
    path = "/v1/user/nodes/sharing/requests"
    ask = {"node_ids": [node], "user_name": "taker@example.com"}
    first, second = (giver.call("PUT", path, ask)[1]["request_id"] for _ in range(2))
    taker.call("PUT", path, accept=False, request_id=first)
    assert giver.call("DELETE", f"{path}?request_id={second}")[0] == 200
    left = giver.get(f"{path}?primary_user=true")[1]["sharing_requests"]
    assert [(r["request_id"], r["request_status"]) for r in left] == [(first, "declined")]
    assert taker.get("/v1/user/nodes")[1]["nodes"] == []


def test_transfer_changes_the_primary_user(cloud: SimCloud, spare: Iterator[str]) -> None:
    node = next(spare)
    cloud.add_account("seller@example.com", "pw", [node])
    cloud.add_account("buyer@example.com", "pw")
    seller = Api(cloud.url, "seller@example.com", "pw")
    buyer = Api(cloud.url, "buyer@example.com", "pw")
    ask = {"nodes": [node], "user_name": "buyer@example.com", "transfer": True}
    asked = seller.call("PUT", "/v1/user/nodes/sharing/requests", ask)[1]
    buyer.call("PUT", "/v1/user/nodes/sharing", accept=True, request_id=asked["request_id"])
    assert cloud.hub(node)["owner"] == "buyer@example.com"
    assert seller.get("/v1/user/nodes")[1]["nodes"] == []
    assert buyer.get(f"/v1/user/nodes?node_id={node}")[1]["node_details"][0]["primary"] is True
