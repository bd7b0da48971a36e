"""What Home Assistant is sent about a hub. Pure: facts in, topics and payloads out.

One device message a hub (home-assistant.io/integrations/mqtt, "Device discovery payload") names its
components; each reads its own topic below the household's prefix. Topics are built from our own
keys and numbers only; what people and hubs wrote appears nowhere but inside JSON strings.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils.translation import gettext

from devices.models import State, When
from devices.models.homeassistant import PRESS_WHEN
from devices.models.parsing import parse_pk
from devices.models.text import one_line
from devices.presentation.serializers import HubData, PlanData, json_value, values_of

# home-assistant.io/integrations/update.mqtt: "a brief update description of max 255 characters"
LONGEST_SUMMARY = 255
# developers.home-assistant.io: a state is a text of at most 255 characters
LONGEST_STATE = 255
LONGEST_NAME = 120
ONLINE, OFFLINE = "online", "offline"
ON, OFF = "ON", "OFF"
CHECK, WHEN = "check", "when"
# The commands of a hub, each the end of a topic.
COMMANDS = ("install", CHECK, WHEN)
# The retained topics of one hub below its own; an empty retained message removes each.
TOPICS = ("update", "offer", "facts", "plan", "verdict", "refusal")
# A component named with its platform alone is removed from the device.
COMPONENTS = {
    "update": "update",
    "available": "binary_sensor",
    "attention": "binary_sensor",
    "install": "button",
    WHEN: "select",
    "planned": "sensor",
    "waits": "sensor",
    "check": "button",
    "events": "event",
    "connectivity": "binary_sensor",
    "verdict": "sensor",
    "checked": "sensor",
    "refusal": "sensor",
    "in_use": "binary_sensor",
    "signal": "sensor",
    "refill": "sensor",
}
# The bridge's sensors: which hubs each counts, as a filter of the list names them.
COUNTS = ("attention", "new", "running")
# What the event entity can report: a press that was refused, an install that began, its end.
PRESS_REFUSED, REQUESTED = "press_refused", "requested"
EVENTS = (
    PRESS_REFUSED,
    REQUESTED,
    *(
        state.value
        for state in (
            State.VERIFIED,
            State.UNVERIFIED,
            State.REJECTED,
            State.FAILED,
            State.LOST,
            State.CANCELLED,
            State.EXPIRED,
            State.REFUSED,
        )
    ),
)
# Home Assistant's own topic, whatever its discovery prefix (integrations/mqtt, "Birth and last
# will").
BIRTH_TOPIC, BIRTH = "homeassistant/status", b"online"
# How the cloud names models, and how people do.
MODELS = {"thermacell-hub": "LIV Hub"}


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
    def counts_topic(self) -> str:
        """How many hubs need attention, have new firmware, are installing."""
        return f"{self.topic_prefix}/counts"

    @property
    def test_topic(self) -> str:
        return f"{self.topic_prefix}/test"

    @property
    def command_topics(self) -> list[str]:
        """Filters for the commands of every hub."""
        return [f"{self.topic_prefix}/hub/+/{name}" for name in COMMANDS]

    @property
    def config_topics(self) -> str:
        """A filter for everything ever announced for this household."""
        return self.config_topic("+")

    @property
    def bridge_topic(self) -> str:
        """Where the bridge itself is announced as a device."""
        return self.config_topic("bridge")

    def access_rules(self) -> str:
        """Return what the two clients of a shared broker need, as Mosquitto's acl_file has it.

        Source: mosquitto.conf(5), acl_file.
        """
        ours, announced = f"{self.topic_prefix}/#", f"{self.discovery_prefix}/device/{self.node}/#"
        births = sorted({BIRTH_TOPIC, f"{self.discovery_prefix}/status"})
        lines = ["user thermacell-web", f"topic readwrite {ours}", f"topic readwrite {announced}"]
        lines += [f"topic read {topic}" for topic in births]
        lines += ["", "user home-assistant", f"topic readwrite {ours}", f"topic read {announced}"]
        lines += [f"topic readwrite {topic}" for topic in births]
        return "\n".join(lines)

    def config_topic(self, number: int | str) -> str:
        return f"{self.discovery_prefix}/device/{self.node}/{number}/config"

    @property
    def node(self) -> str:
        return f"thermacell_{self.key}"

    def hub_topic(self, number: int, name: str) -> str:
        return f"{self.topic_prefix}/hub/{number}/{name}"

    def number_in(self, topic: str) -> int | None:
        """Return the hub's number in the topic of a command or an announcement."""
        for before, after in (
            *((f"{self.topic_prefix}/hub/", f"/{name}") for name in COMMANDS),
            (f"{self.discovery_prefix}/device/{self.node}/", "/config"),
        ):
            middle = topic.removeprefix(before).removesuffix(after)
            if f"{before}{middle}{after}" == topic:
                return parse_pk(middle)
        return None


