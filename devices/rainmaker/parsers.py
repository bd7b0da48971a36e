"""Reads the cloud's JSON into typed values: tolerant of what does not matter, strict on what does.

Every reader takes parsed JSON of any shape and either returns its value or raises AnswerUnreadable
with a sentence; nothing else. Optional fields that are absent, null or of another type are read as
unknown. Texts come out without control characters and cut to a length a database column can hold.
Identifiers are never altered, and of a version only the spaces around it are removed; one that
would have to be changed further is unreadable. The times that hubs give are claims: one that
cannot be true is read as unknown.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

from devices.rainmaker.errors import AnswerUnreadable, NoVersion
from devices.rainmaker.schemas import (
    CloudUser,
    Connectivity,
    FirmwareOffer,
    HubFacts,
    NodeConfig,
    NodeDetails,
    NodesPage,
    OtaStatus,
    OtaWord,
    Repellent,
    Tokens,
)

MAX_ID_CHARS = 128
MAX_VERSION_CHARS = 64
MAX_TOKEN_CHARS = 16_384
MAX_VERBATIM_CHARS = 4096
MAX_DESCRIPTION_CHARS = 65_536
# No hub is older (the ESP32 is from 2016), and no clock may be further ahead of ours.
EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
MAX_AHEAD = timedelta(minutes=10)
_MINUTES_PER_DAY = 1440
_MAX_INT = 2**31 - 1
# Seconds reach this number in the year 5138; milliseconds passed it in 1973.
_FIRST_MILLISECONDS = 10**11
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HUB_DEVICE = "LIV Hub"
_OTA_SERVICE = "esp.service.ota"
_OTA_SERVICE_NAME = "OTA"
# pythermacell services.py, esp-rainmaker firmware (standard types)
_SCHEDULE_SERVICE_NAME = "Schedule"
_MAX_SCHEDULES_CHARS = 20_000
# Spaces, and the marks that look like nothing at all.
_INVISIBLE = " \t\r\n\f\v\xa0\u200b\u2060\ufeff"
# Error bits that a healthy hub sets (pythermacell parsers.py).
_HARMLESS_ERROR_BITS = 0x01000048
# "System Status" of the hub's own device (pythermacell const.py).
_REPELLENT = {1: Repellent.OFF, 2: Repellent.WARMING, 3: Repellent.PROTECTED}
_OTA_WORDS = {word.value: word for word in OtaWord} | {
    # Sent by no known cloud or firmware, but documented: the update is queued for the hub.
    "initiated": OtaWord.STARTED,
    # A synonym that both phone apps accept.
    "completed": OtaWord.SUCCESS,
}
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNPRINTABLE_BUT_LINES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,9})?")


def read_tokens(answer: object, *, email: str, refresh_token: str = "") -> Tokens:
    """Return the session that a sign-in or an extension opened.

    An extension carries no new refresh token; the given one then stays valid. The claims of the
    tokens are read without checking the signature: they inform and never authorise.
    """
    fields = _object(answer, "the session")
    access_token = _token(fields.get("accesstoken"))
    if not access_token:
        raise AnswerUnreadable("The cloud accepted the sign-in but sent no usable access token.")
    claims = _claims(_token(fields.get("idtoken")))
    user_id = claims.get("custom:user_id") or _claims(access_token).get("custom:user_id")
    return Tokens(
        access_token=access_token,
        refresh_token=_token(fields.get("refreshtoken")) or refresh_token,
        access_expires_at=_instant(_claims(access_token).get("exp")),
        user_id=_text(user_id, 64),
        email=_text(claims.get("email"), 254) or email,
    )


def read_user(answer: object) -> CloudUser:
    """Return who is signed in."""
    fields = _object(answer, "the user")
    return CloudUser(
        user_id=_identifier(fields.get("user_id"), "the user's id"),
        user_name=_text(fields.get("user_name"), 254),
        name=_text(fields.get("name"), 200),
    )


def read_action(answer: object) -> str:
    """Return the cloud's description of an action it took; anything but "success" is unreadable."""
    fields = _object(answer, "the action")
    if _lowered(fields.get("status")) != "success" or fields.get("error_code"):
        raise AnswerUnreadable("The cloud answered without saying whether it did what was asked.")
    return _text(fields.get("description"), 300)


