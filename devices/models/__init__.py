"""The tables. Import models from here."""

from devices.models.account import AccountState, CloudAccount, Unsealable
from devices.models.audit import (
    Actor,
    AuditCheck,
    AuditCheckpoint,
    AuditEvent,
    AuditHead,
    Outcome,
)
from devices.models.batch import Batch, BatchItem, BatchState, ItemState
from devices.models.beat import Beat
from devices.models.homeassistant import (
    HomeAssistantHub,
    HomeAssistantLink,
    LineState,
    MayInstall,
)
from devices.models.household import Household, Membership, Role, StaffRole, User
from devices.models.image import FetchState, Image, ImageFetch
from devices.models.invitation import Invitation
from devices.models.node import (
    CHECK_AFTER_INSTALL,
    CHECK_EVERY,
    Node,
    Offer,
    OfferEnd,
    Repellent,
)
from devices.models.notice import TOPICS, Channel, Delivery, Notice, Pace, Topic, tell
from devices.models.ota import (
    FOLLOWED,
    LIVE,
    TRANSITIONS,
    UNSENT,
    VERDICTS,
    IllegalTransition,
    OtaJob,
    StaleJob,
    State,
)
from devices.models.proposal import Proposal, ProposalState
from devices.models.report import Report, keep_report
from devices.models.suspect import Suspect
from devices.models.token import ApiToken, Scope
from devices.models.unknown import Source, UnknownText, count_unknown
from devices.models.version import VersionCause, VersionChange, hear_version

__all__ = [
    "CHECK_AFTER_INSTALL",
    "CHECK_EVERY",
    "FOLLOWED",
    "LIVE",
    "TOPICS",
    "TRANSITIONS",
    "UNSENT",
    "VERDICTS",
    "AccountState",
    "Actor",
    "ApiToken",
    "AuditCheck",
    "AuditCheckpoint",
    "AuditEvent",
    "AuditHead",
    "Batch",
    "BatchItem",
    "BatchState",
    "Beat",
    "Channel",
    "CloudAccount",
    "Delivery",
    "FetchState",
    "HomeAssistantHub",
    "HomeAssistantLink",
    "Household",
    "IllegalTransition",
    "Image",
    "ImageFetch",
    "Invitation",
    "ItemState",
    "LineState",
    "MayInstall",
    "Membership",
    "Node",
    "Notice",
    "Offer",
    "OfferEnd",
    "OtaJob",
    "Outcome",
    "Pace",
    "Proposal",
    "ProposalState",
    "Repellent",
    "Report",
    "Role",
    "Scope",
    "Source",
    "StaffRole",
    "StaleJob",
    "State",
    "Suspect",
    "Topic",
    "UnknownText",
    "Unsealable",
    "User",
    "VersionCause",
    "VersionChange",
    "count_unknown",
    "hear_version",
    "keep_report",
    "tell",
]