@dataclass(frozen=True, slots=True)
class Hub:
    """What is known of one hub, as Home Assistant is to show it."""

    data: HubData
    marked_name: str
    """Its name, marked when it is simulated."""
    refusal_code: str = ""
    refusal: str = ""
    refused_at: datetime | None = None
    press: str | None = None
    """What pressing install sends, bound to exactly this offer; None when it may not press."""
    when: When = When.NOW
    """The moment that the next press is for."""
    plan: PlanData | None = None
    """Its install that starts later, with the reason in the active language."""
    plan_starts_at: datetime | None = None
    """When that may start next; None when no time was chosen."""
    can_install: bool = False
    """Would a press be accepted now, as far as is known?"""
    events: tuple[str, ...] = ()
    """Payloads for the event entity, to be published once and not retained."""
    events_sent: Mapping[str, object] = field(default_factory=dict)
    """The fields of HomeAssistantHub to write after that."""


def messages(home: Home, hub: Hub) -> dict[str, str]:
    """Return {topic: payload} of everything about this hub, in the active language. All are to be
    retained.

    The announcement comes first: an entity that is announced again takes title, notes and link
    from it (core, mqtt/update.py), and its states after it.
    """
    data, install = hub.data, hub.data.install
    plan = values_of(hub.plan) if hub.plan is not None else None
    states = {
        "update": _update_state(data),
        "offer": _offer_attributes(data) | {"planned_at": hub.plan_starts_at, "plan": plan},
        "facts": {
            "available": ON if data.ota_available else OFF,
            "attention": ON if data.needs_attention else OFF,
            "online": None if data.is_online is None else ON if data.is_online else OFF,
            "checked": data.checked_at,
            "can_install": hub.can_install,
            "in_use": ON if data.is_in_use else OFF if data.repellent else None,
            "signal": data.rssi_dbm,
            "refill": data.refill_life_percent,
            "when": when_words(hub.when),
        },
        "plan": {
            "state": hub.plan_starts_at,
            "waits": one_line(_waits(hub.plan), LONGEST_STATE),
            "about": plan or {},
        },
        "verdict": {
            "state": str(install.state.label) if install else None,
            "about": values_of(install) if install else {},
        },
        "refusal": {
            "state": one_line(hub.refusal, LONGEST_STATE) or gettext("none"),
            "about": {
                "code": hub.refusal_code or None,
                "sentence": hub.refusal or None,
                "at": hub.refused_at,
            },
        },
    }
    sent = {home.hub_topic(data.id, name): as_json(states[name]) for name in TOPICS}
    return {home.config_topic(data.id): as_json(announcement(home, hub))} | sent


def when_words(when: When) -> str:
    """Return a moment as Home Assistant offers and shows it."""
    return gettext("Now") if when == When.NOW else str(when.label)


def when_of(words: str) -> When | None:
    """Return the moment that these words name, in the active language or by their code."""
    return next((one for one in PRESS_WHEN if words in {one.value, when_words(one)}), None)


def _waits(plan: PlanData | None) -> str:
    """Return why the planned install has not started, as a state."""
    if plan is None:
        return gettext("nothing is planned")
    return plan.reason or plan.starts


def removal(home: Home, number: int) -> list[str]:
    """Return the topics that an empty retained message clears, the announcement first."""
    states = [home.hub_topic(number, name) for name in TOPICS]
    return [home.config_topic(number), *states]


def bridge_announcement(home: Home, household: str) -> dict[str, Any]:
    """Return the device message of the bridge, through which all hubs are connected."""
    return {
        "device": {
            "identifiers": [home.node],
            "name": one_line(f"Thermacell Web {household}", LONGEST_NAME),
            "manufacturer": "Thermacell Web",
            "model": "Bridge",
            "configuration_url": settings.PUBLIC_URL,
        },
        "origin": {"name": "Thermacell Web", "support_url": settings.PUBLIC_URL},
        "qos": 1,
        "components": {
            "connection": {
                "platform": "binary_sensor",
                "unique_id": f"{home.node}_connection",
                "name": gettext("Connection"),
                "device_class": "connectivity",
                "entity_category": "diagnostic",
                "state_topic": home.status_topic,
                "payload_on": ONLINE,
                "payload_off": OFFLINE,
            }
        }
        | {f"hubs_{name}": _counter(home, name) for name in COUNTS},
    }


