"""Nodes: listing, config, connectivity, params, tags (ESP RainMaker API 3.8.0).

The id is accepted as `node_id` and as `nodeid`: both are in use against the live cloud
(pythermacell 0.3.1 and 0.2.4). A listing is never cut into pages unless `num_records` asks for it:
the default page size is unknown, and pythermacell does not page.
"""

from __future__ import annotations

from typing import Any

from devices.simcloud import liv
from devices.simcloud.app import Call, Routes
from devices.simcloud.hub import Hub
from devices.simcloud.wire import Answer, Refusal, done, reply

_BATCH = 25


def add(routes: Routes) -> None:
    routes.add("GET", "/v1/user/nodes")(listing)
    routes.add("PUT", "/v1/user/nodes")(label)
    routes.add("DELETE", "/v1/user/nodes")(unlabel)
    routes.add("GET", "/v1/user/nodes/config")(config)
    routes.add("GET", "/v1/user/nodes/status")(status)
    routes.add("GET", "/v1/user/nodes/params")(params)
    routes.add("PUT", "/v1/user/nodes/params")(write_params)


def listing(call: Call) -> dict[str, Any]:
    request, account = call.request, call.account
    wanted = request.node_id
    if wanted:
        if wanted not in account.nodes:
            raise Refusal(100015, "Nodes do not exist", 404)
        chosen, next_id = [wanted], ""
    else:
        chosen, next_id = page(list(account.nodes), request.query)
        if group_id := request.query.get("group_id"):  # as pythermacell asks for a group's nodes
            group = account.groups.get(group_id, {"nodes": []})
            chosen = [n for n in chosen if n in group["nodes"]]
        tags = {tag for tag in request.query.get("tags", "").split(",") if tag}
        if tags:
            chosen = [n for n in chosen if tags <= set(call.world.hubs[n].tags)]
    answer: dict[str, Any] = {"nodes": chosen, "total": 1 if wanted else len(account.nodes)}
    if wanted or request.flag("node_details", False):
        answer["node_details"] = [details(call, call.world.hubs[node]) for node in chosen]
    if next_id:
        answer["next_id"] = next_id
    return answer


def page(items: list[str], query: dict[str, str]) -> tuple[list[str], str]:
    """(this page, what to send as start_id for the next one or '')."""
    first = 0
    if start := query.get("start_id"):
        try:
            first = items.index(start) + 1
        except ValueError as error:
            raise Refusal(105043, "Invalid start key", 500) from error
    if not query.get("num_records"):
        return items[first:], ""
    try:
        size = int(query["num_records"])
    except ValueError:
        size = 0
    if size < 1:
        raise Refusal(103007, "Invalid value for num_records")
    chosen = items[first : first + size]
    more = first + size < len(items)
    return chosen, chosen[-1] if more else ""


def details(call: Call, hub: Hub) -> dict[str, Any]:
    """One element of node_details. Its id goes by both names: the API definition and the CLI read
    `id`, the TypeScript SDK reads `node_id`."""
    request, world = call.request, call.world
    primary = call.account.email == hub.primary
    answer: dict[str, Any] = {
        "id": hub.node_id,
        "node_id": hub.node_id,
        "role": "primary" if primary else "secondary",
        "primary": primary,
        "node_type": "ESP RainMaker",
        "is_matter": False,
        "admin_access": False,
        "mapping_timestamp": _mapped_at(call, hub),
    }
    if request.flag("status", True):
        answer["status"] = connectivity(call, hub)
    if request.flag("config", True):
        answer["config"] = liv.config(hub, hub.fw_version(world.clock.now()))
    if request.flag("params", True):
        answer["params"] = {} if hub.never_connected else liv.params(hub, world.heard_at(hub))
    if request.flag("show_tags", True):
        answer["tags"] = hub.tags
    if hub.metadata:
        answer["metadata"] = hub.metadata
    return answer


def _mapped_at(call: Call, hub: Hub) -> int:
    shared_at = hub.secondaries.get(call.account.email)
    if shared_at is not None:
        return int(call.world.clock.to_wire(shared_at))
    return int(call.world.clock.to_wire(hub.since)) - hub.who.mapped_days_ago * 86_400


