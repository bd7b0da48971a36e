"""What Home Assistant documents about its MQTT discovery, as JSON Schema.

Written from home-assistant.io/integrations/mqtt ("Discovery messages", "Device discovery payload")
and the "Configuration variables" of update.mqtt, binary_sensor.mqtt, button.mqtt, select.mqtt and
sensor.mqtt;
what its source adds is marked "core". Nothing here is taken from the product.
"""

import re
from typing import Any

from jsonschema import Draft202012Validator

TEXT = {"type": "string", "minLength": 1}
# MQTT 3.1.1, 4.7: a topic to publish to has no wildcards.
TOPIC = {"type": "string", "minLength": 1, "maxLength": 65535, "pattern": "^[^+#\\u0000]+$"}
URL = {"type": "string", "pattern": "^https?://"}
DISCOVERY_TOPIC = re.compile(r"^[^+#]+/device/([a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config$")
AVAILABILITY = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["topic"],
        "additionalProperties": False,
        "properties": {
            "topic": TOPIC,
            "payload_available": TEXT,
            "payload_not_available": TEXT,
            "value_template": TEXT,
        },
    },
}
# Every platform has these.
COMMON = {
    "name": {"type": ["string", "null"]},
    "unique_id": TEXT,
    "object_id": TEXT,
    "icon": {"type": "string", "pattern": "^[a-z]+:[a-z0-9-]+$"},
    "enabled_by_default": {"type": "boolean"},
    "entity_category": {"enum": ["config", "diagnostic"]},
    "entity_picture": URL,
    "availability": AVAILABILITY,
    "availability_mode": {"enum": ["all", "any", "latest"]},
    "availability_topic": TOPIC,
    "payload_available": TEXT,
    "payload_not_available": TEXT,
    "json_attributes_topic": TOPIC,
    "json_attributes_template": TEXT,
    "qos": {"enum": [0, 1, 2]},
    "encoding": {"type": "string"},
    "retain": {"type": "boolean"},
}


def _platform(name: str, required: list[str], **own: Any) -> dict[str, Any]:
    return {
        "type": "object",
        # with unique_id, or it belongs to no device; name or it is called by its device class
        "required": ["platform", "unique_id", *required],
        "additionalProperties": False,
        "properties": {"platform": {"const": name}, **COMMON, **own},
    }


PLATFORMS = {
    "update": _platform(
        "update",
        [],
        state_topic=TOPIC,
        value_template=TEXT,
        latest_version_topic=TOPIC,
        latest_version_template=TEXT,
        command_topic=TOPIC,
        payload_install=TEXT,
        device_class={"enum": ["firmware", None]},
        display_precision={"type": "integer"},
        release_summary={"type": "string", "maxLength": 255},
        release_url=URL,
        title=TEXT,
    )
    # core: an install needs both
    | {"dependentRequired": {"command_topic": ["payload_install"]}},
    "binary_sensor": _platform(
        "binary_sensor",
        ["state_topic"],
        state_topic=TOPIC,
        value_template=TEXT,
        device_class={"enum": ["connectivity", "problem", "running", "update"]},
        payload_on=TEXT,
        payload_off=TEXT,
        expire_after={"type": "integer"},
        off_delay={"type": "integer"},
        force_update={"type": "boolean"},
    ),
    "button": _platform(
        "button",
        ["command_topic"],
        command_topic=TOPIC,
        command_template=TEXT,
        payload_press=TEXT,
        device_class={"enum": ["identify", "restart", "update", None]},
    ),
    "sensor": _platform(
        "sensor",
        ["state_topic"],
        state_topic=TOPIC,
        value_template=TEXT,
        device_class={"enum": ["timestamp", "enum", "signal_strength", None]},
        options={"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True},
        state_class={"enum": ["measurement", "total", "total_increasing"]},
        unit_of_measurement=TEXT,
        expire_after={"type": "integer"},
        force_update={"type": "boolean"},
    )
    # core: options need the device class enum, and neither unit nor state class
    | {
        "dependentSchemas": {
            "options": {
                "properties": {
                    "device_class": {"const": "enum"},
                    "unit_of_measurement": False,
                    "state_class": False,
                },
                "required": ["device_class"],
            }
        }
    },
    "select": _platform(
        "select",
        ["command_topic", "options"],
        state_topic=TOPIC,
        value_template=TEXT,
        command_topic=TOPIC,
        command_template=TEXT,
        options={"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True},
        optimistic={"type": "boolean"},
    ),
    "event": _platform(
        "event",
        ["state_topic", "event_types"],
        state_topic=TOPIC,
        value_template=TEXT,
        event_types={"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True},
        device_class={"enum": ["button", "doorbell", "motion", None]},
    ),
}
# core: an entity without commands cannot be a setting
for _name in ("binary_sensor", "event", "sensor"):
    PLATFORMS[_name]["properties"]["entity_category"] = {"const": "diagnostic"}
# A component with its platform alone is removed from the device ("Device discovery payload").
REMOVED = {
    "type": "object",
    "required": ["platform"],
    "additionalProperties": False,
    "properties": {"platform": {"enum": sorted(PLATFORMS)}},
}
DEVICE_MESSAGE = {
    "type": "object",
    "required": ["device", "origin", "components"],
    "additionalProperties": False,
    "properties": {
        "device": {
            "type": "object",
            "anyOf": [{"required": ["identifiers"]}, {"required": ["connections"]}],
            "additionalProperties": False,
            "properties": {
                "identifiers": {"type": "array", "items": TEXT, "minItems": 1},
                "connections": {"type": "array"},
                "name": TEXT,
                "manufacturer": TEXT,
                "model": TEXT,
                "model_id": TEXT,
                "serial_number": TEXT,
                "sw_version": TEXT,
                "hw_version": TEXT,
                "suggested_area": TEXT,
                "via_device": TEXT,
                "configuration_url": URL,
            },
        },
        # required in device messages, so that the sender is known
        "origin": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {"name": TEXT, "sw_version": TEXT, "support_url": URL},
        },
        "components": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[a-zA-Z0-9_-]+$"},
            "additionalProperties": {"anyOf": [REMOVED, *PLATFORMS.values()]},
        },
        # shared by all components
        "availability": AVAILABILITY,
        "availability_mode": {"enum": ["all", "any", "latest"]},
        "availability_topic": TOPIC,
        "payload_available": TEXT,
        "payload_not_available": TEXT,
        "state_topic": TOPIC,
        "command_topic": TOPIC,
        "qos": {"enum": [0, 1, 2]},
        "encoding": {"type": "string"},
    },
}
# event.mqtt: "The JSON payload must contain event_type"; the other keys become attributes
EVENT = {"type": "object", "required": ["event_type"], "properties": {"event_type": TEXT}}
# update.mqtt, "The values in the JSON ... must be valid within the following schema"; core drops
# the whole message for a key beside these or a null where a text belongs.
UPDATE_STATE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "installed_version": TEXT,
        "latest_version": TEXT,
        "title": {"type": "string"},
        "release_summary": {"type": "string", "maxLength": 255},
        "release_url": URL,
        "entity_picture": URL,
        "in_progress": {"type": "boolean"},
        "update_percentage": {"type": ["number", "null"], "minimum": 0, "maximum": 100},
    },
}


def errors_in(value: Any, schema: dict[str, Any]) -> list[str]:
    """Return what in the value is not as documented."""
    found = Draft202012Validator(schema).iter_errors(value)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in found]
