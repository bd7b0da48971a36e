"""What a LIV hub publishes: its config and its params, at any virtual second.

Names, types and units as read by the public clients (pythermacell 0.3.1 parsers.py and const.py,
joyfulhouse/thermacell_liv coordinator.py). Values are pure functions of who the hub is, the time
and what was written to it, so 10,000 hubs cost nothing until they are read.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from devices.simcloud.hub import Hub
from devices.simcloud.names import Identity

DEVICE = "LIV Hub"
REFILL_HOURS = (40, 100, 180)  # what writing Refill Reset 0, 1 or 2 means
WARMING_S = 240.0
_DAY_S, _WEEK_S = 86_400.0, 604_800.0
_BENIGN_ERROR = 0x01000048  # bits pythermacell knows to be harmless
_READ, _READ_WRITE = ["read"], ["read", "write"]


# What a hub of the scenario `loses_setting` comes back with.
_FACTORY = {"LED Hue": 0}
_LOSES = {*_FACTORY, "Schedules"}


class BadWrite(ValueError):
    """The hub takes no such param, or not that value."""


# (name, type, data type, properties, bounds)
_Param = tuple[str, str, str, list[str], dict[str, int] | None]
_PARAMS: tuple[_Param, ...] = (
    ("Name", "esp.param.name", "string", _READ_WRITE, None),
    ("Enable Repellers", "esp.param.power", "bool", _READ_WRITE, None),
    ("Power", "custom.param.power", "bool", _READ, None),
    ("LED Power", "custom.param.led-power", "bool", _READ, None),
    ("LED Brightness", "esp.param.brightness", "int", _READ_WRITE, {"min": 0, "max": 100}),
    ("LED Hue", "esp.param.hue", "int", _READ_WRITE, {"min": 0, "max": 360}),
    ("Refill Life", "custom.param.refill-life", "float", _READ, {"min": -1, "max": 100}),
    ("Refill Reset", "custom.param.refill-reset", "int", ["write"], {"min": 0, "max": 2}),
    ("System Runtime", "custom.param.runtime", "int", _READ, None),
    ("Current Runtime", "custom.param.runtime", "int", _READ, None),
    ("Daily Runtime", "custom.param.runtime", "int", _READ, None),
    ("System Status", "custom.param.status", "int", _READ, {"min": 1, "max": 3}),
    ("Error", "custom.param.error", "int", _READ, None),
    ("Hub ID", "custom.param.hub-id", "string", _READ, None),
    ("Hub Temperature", "esp.param.temperature", "int", _READ, None),
    ("RSSI", "custom.param.rssi", "int", _READ, None),
    ("Temperature Delay Time", "custom.param.delay", "int", _READ, None),
    ("Warming Timeout", "custom.param.timeout", "int", _READ, None),
)
_SERVICES: tuple[tuple[str, str, tuple[_Param, ...]], ...] = (
    (
        "Schedule",
        "esp.service.schedule",
        (("Schedules", "esp.param.schedules", "array", _READ_WRITE, None),),
    ),
    (
        "Time",
        "esp.service.time",
        (
            ("TZ", "esp.param.tz", "string", _READ_WRITE, None),
            ("TZ-POSIX", "esp.param.tz_posix", "string", _READ_WRITE, None),
        ),
    ),
    ("System", "esp.service.system", (("Reboot", "esp.param.reboot", "bool", _READ_WRITE, None),)),
    (
        "Local Control",
        "esp.service.local_control",
        (
            ("POP", "esp.param.local_control_pop", "string", _READ, None),
            ("Type", "esp.param.local_control_type", "int", _READ, None),
        ),
    ),
)


def _described(param: _Param) -> dict[str, Any]:
    name, kind, data_type, properties, bounds = param
    answer = {"name": name, "type": kind, "data_type": data_type, "properties": properties}
    return answer | ({"bounds": bounds} if bounds else {})


_DESCRIBED_PARAMS = [_described(param) for param in _PARAMS]
_DESCRIBED_SERVICES = [
    {"name": name, "type": kind, "params": [_described(param) for param in params]}
    for name, kind, params in _SERVICES
]


def config(hub: Hub, fw_version: str) -> dict[str, Any]:
    """The node config as the hub published it last. `thermacell-hub` and the serial stand in every
    place one of the public clients looks for them."""
    return {
        "node_id": hub.node_id,
        "config_version": "2020-03-20",
        "info": {
            "name": "Thermacell LIV Hub",
            "fw_version": fw_version,
            "type": "thermacell-hub",
            "model": "thermacell-hub",
            "project_name": "thermacell-liv-hub",
            "platform": "esp32",
            "serial_num": hub.who.serial,
        },
        "attributes": [{"name": "serial_num", "value": hub.who.serial}],
        "devices": [
            {
                "name": DEVICE,
                "type": "esp.device.other",
                "model": "thermacell-hub",
                "serial_num": hub.who.serial,
                "primary": "Enable Repellers",
                "params": _DESCRIBED_PARAMS,
            }
        ],
        "services": _DESCRIBED_SERVICES,
    }


def params(hub: Hub, at: float) -> dict[str, Any]:
    """All params of the hub at virtual second `at`, by device or service name."""
    who = hub.who
    on_since = running_since(hub, at)
    status = 1 if on_since is None else 2 if at - on_since < WARMING_S else 3
    run_today = (at - on_since) / 60 if on_since is not None else 0.0
    device: dict[str, Any] = {
        "Name": who.name,
        "Enable Repellers": on_since is not None,
        "Power": on_since is not None,
        "LED Power": on_since is not None,
        "LED Brightness": int(20 + who.unit("brightness") * 80),
        "LED Hue": int(who.unit("hue") * 360),
        "Refill Life": _refill_life(hub, at),
        "System Runtime": int(runtime_h(hub, at) * 10),  # tenths of an hour
        "Current Runtime": int(run_today),
        "Daily Runtime": int(run_today),
        "System Status": status,
        "Error": _error(who),
        "Hub ID": who.serial,
        "Hub Temperature": _temperature(who, at) + (6 if status == 3 else 0),
        "RSSI": _rssi(who, at),
        "Temperature Delay Time": 0,
        "Warming Timeout": 15,
    }
    device |= hub.written
    lost = _lost(hub, at)
    device |= {name: value for name, value in _FACTORY.items() if name in lost}
    services: dict[str, dict[str, Any]] = {
        "Schedule": {"Schedules": []},
        "Time": {"TZ": who.time_zone, "TZ-POSIX": who.posix_zone},
        "System": {"Reboot": False},
        "Local Control": {"POP": "", "Type": 0},
    }
    for name, values in hub.services.items():
        services[name] |= values
    if "Schedules" in lost:
        services["Schedule"]["Schedules"] = []
    return {DEVICE: device, **services}


def _lost(hub: Hub, at: float) -> set[str]:
    """Which settings an install put back to factory settings, and that were not written since."""
    lost_at = hub.lost_at(at)
    if lost_at is None:
        return set()
    return {name for name in _LOSES if hub.written_at.get(name, 0.0) < lost_at}


def write(hub: Hub, body: dict[str, Any], at: float) -> None:
    """Write `{device: {param: value}}` to the hub; all of it or, on BadWrite, nothing."""
    known = {DEVICE: _PARAMS} | {name: params for name, _, params in _SERVICES}
    for name, values in body.items():
        if name not in known or not isinstance(values, dict):
            raise BadWrite(f"no device or service {name!r}")
        for key, value in values.items():
            _check(known[name], key, value)
    for name, values in body.items():
        for key, value in values.items():
            if key == "Schedules" and key in _lost(hub, at):
                hub.services.pop(name, None)
            hub.written_at[key] = at
            if key == "Schedules":
                kept = hub.services.setdefault(name, {})
                kept[key] = _scheduled(kept.get(key, []), value)
            elif name == "System":
                hub.reboot(at)
            elif name != DEVICE:
                hub.services.setdefault(name, {})[key] = value
            elif key == "Enable Repellers":
                set_repellent(hub, bool(value), at)
            elif key == "Refill Reset":
                hub.refill = (REFILL_HOURS[value], runtime_h(hub, at))
            else:
                hub.written[key] = value


def _scheduled(kept: list[dict[str, Any]], operations: list[Any]) -> list[dict[str, Any]]:
    """The schedules after `[{"id": ..., "operation": "add|edit|remove|enable|disable", ...}]`."""
    schedules = {one["id"]: one for one in kept}
    for wish in operations:
        if not isinstance(wish, dict) or not isinstance(wish.get("id"), str):
            raise BadWrite("a schedule has an id")
        fields = dict(wish)
        operation, name = str(fields.pop("operation", "add")), fields["id"]
        if operation == "remove":
            schedules.pop(name, None)
        else:
            on = {"enable": True, "disable": False}.get(operation)
            old = schedules.get(name, {"enabled": True})
            schedules[name] = old | fields | ({} if on is None else {"enabled": on})
    return list(schedules.values())


def _check(takes: tuple[_Param, ...], key: str, value: object) -> None:
    for name, _, data_type, properties, bounds in takes:
        if name != key or "write" not in properties:
            continue
        kinds = {"string": str, "bool": bool, "int": int, "float": (int, float), "array": list}
        is_bool = isinstance(value, bool)
        if not isinstance(value, kinds[data_type]) or (is_bool and data_type != "bool"):  # type: ignore[arg-type]
            raise BadWrite(f"{key} takes a {data_type}")
        if bounds and not bounds["min"] <= value <= bounds["max"]:  # type: ignore[operator]
            raise BadWrite(f"{key} takes {bounds['min']} to {bounds['max']}")
        return
    raise BadWrite(f"no writable param {key!r}")


# Repellent: some hubs run on some evenings; a hand on the switch overrides that from then on.


def set_repellent(hub: Hub, on: bool, at: float) -> None:
    hub.repellent = (at, on, runtime_h(hub, at))


def running_since(hub: Hub, at: float) -> float | None:
    """When the repellers now running were switched on, or None while they are off."""
    if hub.repellent is not None and at >= hub.repellent[0]:
        return hub.repellent[0] if hub.repellent[1] else None
    begin, length, evenings = _habit(hub.who)
    into_week = _into_week(hub.who, at)
    day, into_day = divmod(into_week, _DAY_S)
    if int(day) in evenings and begin <= into_day < begin + length:
        return at - (into_day - begin)
    return None


def runtime_h(hub: Hub, at: float) -> float:
    """Hours the repellers have run in this hub's life."""
    if hub.repellent is not None and at >= hub.repellent[0]:
        since, on, before = hub.repellent
        return before + ((at - since) / 3600 if on else 0.0)
    begin, length, evenings = _habit(hub.who)
    weeks = math.floor((at + hub.who.utc_offset_h * 3600) / _WEEK_S) - 2800
    into_week = _into_week(hub.who, at)
    this_week = sum(
        min(max(into_week - day * _DAY_S - begin, 0.0), length) for day in sorted(evenings)
    )
    return (weeks % 104 * len(evenings) * length + this_week) / 3600