def read_offer(answer: object) -> FirmwareOffer:
    """Return what the cloud offers to install.

    Only a literal true is an offer, and only false or null is none: what the cloud does not say
    clearly is unreadable, since both "update now" and "up to date" would be a guess. An offer
    without a job id could not be installed, and one without a version neither confirmed nor
    verified, so both are unreadable too.
    """
    fields = _object(answer, "the firmware check")
    if "ota_available" not in fields:
        raise AnswerUnreadable("The cloud's answer does not say whether an update is available.")
    is_available = fields["ota_available"]
    if is_available is None or is_available is False:
        return FirmwareOffer(is_available=False)
    if is_available is not True:
        raise AnswerUnreadable("The cloud says neither yes nor no to an update being available.")
    description = _text(fields.get("description"), MAX_DESCRIPTION_CHARS + 1, keep_lines=True)
    return FirmwareOffer(
        is_available=True,
        ota_job_id=_identifier(fields.get("ota_job_id"), "the job id of the update"),
        fw_version=_version(fields.get("fw_version")),
        fw_version_as_sent=_as_sent(fields.get("fw_version")),
        description=description[:MAX_DESCRIPTION_CHARS],
        is_description_cut=len(description) > MAX_DESCRIPTION_CHARS,
        size_bytes=_whole(fields.get("file_size"), 0, 2**53),
        md5=_text(fields.get("file_md5"), 64),
        url=_text(fields.get("url"), 8192),
        **_limits_in_time(fields.get("metadata")),
    )


def _limits_in_time(metadata: object) -> dict[str, Any]:
    """Return the fields of an offer that its job's metadata sets.

    {"download_window": {"start": minutes, "end": minutes}, "validity": {"start": seconds, "end":
    seconds}} (esp-rainmaker firmware, esp_rmaker_ota.c). A limit that is there and cannot be read
    is marked: the hub may then wait or refuse for a reason that is not known here.
    """
    text = metadata if isinstance(metadata, str) else ""
    if text:
        try:
            metadata = json.loads(text)
        except (ValueError, RecursionError):
            metadata = text
    if metadata is None or metadata in ("", {}):
        return {}
    if not isinstance(metadata, dict):
        return {"is_window_readable": False, "metadata": _text(text, MAX_VERBATIM_CHARS)}
    window, validity = metadata.get("download_window"), metadata.get("validity")
    sent_window, sent_validity = window or {}, validity or {}
    window = sent_window if isinstance(sent_window, dict) else {}
    validity = sent_validity if isinstance(sent_validity, dict) else {}
    start_min = _whole(window.get("start"), 0, _MINUTES_PER_DAY)
    end_min = _whole(window.get("end"), 0, _MINUTES_PER_DAY)
    valid_from, valid_until = _instant(validity.get("start")), _instant(validity.get("end"))
    is_readable = (
        isinstance(sent_window, dict)
        and isinstance(sent_validity, dict)
        and (start_min is None) == (end_min is None)
        and all((start_min is not None, end_min is not None) if window else ())
        and (valid_from is not None or not validity.get("start"))
        and (valid_until is not None or not validity.get("end"))
    )
    return {
        "valid_from": valid_from,
        "valid_until": valid_until,
        "window_start_min": start_min,
        "window_end_min": end_min,
        "is_window_readable": is_readable,
        "metadata": json.dumps(metadata)[:MAX_VERBATIM_CHARS],
    }


def read_ota_status(
    answer: object, *, node_id: str = "", ota_job_id: str = "", now: datetime | None = None
) -> OtaStatus:
    """Return what the cloud says of one job on one hub.

    An answer that names another hub or job than the given one is unreadable. The timestamp comes in
    seconds or milliseconds, as a number or as digits.
    """
    fields = _object(answer, "the update status")
    _same(fields.get("node_id"), node_id, "hub")
    _same(fields.get("ota_job_id"), ota_job_id, "update")
    word = fields.get("status")
    if not isinstance(word, str) or not word.strip():
        raise AnswerUnreadable("The cloud's answer does not say how the update stands.")
    timestamp = fields.get("timestamp")
    return OtaStatus(
        word=_text(word, 64),
        state=_OTA_WORDS.get(word.strip().lower().replace("_", "-"), OtaWord.UNKNOWN),
        info=_text(fields.get("additional_info"), 4000),
        at=_past_instant(timestamp, now),
        raw_timestamp=_text(timestamp, 64),
        source=_one_of(fields.get("ts_source"), ("NODE", "CLOUD")),
        verbatim=json.dumps(answer)[:MAX_VERBATIM_CHARS],
    )


def read_node_status(answer: object, *, now: datetime | None = None) -> Connectivity:
    """Return whether the hub is connected; an empty object is a hub that never was."""
    connectivity = _object(answer, "the connection").get("connectivity")
    if not isinstance(connectivity, dict):
        raise AnswerUnreadable("The cloud's answer does not say whether the hub is connected.")
    return _connectivity(connectivity, now)