def connectivity(call: Call, hub: Hub) -> dict[str, Any]:
    """`timestamp` is milliseconds of the last change; a hub never seen has none."""
    if hub.never_connected:
        return {"connectivity": {}}
    connected, since = hub.connectivity(call.world.clock.now())
    return {"connectivity": {"connected": connected, "timestamp": call.world.clock.wire_ms(since)}}


def config(call: Call) -> dict[str, Any]:
    hub = call.hub(call.request.node_id, missing=100009, foreign=100010)
    return liv.config(hub, hub.fw_version(call.world.clock.now()))


def status(call: Call) -> dict[str, Any]:
    return connectivity(call, call.hub(call.request.node_id, missing=100009, foreign=103020))


def params(call: Call) -> dict[str, Any]:
    hub = call.hub(call.request.node_id, missing=100009, foreign=100010)
    if hub.never_connected:
        raise Refusal(102006, "Node has not reported its params")
    return liv.params(hub, call.world.heard_at(hub))


def write_params(call: Call) -> Answer | dict[str, Any]:
    """One node by query, or 1 to 25 in an array (207, an answer for each)."""
    body = call.request.json()
    if isinstance(body, list):
        return _write_batch(call, body)
    if not isinstance(body, dict):
        raise Refusal(100006, "Invalid request body")
    hub = call.hub(call.request.node_id, missing=100009, foreign=100010)
    _write(call, hub, body)
    return done("Updated successfully")


def _write_batch(call: Call, items: list[Any]) -> Answer:
    if not 1 <= len(items) <= _BATCH:
        raise Refusal(100012, f"Between 1 and {_BATCH} nodes can be written at once")
    answers = []
    for item in items:
        node_id = item.get("node_id", "") if isinstance(item, dict) else ""
        try:
            hub = call.hub(str(node_id), missing=100009, foreign=100010)
            _write(call, hub, item.get("payload"))
            answers.append({"node_id": node_id, **done("Updated successfully")})
        except Refusal as refusal:
            answers.append(
                {
                    "node_id": node_id,
                    "status": "failure",
                    "description": refusal.description,
                    "error_code": refusal.code,
                }
            )
    return reply(answers, 207)


def _write(call: Call, hub: Hub, body: Any) -> None:
    if not isinstance(body, dict) or not body:
        raise Refusal(100012, "Invalid params")
    try:
        call.world.write_params(hub, body)
    except liv.BadWrite as error:
        raise Refusal(100012, str(error)) from error


def label(call: Call) -> dict[str, Any]:
    """Add tags; merge metadata: null deletes a key, null for all of it deletes all."""
    hub = call.hub(call.request.node_id, missing=100009, foreign=103020)
    body = call.request.json_object()
    tags = _tags(body, 105046)
    metadata = body.get("metadata", {})
    if metadata is not None and not isinstance(metadata, dict):
        raise Refusal(100006, "Invalid request body")
    hub.tags += [tag for tag in tags if tag not in hub.tags]
    hub.metadata = {} if metadata is None else _merged(hub.metadata, metadata)
    call.world.touched_hubs.add(hub.node_id)
    return done("Updated successfully")


def unlabel(call: Call) -> dict[str, Any]:
    hub = call.hub(call.request.node_id, missing=105018, foreign=100010)
    gone = _tags(call.request.json_object(), 105046)
    hub.tags = [tag for tag in hub.tags if tag not in gone]
    call.world.touched_hubs.add(hub.node_id)
    return done("Deleted successfully")


def _tags(body: dict[str, Any], bad_form: int) -> list[str]:
    tags = body.get("tags", [])
    if not isinstance(tags, list):
        raise Refusal(100006, "Invalid request body")
    for tag in tags:
        key, colon, value = tag.partition(":") if isinstance(tag, str) else ("", "", "")
        if not (key and colon and value):
            raise Refusal(bad_form, "A tag is written key:value")
    return tags


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = value
    return merged
