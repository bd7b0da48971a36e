"""Sharing hubs between accounts: ask, accept, leave (ESP RainMaker API 3.8.0, esp-rainmaker-cli).

The schema calls the asked-for nodes `node_ids`, its examples and the CLI `nodes`; both are read.
Codes: only their 1070xx range is documented. Unverified one by one.
"""

from __future__ import annotations

from typing import Any

from devices.simcloud.app import Call, Routes
from devices.simcloud.hub import Hub
from devices.simcloud.names import short_id
from devices.simcloud.wire import Refusal, done

EXPIRES_AFTER_S = 7 * 86_400  # as esp-rainmaker-cli shows it
_PATH = "/v1/user/nodes/sharing"


def add(routes: Routes) -> None:
    routes.add("GET", _PATH)(shared_with)
    routes.add("PUT", _PATH)(ask_or_answer)
    routes.add("DELETE", _PATH)(stop)
    routes.add("GET", f"{_PATH}/requests")(requests)
    routes.add("PUT", f"{_PATH}/requests")(ask_or_answer)
    routes.add("DELETE", f"{_PATH}/requests")(take_back)


def shared_with(call: Call) -> dict[str, Any]:
    """Who has which node; a secondary user does not see the other secondaries."""
    if call.request.node_id:
        hubs = [call.hub(call.request.node_id, missing=100009, foreign=100010)]
    else:
        hubs = [call.world.hubs[node] for node in call.account.nodes]
    me = call.account.email
    answer = []
    for hub in hubs:
        others = list(hub.secondaries) if hub.primary == me else [me]
        users = {"primary": [hub.primary], "secondary": others}
        answer.append({"node_id": hub.node_id, "users": users, "sources": ["NODE"]})
    return {"node_sharing": answer}


def ask_or_answer(call: Call) -> dict[str, Any]:
    body = call.request.json_object()
    return _answer(call, body) if "accept" in body else _ask(call, body)


def _ask(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    me, world = call.account.email, call.world
    hubs = _own_hubs(call, body.get("nodes", body.get("node_ids")))
    for hub in hubs:
        if hub.primary != me:
            raise Refusal(107003, "Only the primary user can share a node")
    other = world.account(_email(body)).email
    if other == me:
        raise Refusal(107004, "A node cannot be shared with oneself")
    request_id = short_id("sharing", me, other, len(world.sharing), world.clock.now())
    world.sharing[request_id] = {
        "request_id": request_id,
        "request_status": "pending",
        "request_timestamp": int(world.clock.wire_now()),
        "node_ids": [hub.node_id for hub in hubs],
        "user_name": other,
        "primary_user_name": me,
        "metadata": body.get("metadata") or {},
        "transfer": body.get("transfer") is True,
        "new_role": body.get("new_role", ""),
    }
    world.is_touched = True
    return done("Sharing request created", request_id=request_id)


def _answer(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    found = _request(call, body.get("request_id"), "user_name")
    if not isinstance(body["accept"], bool):
        raise Refusal(100006, "Invalid request body")
    if found["request_status"] != "pending":
        raise Refusal(107007, "The sharing request is no longer open")
    found["request_status"] = "accepted" if body["accept"] else "declined"
    if body["accept"]:
        for node in found["node_ids"]:
            _hand_over(call, call.world.hubs[node], found)
    call.world.is_touched = True
    return done("Sharing request " + found["request_status"])


def _hand_over(call: Call, hub: Hub, found: dict[str, Any]) -> None:
    world, giver = call.world, found["primary_user_name"]
    world.share(hub, call.account.email)
    if found["transfer"]:
        del hub.secondaries[call.account.email]
        world.give(hub, call.account.email)
        if found["new_role"] == "secondary":
            world.share(hub, giver)
        else:
            world.unshare(hub, giver)


def requests(call: Call) -> dict[str, Any]:
    """Requests made to the caller, or by them with primary_user=true."""
    side = "primary_user_name" if call.request.flag("primary_user", False) else "user_name"
    wanted, now = call.request.query.get("request_id"), call.world.clock.wire_now()
    found = [
        {key: value for key, value in one.items() if key not in ("transfer", "new_role")}
        for one in call.world.sharing.values()
        if one[side] == call.account.email
        and now - one["request_timestamp"] < EXPIRES_AFTER_S
        and wanted in (None, "", one["request_id"])
    ]
    return {"sharing_requests": found, "next_request_id": "", "next_user_name": ""}


def take_back(call: Call) -> dict[str, Any]:
    found = _request(call, call.request.query.get("request_id"), "primary_user_name")
    del call.world.sharing[found["request_id"]]
    call.world.is_touched = True
    return done("Sharing request removed")


def stop(call: Call) -> dict[str, Any]:
    """The primary user ends someone's use of nodes, or a secondary their own."""
    me, query = call.account.email, call.request.query
    other = query.get("user_name", "").lower() or me
    hubs = _own_hubs(call, [node for node in query.get("nodes", "").split(",") if node])
    for hub in hubs:
        if me not in (hub.primary, other):
            raise Refusal(107003, "Only the primary user can stop sharing a node")
        if other not in hub.secondaries:
            raise Refusal(107005, "The node is not shared with that user")
    for hub in hubs:
        call.world.unshare(hub, other)
    return done("Sharing removed")


def _own_hubs(call: Call, nodes: object) -> list[Hub]:
    if not isinstance(nodes, list) or not nodes:
        raise Refusal(100006, "Invalid request body")
    return [call.hub(str(node), missing=100009, foreign=100010) for node in nodes]


def _email(body: dict[str, Any]) -> str:
    email = body.get("user_name")
    if not isinstance(email, str):
        raise Refusal(100006, "Invalid request body")
    return email


def _request(call: Call, request_id: object, side: str) -> dict[str, Any]:
    found = call.world.sharing.get(request_id) if isinstance(request_id, str) else None
    if found is None or found[side] != call.account.email:
        raise Refusal(107006, "Sharing request does not exist")
    return found
