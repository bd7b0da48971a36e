"""What Home Assistant is told of a hub. Pure: facts in, topics and payloads out.

One device message a hub (home-assistant.io/integrations/mqtt, "Device discovery payload"), which
names its components; each reads its own topic below the household's prefix. Topics are built from
our own keys and numbers only; what people and hubs wrote appears nowhere but inside JSON strings.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from devices.hubwords import one_line

# home-assistant.io/integrations/update.mqtt: "a brief update description of max 255 characters"
LONGEST_SUMMARY = 255
# developers.home-assistant.io: a state is a text of at most 255 characters
LONGEST_STATE = 255
ONLINE, OFFLINE = "online", "offline"
ON, OFF = "ON", "OFF"
# The topics of one hub below its own; an empty retained message removes each.
TOPICS = ("update", "offer", "facts", "verdict", "refusal")
# A component named with its platform alone is removed from the device.
COMPONENTS = {
    "update": "update",
    "available": "binary_sensor",
    "install": "button",
    "connectivity": "binary_sensor",
    "verdict": "sensor",
    "checked": "sensor",
    "refusal": "sensor",
}


@dataclass(frozen=True, slots=True)
class Home:
    """A household's place at its broker."""

    key: str
    topic_prefix: str
    discovery_prefix: str

    @property
    def status_topic(self) -> str:
        """The bridge's own: online, or offline by its last will."""
        return f"{self.topic_prefix}/status"

    @property
    def test_topic(self) -> str:
        return f"{self.topic_prefix}/test"

    @property
    def install_topics(self) -> str:
        """A filter for the commands of every hub."""
        return f"{self.topic_prefix}/hub/+/install"

    @property
    def config_topics(self) -> str:
        """A filter for what was ever announced for this household."""
        return self.config_topic("+")

    def config_topic(self, number: int | str) -> str:
        return f"{self.discovery_prefix}/device/{self.node}/{number}/config"

    @property
    def node(self) -> str:
        return f"thermacell_{self.key}"

    def hub_topic(self, number: int, name: str) -> str:
        return f"{self.topic_prefix}/hub/{number}/{name}"

    def number_in(self, topic: str) -> int | None:
        """Return the hub's number in a command's or an announcement's topic."""
        for before, after in (
            (f"{self.topic_prefix}/hub/", "/install"),
            (f"{self.discovery_prefix}/device/{self.node}/", "/config"),
        ):
            middle = topic.removeprefix(before).removesuffix(after)
            if f"{before}{middle}{after}" == topic and middle.isascii() and middle.isdigit():
                return int(middle)
        return None


@dataclass(frozen=True, slots=True)
class Hub:
    """What is known of one hub, as Home Assistant is to show it."""

    number: int
    name: str
    model: str
    serial: str
    installed: str
    page: str
    """Its page here, an absolute address."""
    is_online: bool | None
    checked_at: datetime | None
    offered: str = ""
    """The version offered that is not installed; "" for none."""
    description: str = ""
    size_bytes: int | None = None
    ota_job_id: str = ""
    md5: str = ""
    is_installing: bool = False
    percent: int | None = None
    verdict: str = ""
    verdict_about: dict[str, Any] | None = None
    refusal_code: str = ""
    refusal: str = ""
    refused_at: datetime | None = None
    press: str | None = None
    """What pressing install sends, bound to exactly this offer; None when it may not press."""


def messages(home: Home, hub: Hub) -> dict[str, str]:
    """Return {topic: payload} for everything Home Assistant is told of this hub, the announcement
    last: an entity that appears finds its state. All are to be retained.
    """
    told = {
        "update": _update_state(hub),
        "offer": {
            "available_version": hub.offered or None,
            "description": hub.description or None,
            "file_size": hub.size_bytes,
            "installed_version": hub.installed or None,
            "ota_job_id": hub.ota_job_id or None,
            "md5": hub.md5 or None,
        },
        "facts": {
            "available": ON if hub.offered else OFF,
            "online": None if hub.is_online is None else ON if hub.is_online else OFF,
            "checked": _time(hub.checked_at),
        },
        "verdict": {
            "state": one_line(hub.verdict, LONGEST_STATE) or None,
            "about": hub.verdict_about or {},
        },
        "refusal": {
            "state": one_line(hub.refusal, LONGEST_STATE) or "none",
            "about": {
                "code": hub.refusal_code or None,
                "sentence": hub.refusal or None,
                "at": _time(hub.refused_at),
            },
        },
    }
    sent = {home.hub_topic(hub.number, name): _json(told[name]) for name in TOPICS}
    return sent | {home.config_topic(hub.number): _json(announcement(home, hub))}


