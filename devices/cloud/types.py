"""What the cloud says, once it has been read: frozen values, aware UTC times, units in names."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum


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
    size_bytes: int | None = None
    md5: str = ""
    """As sent, in no guaranteed form; only for jobs that let users fetch the image."""
    url: str = field(default="", repr=False)
    """Pre-signed, so a secret; only for jobs that let users fetch the image."""


class OtaWord(StrEnum):
    """The cloud's words for an OTA job on one hub, after normalising their spelling."""

    TRIGGERED = "triggered"
    """The job exists and nothing has been sent to the hub."""
    STARTED = "started"
    IN_PROGRESS = "in-progress"
    DELAYED = "delayed"
    SUCCESS = "success"
    REJECTED = "rejected"
    FAILED = "failed"
    """One attempt failed. The hub may go on to the next by itself."""
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
    raw_timestamp: str


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