def _counter(home: Home, name: str) -> dict[str, Any]:
    """Return the bridge's sensor that counts hubs of this kind."""
    words, icon = {
        "attention": (gettext("Hubs that need attention"), "mdi:alert-circle-outline"),
        "new": (gettext("Hubs with new firmware"), "mdi:update"),
        "running": (gettext("Hubs installing"), "mdi:progress-download"),
    }[name]
    return {
        "platform": "sensor",
        "unique_id": f"{home.node}_hubs_{name}",
        "name": words,
        "icon": icon,
        "entity_category": "diagnostic",
        "state_topic": home.counts_topic,
        "value_template": f"{{{{ value_json.{name} }}}}",
        "availability": [_bridge_is_online(home)],
    }


def announcement(home: Home, hub: Hub) -> dict[str, Any]:
    """Return the device message of this hub."""
    data = hub.data
    about = {
        "identifiers": [f"{home.node}_{data.id}"],
        "via_device": home.node,
        "name": one_line(hub.marked_name, LONGEST_NAME) or f"Hub {data.id}",
        "manufacturer": "Thermacell",
        "model": readable_model(data.model),
        "model_id": one_line(data.model or "", LONGEST_NAME),
        "serial_number": one_line(data.serial or "", LONGEST_NAME),
        "sw_version": one_line(data.fw_version or "", LONGEST_NAME),
        "configuration_url": data.page,
    }
    return {
        "device": {name: value for name, value in about.items() if value},
        "origin": {"name": "Thermacell Web", "support_url": data.page},
        "availability": [_bridge_is_online(home)],
        "qos": 1,
        "components": {
            name: {"platform": platform} | _component(home, hub, name)
            for name, platform in COMPONENTS.items()
        },
    }


def readable_model(model: str | None) -> str:
    """Return the model as people name it; "" when it is not known."""
    name = one_line(model or "", LONGEST_NAME)
    if name.islower() and " " not in name:
        return MODELS.get(name) or name.replace("-", " ").replace("_", " ").title().strip()
    return name


def _bridge_is_online(home: Home) -> dict[str, str]:
    return {
        "topic": home.status_topic,
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
    }


