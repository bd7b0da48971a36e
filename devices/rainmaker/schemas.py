"""What the cloud answered, after reading: frozen values, aware UTC times, units in names."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Tokens:
    """One session. The repr shows none of its secrets and not the e-mail address."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    """Empty when the cloud gave none; such a session cannot be extended."""
    access_expires_at: datetime | None
    """None when the access token does not say."""
    user_id: str
    email: str = field(repr=False)
    extend_after: datetime | None = None
    """The session is not extended before this time; None: it may be at once."""
    extensions: int = 0
    """Extensions in a row that failed or came early; each makes the pause longer."""


@dataclass(frozen=True, slots=True)
class CloudUser:
    user_id: str
    user_name: str = field(repr=False)
    name: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FirmwareOffer:
    """What the cloud would install on a hub now. Not available: everything else is empty."""

    is_available: bool
    ota_job_id: str = ""
    fw_version: str = ""
    description: str = ""
    """At most 65,536 characters; is_description_cut says when there were more."""
    size_bytes: int | None = None
    md5: str = ""
    """As sent, in no guaranteed form; only for jobs that let users fetch the image."""
    url: str = field(default="", repr=False)
    """Pre-signed, so a secret; only for jobs that let users fetch the image."""
    is_description_cut: bool = False
    fw_version_as_sent: str = ""
    """The version before the spaces around it were removed."""
    valid_from: datetime | None = None
    """The hub does not install before this time, and not after valid_until."""
    valid_until: datetime | None = None
    window_start_min: int | None = None
    """Minutes after midnight in the hub's own time zone between which it installs. The window may
    cross midnight."""
    window_end_min: int | None = None
    is_window_readable: bool = True
    """False: the offer has limits in time that could not be read, or not all of them."""
    metadata: str = ""
    """The job's metadata as JSON text, at most 4096 characters."""


class OtaWord(StrEnum):
    """The cloud's status of an OTA job on one hub, its spelling normalised."""

    TRIGGERED = "triggered"
    """The job exists and nothing has been sent to the hub."""
    STARTED = "started"
    IN_PROGRESS = "in-progress"
    DELAYED = "delayed"
    SUCCESS = "success"
    REJECTED = "rejected"
    FAILED = "failed"
    """One attempt failed. The hub may go on to the next without a command."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class OtaStatus:
    word: str
    """The status exactly as sent (control characters replaced, at most 64 characters)."""
    state: OtaWord
    info: str
    at: datetime | None
    """When the hub or the cloud says this became true; None when unreadable."""
    raw_timestamp: str
    source: str
    """"NODE", "CLOUD" or ""."""
    verbatim: str
    """The answer as JSON text, at most 4096 characters."""


@dataclass(frozen=True, slots=True)
class Connectivity:
    is_connected: bool | None
    """None when the cloud does not know, as for a hub that never connected."""
    changed_at: datetime | None
    """None also when the time cannot be true: before 2015 or in the future."""
    raw_timestamp: str
    is_reported: bool = True
    """False: the answer did not mention the connection at all, so what was known stays."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What the hub published about itself. Absent texts are empty; fw_version never is."""

    node_id: str
    name: str
    fw_version: str
    model: str
    type: str
    project_name: str
    platform: str
    serial: str
    device_names: tuple[str, ...]
    has_ota_service: bool
    ota_service: str = ""
    """The name of its OTA service, under which its parameters stand; usually empty."""
    fw_version_as_sent: str = ""
    """The version before the spaces around it were removed."""


class Repellent(Enum):
    OFF = "off"
    WARMING = "warming"
    PROTECTED = "protected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class HubFacts:
    """The state of a Thermacell LIV hub, from the parameters of its "LIV Hub" device."""

    name: str
    serial: str
    repellent: Repellent
    is_on: bool | None
    refill_life_percent: float | None
    has_cartridge: bool | None
    runtime_minutes: int | None
    error_bits: int
    """Without the bits known to be harmless; 0 is "no error"."""
    rssi_dbm: int | None
    ota_status: str = ""
    """What the hub's OTA service says of an update started through its parameters (no job)."""
    ota_info: str = ""
    led_brightness: int | None = None
    """0 to 100."""
    led_hue: int | None = None
    """0 to 360."""
    schedules: list[Any] | None = None
    """As the hub's schedule service lists them; None when it does not, or too long."""


@dataclass(frozen=True, slots=True)
class NodeDetails:
    node_id: str
    role: str
    """"primary", "secondary" or ""."""
    config: NodeConfig | None
    connectivity: Connectivity
    facts: HubFacts | None
    """None for a node that is not a Thermacell LIV hub, or whose parameters are absent."""


@dataclass(frozen=True, slots=True)
class NodesPage:
    nodes: tuple[NodeDetails, ...]
    total: int | None
    next_id: str
    """What to pass as start_id for the next page; empty at the end."""
    skipped: int = 0
    """Elements without a readable node id."""