def read_node_config(answer: object, *, node_id: str = "") -> NodeConfig:
    """Return what the hub published about itself; without a firmware version it is unreadable."""
    fields = _object(answer, "the hub's configuration")
    _same(fields.get("node_id"), node_id, "hub")
    info = _object(fields.get("info"), "the hub's description")
    devices = [device for device in _list(fields.get("devices")) if isinstance(device, dict)]
    services = [service for service in _list(fields.get("services")) if isinstance(service, dict)]
    serials = [_text(part.get("serial_num"), 64) for part in (*devices, info)]
    names = [_text(device.get("name"), 200) for device in devices]
    own_id = fields.get("node_id")
    ota_names = [_text(s.get("name"), 64) for s in services if s.get("type") == _OTA_SERVICE]
    return NodeConfig(
        node_id=_identifier(own_id, "the hub's id") if own_id else node_id,
        name=_text(info.get("name"), 200),
        fw_version=_version(info.get("fw_version")),
        model=_text(info.get("model"), 120),
        type=_text(info.get("type"), 120),
        project_name=_text(info.get("project_name"), 120),
        platform=_text(info.get("platform"), 64),
        serial=next((serial for serial in serials if serial), ""),
        device_names=tuple(name for name in names if name),
        has_ota_service=bool(ota_names),
        ota_service=(ota_names[0] or _OTA_SERVICE_NAME) if ota_names else "",
        fw_version_as_sent=_as_sent(info.get("fw_version")),
    )


