"""Node groups. pythermacell 0.2.4 sends `node_list` where the API definition says `nodes`; both
are read."""

from __future__ import annotations

from typing import Any

from devices.simcloud.app import Call, Routes
from devices.simcloud.names import short_id
from devices.simcloud.routes_nodes import details, page
from devices.simcloud.wire import Refusal, done

_PATH = "/v1/user/node_group"


def add(routes: Routes) -> None:
    routes.add("GET", _PATH)(read)
    routes.add("POST", _PATH)(create)
    routes.add("PUT", _PATH)(update)
    routes.add("DELETE", _PATH)(delete)


def read(call: Call) -> dict[str, Any]:
    """One group or all of them, with their nodes when `node_list` or `node_details` asks."""
    groups, query = call.account.groups, call.request.query
    if query.get("group_id"):
        chosen, next_id = [_group(call)["group_id"]], ""
    else:
        chosen, next_id = page(list(groups), query)
    answer: dict[str, Any] = {
        "groups": [_told(call, groups[group_id]) for group_id in chosen],
        "total": len(chosen),
    }
    return answer | ({"next_id": next_id} if next_id else {})


def create(call: Call) -> dict[str, Any]:
    body = call.request.json_object()
    name = body.get("group_name")
    if not isinstance(name, str) or not name:
        raise Refusal(108001, "Group name is missing")
    made = len(call.account.groups)
    group_id = short_id("group", call.account.email, name, made, call.world.clock.now())
    call.account.groups[group_id] = {
        "group_id": group_id,
        "group_name": name,
        "type": str(body.get("type", "")),
        "nodes": _nodes(call, body),
    }
    call.world.touched_accounts.add(call.account.email)
    return done("Group created", group_id=group_id)


def update(call: Call) -> dict[str, Any]:
    """Rename, and add or remove nodes (`operation`, add where it is missing)."""
    group, body = _group(call), call.request.json_object()
    nodes, operation = _nodes(call, body), body.get("operation", "add")
    if operation not in ("add", "remove"):
        raise Refusal(100006, "Invalid request body")
    if isinstance(body.get("group_name"), str) and body["group_name"]:
        group["group_name"] = body["group_name"]
    kept = [node for node in group["nodes"] if node not in nodes]
    group["nodes"] = kept if operation == "remove" else kept + nodes
    call.world.touched_accounts.add(call.account.email)
    return done("Group updated")


def delete(call: Call) -> dict[str, Any]:
    del call.account.groups[_group(call)["group_id"]]
    call.world.touched_accounts.add(call.account.email)
    return done("Group deleted")


def _group(call: Call) -> dict[str, Any]:
    group_id = call.request.query.get("group_id", "")
    if not group_id:
        raise Refusal(108016, "Group id is missing")
    group = call.account.groups.get(group_id)
    if group is None:
        raise Refusal(108023, "Group does not exist", 404)
    return group


def _nodes(call: Call, body: dict[str, Any]) -> list[str]:
    nodes = body.get("nodes", body.get("node_list", []))
    if not isinstance(nodes, list) or not all(isinstance(node, str) for node in nodes):
        raise Refusal(100006, "Invalid request body")
    for node in nodes:
        if node not in call.account.nodes:
            raise Refusal(100010, "Node does not belong to user")
    return list(dict.fromkeys(nodes))


def _told(call: Call, group: dict[str, Any]) -> dict[str, Any]:
    nodes = [node for node in group["nodes"] if node in call.account.nodes]
    answer: dict[str, Any] = {
        "group_id": group["group_id"],
        "group_name": group["group_name"],
        "primary": True,
        "is_matter": False,
        "total": len(nodes),
    }
    if group["type"]:
        answer["type"] = group["type"]
    with_details = call.request.flag("node_details", False)
    if call.request.flag("node_list", False) or with_details:
        answer["nodes"] = nodes
    if with_details:
        answer["node_details"] = [details(call, call.world.hubs[node]) for node in nodes]
    if call.request.flag("sub_groups", False):
        answer["sub_groups"] = []
    return answer
