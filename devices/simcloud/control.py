"""The control endpoint: see and change the world at run time. Answers to loopback peers only.

JSON in, JSON out, no token. `{hub}` is a node id, an index or a name. 400 `{"error": ...}` says
what is wrong. All of it is on the same port as the cloud, and none of it is counted.

    GET    /control/                  what there is: people, hubs, clock, scenarios, faults
    GET    /control/hubs              every hub with the truth about it (?node_id= for one)
    GET    /control/hubs/{hub}        one hub, with its timeline so far
    PUT    /control/hubs/{hub}/scenario    {"name": "slow", "factor": 4, "once": true}
    PUT    /control/hubs/{hub}/online      {"online": false}; in mid-install this pulls its power
    PUT    /control/hubs/{hub}/repellent   {"on": true}
    PUT    /control/hubs/{hub}/params      {"LIV Hub": {"Error": 4}}; unchecked, read-only ones too
    POST   /control/hubs/{hub}/offer       publish: {"fw_version": "5.4.7", "description": "...",
                                           "file_size": 1, "job_id": "...", "url": "...",
                                           "file_md5": "...", "priority": 5, "metadata": {},
                                           "image_access": true}; everything has a default,
                                           image_access gives a link that works and the true MD5
    PUT    /control/hubs/{hub}/offer       the same, withdrawing what is offered now first
    DELETE /control/hubs/{hub}/offer       withdraw
    POST   /control/hubs/{hub}/force_push  install what is offered, as the vendor can
    POST   /control/hubs/{hub}/share       {"email": "b@example.com"}; that account must exist
    DELETE /control/hubs/{hub}/share       {"email": "b@example.com"}
    POST   /control/accounts          {"email": ..., "password": ..., "nodes": [hub, ...]}
    POST   /control/tokens/revoke     {"email": ...}, or {} for everybody's
    GET    /control/faults
    POST   /control/faults            {"kind": "cut_after", "method": "POST",
                                      "path": "*/ota_update", "node_id": ..., "account": ...,
                                      "count": 1, "skip": 0}; see devices.simcloud.faults
    DELETE /control/faults            all, or ?id=3
    GET    /control/counters          requests, answers, nodes, pushes (by node, job, outcome) and
                                      starts (by node, job: how often the hub itself began)
    DELETE /control/counters
    GET    /control/clock
    POST   /control/clock             {"advance_s": 300} and/or {"speed": 60}

For example, lose the answer to the next push of the second hub, and look what came of it:

    curl -X POST localhost:8900/control/faults -d '{"kind": "cut_after", "path": "*/ota_update",
        "method": "POST", "count": 1}'
    curl localhost:8900/control/hubs/1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devices.simcloud import faults, liv, scenarios
from devices.simcloud.app import App
from devices.simcloud.hub import Hub
from devices.simcloud.wire import Answer, Refusal, Request, reply
from devices.simcloud.world import World

PREFIX = "/control"


class Wrong(Exception):
    """The control request cannot be done; the text says why."""


def handle(app: App, request: Request) -> Answer:
    """Answer one control request; what it changed is on disk before the answer leaves."""
    try:
        answer = reply(_route(app.world, request))
    except (Wrong, Refusal, ValueError, TypeError, KeyError) as error:
        return reply({"error": str(error) or type(error).__name__}, 400)
    if request.method != "GET":
        app.world.is_touched = True
        app.save()
    return answer


def _route(world: World, request: Request) -> Any:
    parts = [part for part in request.path.removeprefix(PREFIX).split("/") if part]
    body = request.json_object() if request.body else {}
    if parts[:1] == ["hubs"] and len(parts) > 1:
        hub = _hub(world, parts[1])
        if len(parts) == 2 and request.method == "GET":
            return truth(world, hub) | {"timeline": _timeline(world, hub)}
        action = _ON_HUBS.get((request.method, "/".join(parts[2:])))
        if action:
            action(world, hub, body)
            world.touched_hubs.add(hub.node_id)
            return truth(world, hub)
    else:
        answer = _ON_WORLD.get((request.method, "/".join(parts)))
        if answer:
            return answer(world, request, body)
    raise Wrong(f"no {request.method} {request.path}; see devices/simcloud/control.py")


def _hub(world: World, name: str) -> Hub:
    hub = world.find_hub(name)
    if hub is None:
        raise Wrong(f"no hub {name!r}")
    return hub


def truth(world: World, hub: Hub) -> dict[str, Any]:
    """The true state of a hub, beside what the cloud reports."""
    now = world.clock.now()
    online, since = hub.connectivity(now)
    offer = hub.offer(now)
    return {
        "node_id": hub.node_id,
        "index": hub.who.index,
        "name": hub.who.name,
        "serial": hub.who.serial,
        "owner": hub.primary,
        "shared_with": list(hub.secondaries),
        "fw_version": hub.fw_version(now),
        "online": online,
        "online_since": world.clock.to_wire(since),
        "busy": hub.is_busy(now),
        "running_repellent": liv.running_since(hub, now) is not None,
        "scenario": {"name": hub.scenario.name, **hub.scenario.params},
        "offer": offer.as_offer() if offer else None,
        "starts": hub.starts(now),
        "pushes": [
            {"job_id": p.job_id, "ignored": p.ignored, "at": world.clock.to_wire(p.at)}
            for p in hub.pushes
        ],
    }


def _timeline(world: World, hub: Hub) -> list[dict[str, Any]]:
    return [
        {
            "at": world.clock.to_wire(step.at),
            "effect": step.effect.value,
            "status": step.status,
            "info": step.info,
            "version": step.version,
        }
        for step in hub.steps(world.clock.now())
    ]


# On one hub


def _scenario(world: World, hub: Hub, body: dict[str, Any]) -> None:
    params = dict(body)
    world.play(hub, scenarios.scenario(str(params.pop("name", "")), params))


def _online(world: World, hub: Hub, body: dict[str, Any]) -> None:
    hub.switch(bool(body["online"]), world.clock.now())


def _repellent(world: World, hub: Hub, body: dict[str, Any]) -> None:
    liv.set_repellent(hub, bool(body["on"]), world.clock.now())


def _params(_world: World, hub: Hub, body: dict[str, Any]) -> None:
    for name, values in body.items():
        if not isinstance(values, dict):
            raise Wrong("write it as {device: {param: value}}")
        target = hub.written if name == liv.DEVICE else hub.services.setdefault(name, {})
        target |= values


def _publish(world: World, hub: Hub, body: dict[str, Any]) -> None:
    world.publish(hub, body)


def _swap(world: World, hub: Hub, body: dict[str, Any]) -> None:
    world.swap(hub, body)


def _force(world: World, hub: Hub, _body: dict[str, Any]) -> None:
    world.force_push(hub)


def _withdraw(world: World, hub: Hub, _body: dict[str, Any]) -> None:
    world.withdraw(hub)


def _share(world: World, hub: Hub, body: dict[str, Any]) -> None:
    world.share(hub, str(body["email"]))


def _unshare(world: World, hub: Hub, body: dict[str, Any]) -> None:
    world.unshare(hub, str(body["email"]))


_ON_HUBS: dict[tuple[str, str], Callable[[World, Hub, dict[str, Any]], None]] = {
    ("PUT", "scenario"): _scenario,
    ("PUT", "online"): _online,
    ("PUT", "repellent"): _repellent,
    ("PUT", "params"): _params,
    ("POST", "offer"): _publish,
    ("PUT", "offer"): _swap,
    ("DELETE", "offer"): _withdraw,
    ("POST", "force_push"): _force,
    ("POST", "share"): _share,
    ("DELETE", "share"): _unshare,
}


# On the whole world


def _overview(world: World, _request: Request, _body: dict[str, Any]) -> Any:
    return {
        "accounts": {email: len(account.nodes) for email, account in world.accounts.items()},
        "hubs": len(world.hubs),
        "seed": world.setup.seed,
        "dialect": world.dialect,
        "clock": _clock(world),
        "scenarios": {
            name: {"what": what, "params": params}
            for name, (what, params) in scenarios.CATALOGUE.items()
        },
        "faults": {"before": faults.BEFORE, "after": faults.AFTER, "garbage": faults.GARBAGE},
    }


def _hubs(world: World, request: Request, _body: dict[str, Any]) -> Any:
    wanted = request.node_id
    hubs = [_hub(world, wanted)] if wanted else world.hub_list
    return {"hubs": [truth(world, hub) for hub in hubs]}


def _new_account(world: World, _request: Request, body: dict[str, Any]) -> Any:
    hubs = [_hub(world, str(name)) for name in body.get("nodes", [])]
    account = world.add_account(str(body["email"]), str(body["password"]))
    for hub in hubs:
        if hub.primary:
            world.accounts[hub.primary].nodes.pop(hub.node_id, None)
        world.give(hub, account.email)
        world.touched_hubs.add(hub.node_id)
    return {"email": account.email, "nodes": list(account.nodes)}


def _revoke(world: World, _request: Request, body: dict[str, Any]) -> Any:
    world.revoke_tokens(body.get("email"))
    return {}


def _list_faults(world: World, _request: Request, _body: dict[str, Any]) -> Any:
    return {"faults": [fault.as_json() for fault in world.faults.active]}


def _set_fault(world: World, _request: Request, body: dict[str, Any]) -> Any:
    return world.faults.set(body).as_json()


def _clear_faults(world: World, request: Request, _body: dict[str, Any]) -> Any:
    wanted = request.query.get("id")
    world.faults.clear(int(wanted) if wanted else None)
    return _list_faults(world, request, {})


def _counters(world: World, _request: Request, _body: dict[str, Any]) -> Any:
    now, starts, courses = world.clock.now(), {}, {}
    for hub in world.hub_list:
        jobs = {run.plan.job_id for run in hub.runs}
        lived = {job: hub.courses(job, since=world.counted_since) for job in sorted(jobs)}
        if any(lived.values()):
            courses[hub.node_id] = {job: names for job, names in lived.items() if names}
        counts = {job: hub.starts(now, job, since=world.counted_since) for job in sorted(jobs)}
        if any(counts.values()):
            starts[hub.node_id] = {job: count for job, count in counts.items() if count}
    return world.counters.tree() | {"starts": starts, "courses": courses}


def _reset_counters(world: World, _request: Request, _body: dict[str, Any]) -> Any:
    world.counters.reset()
    world.counted_since = world.clock.now()
    return {}


def _clock(world: World) -> dict[str, Any]:
    clock = world.clock
    return {"virtual": clock.now(), "wire": clock.wire_now(), "speed": clock.speed}


def _read_clock(world: World, _request: Request, _body: dict[str, Any]) -> Any:
    return _clock(world)


def _set_clock(world: World, _request: Request, body: dict[str, Any]) -> Any:
    if "advance_s" in body:
        world.clock.advance(float(body["advance_s"]))
    if "speed" in body:
        world.clock.set_speed(float(body["speed"]))
    return _clock(world)


_ON_WORLD: dict[tuple[str, str], Callable[[World, Request, dict[str, Any]], Any]] = {
    ("GET", ""): _overview,
    ("GET", "hubs"): _hubs,
    ("POST", "accounts"): _new_account,
    ("POST", "tokens/revoke"): _revoke,
    ("GET", "faults"): _list_faults,
    ("POST", "faults"): _set_fault,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "counters"): _counters,
    ("DELETE", "counters"): _reset_counters,
    ("GET", "clock"): _read_clock,
    ("POST", "clock"): _set_clock,
}