def _component(home: Home, hub: Hub, name: str) -> dict[str, Any]:
    """Return one component without its platform. The categories `config` and `diagnostic` keep it
    off automatic dashboards, where one stray tap would install.
    """

    def topic(of: str) -> str:
        return home.hub_topic(hub.data.id, of)

    def reads(of: str, key: str) -> dict[str, Any]:
        return {"state_topic": topic(of), "value_template": f"{{{{ value_json.{key} }}}}"}

    def attributes(of: str) -> dict[str, str]:
        return {
            "json_attributes_topic": topic(of),
            "json_attributes_template": "{{ value_json.about | tojson }}",
        }

    if name in {"install", WHEN} and hub.press is None:
        return {}
    diagnostic = {"entity_category": "diagnostic"}
    hidden = diagnostic | {"enabled_by_default": False}
    match name:
        case "update":
            own = _update_component(hub) | {
                "name": gettext("Firmware"),
                "state_topic": topic("update"),
                "json_attributes_topic": topic("offer"),
            }
            if hub.press is not None:
                own |= {"command_topic": topic("install"), "payload_install": hub.press}
        case "available":
            own = reads("facts", "available") | {
                "name": gettext("Firmware update available"),
                "device_class": "update",
                "json_attributes_topic": topic("offer"),
            }
        case "attention":
            own = reads("facts", "attention") | diagnostic
            own |= {"name": gettext("Needs attention"), "device_class": "problem"}
        case "install":
            can = "{{ 'online' if value_json.can_install else 'offline' }}"
            own = {
                "name": gettext("Install firmware"),
                "device_class": "update",
                "entity_category": "config",
                "command_topic": topic("install"),
                "payload_press": hub.press,
                "availability": [
                    _bridge_is_online(home),
                    {"topic": topic("facts"), "value_template": can},
                ],
                "availability_mode": "all",
            }
        case "when":
            own = reads("facts", WHEN) | {
                "name": gettext("Install when"),
                "icon": "mdi:calendar-clock",
                "entity_category": "config",
                "command_topic": topic(WHEN),
                "options": [when_words(one) for one in PRESS_WHEN],
            }
        case "planned":
            own = reads("plan", "state") | attributes("plan") | diagnostic
            own |= {"name": gettext("Planned install"), "device_class": "timestamp"}
        case "waits":
            own = reads("plan", "waits") | attributes("plan") | diagnostic
            own |= {"name": gettext("Planned install waits for"), "icon": "mdi:timer-sand"}
        case "check":
            own = diagnostic | {
                "name": gettext("Check now"),
                "icon": "mdi:refresh",
                "command_topic": topic(CHECK),
                "payload_press": CHECK,
            }
        case "events":
            own = diagnostic | {
                "name": gettext("Install events"),
                "icon": "mdi:timeline-check",
                "state_topic": topic("event"),
                "event_types": list(EVENTS),
            }
        case "connectivity":
            own = reads("facts", "online") | diagnostic
            own |= {"name": gettext("Connectivity"), "device_class": "connectivity"}
        case "verdict":
            own = reads("verdict", "state") | attributes("verdict") | diagnostic
            own |= {
                "name": gettext("Last verdict"),
                "icon": "mdi:check-decagram",
                "device_class": "enum",
                "options": [str(state.label) for state in State],
            }
        case "checked":
            own = reads("facts", "checked") | diagnostic
            own |= {"name": gettext("Last check"), "device_class": "timestamp"}
        case "refusal":
            own = reads("refusal", "state") | attributes("refusal") | diagnostic
            own |= {"name": gettext("Last refusal"), "icon": "mdi:cancel"}
        case "in_use":
            own = reads("facts", "in_use") | hidden
            own |= {"name": gettext("In use"), "device_class": "running"}
        case "signal":
            own = reads("facts", "signal") | hidden
            own |= {
                "name": gettext("Signal"),
                "device_class": "signal_strength",
                "unit_of_measurement": "dBm",
                "state_class": "measurement",
            }
        case _:
            own = reads("facts", "refill") | hidden
            own |= {
                "name": gettext("Refill left"),
                "icon": "mdi:cup-water",
                "unit_of_measurement": "%",
                "state_class": "measurement",
            }
    return own | {"unique_id": f"{home.node}_{hub.data.id}_{name}"}


def _update_component(hub: Hub) -> dict[str, Any]:
    """Return title, notes, link and picture. They stand here and not in the state: Home Assistant
    forgets them with each announcement and does not read an unchanged state again.
    """
    data = hub.data
    title = gettext("%(model)s firmware") % {"model": readable_model(data.model) or "Hub"}
    summary = (data.offer and data.offer.description) or ""
    if data.is_step_back:
        # Home Assistant shows an older version as "up to date"
        title = gettext("%(title)s (older version)") % {"title": title}
        summary = gettext("Older than the installed version.") + f" {summary}"
    return {
        "device_class": "firmware",
        "entity_category": "config",
        "title": one_line(title, LONGEST_NAME),
        "release_url": data.page,
        "entity_picture": f"{settings.PUBLIC_URL}{settings.STATIC_URL}home-assistant.svg",
    } | ({"release_summary": one_line(summary, LONGEST_SUMMARY)} if summary else {})


def _offer_attributes(data: HubData) -> dict[str, Any]:
    """Return the attributes of both update entities: those a firmware sensor has at the top, then
    the same fields as everywhere.
    """
    return {
        "available_version": data.available_version,
        "description": data.description,
        "file_size": data.file_size,
        "node_id": data.node_id,
        "fw_version": data.fw_version,
        "ota_available": data.ota_available,
        "is_step_back": data.is_step_back,
        "dismissed_version": data.dismissed_version,
        "offer": values_of(data.offer) if data.offer else None,
    }


def _update_state(data: HubData) -> dict[str, Any]:
    offer, install = data.offer, data.install
    is_installing = install is not None and not install.is_over
    # Home Assistant drops the whole message when a text is null or a key is one it does not know
    # (core, mqtt/update.py): what is not known is left out.
    runs = data.fw_version or ""
    versions = {
        "installed_version": one_line(runs, LONGEST_STATE),
        "latest_version": one_line(offer.fw_version if offer else runs, LONGEST_STATE),
    }
    return {name: value for name, value in versions.items() if value} | {
        "in_progress": is_installing,
        "update_percentage": install.percent if install and is_installing else None,
    }


def as_json(value: object) -> str:
    return json.dumps(value, default=json_value, ensure_ascii=False, separators=(",", ":"))