@cache
def _habit(who: Identity) -> tuple[float, float, frozenset[int]]:
    """(seconds into the local day, seconds, days of the week) of its usual evenings."""
    if who.unit("habit") < 0.4:
        return 0.0, 0.0, frozenset()
    begin = 3600 * (18 + 2 * who.unit("evening"))
    length = 3600 * (1.5 + 2 * who.unit("length"))
    return begin, length, frozenset(d for d in range(7) if who.unit(f"day{d}") < 0.6)


def _into_week(who: Identity, at: float) -> float:
    return (at + who.utc_offset_h * 3600) % _WEEK_S


def _refill_life(hub: Hub, at: float) -> float:
    """Percent of the cartridge left; -1 where there is none."""
    if hub.refill is not None:
        capacity, from_h = hub.refill
        return round(max(0.0, 100 - (runtime_h(hub, at) - from_h) / capacity * 100), 1)
    if hub.who.index % 16 == 6:
        return -1
    if hub.who.index % 16 == 3:  # nearly empty, and never quite
        return round(4 - 3.9 * (runtime_h(hub, at) % 100) / 100, 1)
    used = (hub.who.unit("refill") * 100 + runtime_h(hub, at)) % 100
    return round(100 - used, 1)


def _error(who: Identity) -> int:
    dice = who.unit("error")
    if dice < 0.04 and who.index > 8:
        return 0x4  # a bit outside the harmless ones
    return _BENIGN_ERROR if dice > 0.9 else 0


def _temperature(who: Identity, at: float) -> int:
    """Degrees Fahrenheit, warmest in mid-afternoon. Unverified: the real unit."""
    turn = 2 * math.pi * (_into_week(who, at) % _DAY_S / _DAY_S - 0.625)
    return round(72 + who.unit("climate") * 8 + 11 * math.cos(turn))


def _rssi(who: Identity, at: float) -> int:
    base = -84 if who.index % 11 == 5 else -46 - who.unit("wifi") * 26
    return round(base + 3 * math.sin(at / 97 + who.index))