def read_hub_facts(answer: object, *, ota_service: str = "") -> HubFacts | None:
    """Return the state of a LIV hub from its parameters; None for any other kind of node."""
    parameters = _object(answer, "the hub's parameters")
    ota = parameters.get(ota_service or _OTA_SERVICE_NAME)
    ota = ota if isinstance(ota, dict) else {}
    hub = parameters.get(_HUB_DEVICE)
    if not isinstance(hub, dict):
        return None
    refill_life = _number(hub.get("Refill Life"), -1, 100)
    # -1 is a hub without a cartridge (pythermacell parsers.py).
    has_cartridge = None if refill_life is None else refill_life >= 0
    status = _whole(hub.get("System Status"), 0, 99)
    if status is None:
        status = _whole(hub.get("System State"), 0, 99)
    # Tenths of an hour (pythermacell parsers.py); older clients called it minutes.
    runtime = _whole(hub.get("System Runtime"), 0, _MAX_INT // 6)
    errors = _whole(hub.get("Error"), -(2**31), 2**32) or 0
    is_on = hub.get("Enable Repellers")
    return HubFacts(
        name=_text(hub.get("Name"), 200),
        serial=_text(hub.get("Hub ID"), 64),
        repellent=_REPELLENT.get(status, Repellent.UNKNOWN) if status else Repellent.UNKNOWN,
        is_on=is_on if isinstance(is_on, bool) else None,
        refill_life_percent=refill_life if has_cartridge else None,
        has_cartridge=has_cartridge,
        runtime_minutes=None if runtime is None else runtime * 6,
        error_bits=errors & ~_HARMLESS_ERROR_BITS & _MAX_INT,
        rssi_dbm=_whole(hub.get("RSSI"), -1000, 1000),
        ota_status=_text(ota.get("Status"), 64),
        ota_info=_text(ota.get("Info"), 4000),
        led_brightness=_whole(hub.get("LED Brightness"), 0, 100),
        led_hue=_whole(hub.get("LED Hue"), 0, 360),
        schedules=_schedules(parameters.get(_SCHEDULE_SERVICE_NAME)),
    )


def _schedules(service: object) -> list[Any] | None:
    """Return the schedules in the order of their ids, which the cloud does not keep."""
    listed = service.get("Schedules") if isinstance(service, dict) else None
    if not isinstance(listed, list) or len(json.dumps(listed)) > _MAX_SCHEDULES_CHARS:
        return None
    return sorted(listed, key=lambda one: json.dumps(one, sort_keys=True))


def read_nodes_page(answer: object, *, now: datetime | None = None) -> NodesPage:
    """Return one page of hubs.

    A hub that is only listed by id, or whose element is damaged, comes without details rather than
    not at all: a missing hub would look as if it had left the account.
    """
    fields = _object(answer, "the list of hubs")
    listed, detailed = fields.get("nodes"), fields.get("node_details")
    if not isinstance(listed, list) and not isinstance(detailed, list):
        raise AnswerUnreadable("The cloud's answer does not list the hubs.")
    nodes: dict[str, NodeDetails] = {}
    skipped = [0, 0]
    for kind, elements in enumerate((_list(detailed), _list(listed))):
        for element in elements:
            node = _node_details(element, now)
            if node is None:
                skipped[kind] += 1
            else:
                nodes.setdefault(node.node_id, node)
    return NodesPage(
        nodes=tuple(nodes.values()),
        total=_whole(fields.get("total"), 0, _MAX_INT),
        next_id=_next_id(fields.get("next_id")),
        skipped=max(skipped),
    )


def _node_details(element: object, now: datetime | None) -> NodeDetails | None:
    fields = element if isinstance(element, dict) else {"id": element}
    node_id = next((i for i in (fields.get("id"), fields.get("node_id")) if is_identifier(i)), None)
    if node_id is None:
        return None
    status = fields.get("status")
    connectivity = status.get("connectivity") if isinstance(status, dict) else None
    try:
        config = read_node_config(fields.get("config"), node_id=node_id)
    except AnswerUnreadable:
        config = None
    params = fields.get("params")
    role = _one_of(fields.get("role"), ("primary", "secondary"))
    if not role and isinstance(fields.get("primary"), bool):
        role = "primary" if fields["primary"] else "secondary"
    return NodeDetails(
        node_id=node_id,
        role=role,
        config=config,
        connectivity=_connectivity(connectivity, now),
        facts=read_hub_facts(params, ota_service=config.ota_service if config else "")
        if isinstance(params, dict)
        else None,
    )


def _connectivity(sent: object, now: datetime | None) -> Connectivity:
    fields = sent if isinstance(sent, dict) else {}
    is_connected, timestamp = fields.get("connected"), fields.get("timestamp")
    return Connectivity(
        is_connected=is_connected if isinstance(is_connected, bool) else None,
        changed_at=_past_instant(timestamp, now),
        raw_timestamp=_text(timestamp, 64),
        is_reported=isinstance(sent, dict),
    )


def is_identifier(value: object) -> TypeGuard[str]:
    """Return whether the value can be a node or job id: short, printable, nothing to trim."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_ID_CHARS
        and value.isprintable()
        and value == value.strip()
    )


def _identifier(value: object, what: str) -> str:
    if not is_identifier(value):
        raise AnswerUnreadable(f"The cloud's answer lacks {what}, or it is not usable.")
    return value


def _version(value: object) -> str:
    """Return the version without the spaces around it; _as_sent() keeps them."""
    stripped = value.strip(_INVISIBLE).strip() if isinstance(value, str) else value
    if not is_identifier(stripped) or len(stripped) > MAX_VERSION_CHARS:
        raise NoVersion("The cloud's answer lacks a firmware version, or it is not usable.")
    return stripped


def _as_sent(value: object) -> str:
    return _UNPRINTABLE.sub(" ", value)[:MAX_ID_CHARS] if isinstance(value, str) else ""


def _next_id(value: object) -> str:
    """Return where the next page starts; one that cannot be sent back would lose hubs unnoticed."""
    if value is None or value == "":
        return ""
    if isinstance(value, str) and len(value) <= 300 and value.isprintable():
        return value
    raise AnswerUnreadable("The cloud's list of hubs goes on, but does not say where.")


def _same(value: object, expected: str, what: str) -> None:
    if expected and isinstance(value, str) and value and value != expected:
        raise AnswerUnreadable(f"The cloud answered about another {what} than it was asked about.")


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AnswerUnreadable(f"The cloud's answer has no readable form: {what} is missing.")
    return value


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _token(value: object) -> str:
    """Return a token that fits a header line, else ""."""
    if isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value:
        return value if len(value) <= MAX_TOKEN_CHARS else ""
    return ""


def _claims(token: str) -> dict[str, Any]:
    """Return the claims of a JWT, unverified; empty when it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    payload = parts[1].replace("+", "-").replace("/", "_")
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _lowered(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _one_of(value: object, words: Iterable[str]) -> str:
    return next((word for word in words if word.lower() == _lowered(value)), "")


def _text(value: object, limit: int, *, keep_lines: bool = False) -> str:
    if isinstance(value, (int, float)) and _number(value) is not None:
        value = str(value)
    if not isinstance(value, str):
        return ""
    unprintable = _UNPRINTABLE_BUT_LINES if keep_lines else _UNPRINTABLE
    return unprintable.sub(" ", value[: limit * 2]).strip()[:limit]


def _number(value: object, low: float = -1e18, high: float = 1e18) -> float | None:
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if low <= value <= high else None


def _whole(value: object, low: int, high: int) -> int | None:
    number = _number(value, low, high)
    return int(number) if number is not None and number == int(number) else None


def _past_instant(value: object, now: datetime | None) -> datetime | None:
    """Return when something happened; None for a time that is too old or still to come."""
    at = _instant(value)
    latest = (now or datetime.now(UTC)) + MAX_AHEAD
    return at if at is not None and EARLIEST <= at <= latest else None


def _instant(value: object) -> datetime | None:
    """Return the time that a number of seconds or milliseconds since 1970 means."""
    number = _number(value, 1)
    if number is None:
        return None
    seconds = number / 1000 if number >= _FIRST_MILLISECONDS else number
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None