def removal(home: Home, number: int) -> list[str]:
    """Return the topics that an empty retained message clears, the announcement first."""
    states = [home.hub_topic(number, name) for name in TOPICS]
    return [home.config_topic(number), *states]


def announcement(home: Home, hub: Hub) -> dict[str, Any]:
    """Return the device message of this hub."""
    about = {
        "identifiers": [f"{home.node}_{hub.number}"],
        "name": one_line(hub.name, 120) or f"Hub {hub.number}",
        "manufacturer": "Thermacell",
        "model": one_line(hub.model, 120),
        "serial_number": one_line(hub.serial, 120),
        "sw_version": one_line(hub.installed, 120),
        "configuration_url": hub.page,
    }
    return {
        "device": {name: value for name, value in about.items() if value},
        "origin": {"name": "Thermacell Web", "support_url": hub.page},
        "availability": [
            {
                "topic": home.status_topic,
                "payload_available": ONLINE,
                "payload_not_available": OFFLINE,
            }
        ],
        "qos": 1,
        "components": {
            name: {"platform": platform} | _component(home, hub, name)
            for name, platform in COMPONENTS.items()
        },
    }


def _component(home: Home, hub: Hub, name: str) -> dict[str, Any]:
    def topic(of: str) -> str:
        return home.hub_topic(hub.number, of)

    def sensor(of: str, key: str) -> dict[str, Any]:
        return {"state_topic": topic(of), "value_template": f"{{{{ value_json.{key} }}}}"}

    command = topic("install")
    if name == "install" and hub.press is None:
        return {}
    own: dict[str, dict[str, Any]] = {
        "update": {
            "name": "Firmware",
            "device_class": "firmware",
            "state_topic": topic("update"),
            "json_attributes_topic": topic("offer"),
        }
        | ({} if hub.press is None else {"command_topic": command, "payload_install": hub.press}),
        "available": sensor("facts", "available")
        | {
            "name": "Firmware update available",
            "device_class": "update",
            "json_attributes_topic": topic("offer"),
        },
        "install": {
            "name": "Install firmware",
            "device_class": "update",
            "command_topic": command,
            "payload_press": hub.press,
        },
        "connectivity": sensor("facts", "online")
        | {"name": "Connectivity", "device_class": "connectivity", "entity_category": "diagnostic"},
        "verdict": sensor("verdict", "state")
        | _attributes(topic("verdict"))
        | {"name": "Last verdict", "icon": "mdi:check-decagram", "entity_category": "diagnostic"},
        "checked": sensor("facts", "checked")
        | {"name": "Last check", "device_class": "timestamp", "entity_category": "diagnostic"},
        "refusal": sensor("refusal", "state")
        | _attributes(topic("refusal"))
        | {"name": "Last refusal", "icon": "mdi:cancel", "entity_category": "diagnostic"},
    }
    return own[name] | {"unique_id": f"{home.node}_{hub.number}_{name}"}


def _attributes(topic: str) -> dict[str, str]:
    return {
        "json_attributes_topic": topic,
        "json_attributes_template": "{{ value_json.about | tojson }}",
    }


def _update_state(hub: Hub) -> dict[str, Any]:
    # Home Assistant drops the whole message when a text is null or a key is one it does not know
    # (core, mqtt/update.py): what is not known is left out.
    told = {
        "installed_version": one_line(hub.installed, LONGEST_STATE),
        "latest_version": one_line(hub.offered or hub.installed, LONGEST_STATE),
    }
    return {name: value for name, value in told.items() if value} | {
        "title": one_line(f"{hub.model or 'Hub'} firmware", 120),
        "release_summary": one_line(hub.description, LONGEST_SUMMARY),
        "release_url": hub.page,
        "in_progress": hub.is_installing,
        "update_percentage": hub.percent if hub.is_installing else None,
    }


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="seconds") if at is not None else None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
