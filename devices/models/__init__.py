"""The tables. Import models from here."""

from devices.models.account import AccountState, CloudAccount
from devices.models.api_token import ApiToken, Scope
from devices.models.audit import Actor, AuditCheck, AuditCheckpoint, AuditEvent, AuditHead, Outcome
from devices.models.audit_action import AuditAction, AuditGroup
from devices.models.backup_run import BackupRun
from devices.models.cache_entry import CacheEntry
from devices.models.claim import Claim
from devices.models.dismissal import Dismissal
from devices.models.firmware_file import FetchState, Image, ImageFetch
from devices.models.homeassistant import HomeAssistantHub, HomeAssistantLink, LineState, MayInstall
from devices.models.household import Household, Membership, Role, StaffRole, User
from devices.models.install import (
    FOLLOWED,
    LIVE,
    OUTCOMES,
    TRANSITIONS,
    UNSENT,
    VERDICTS,
    IllegalTransition,
    OtaJob,
    StaleJob,
    State,
)
from devices.models.install_report import Report
from devices.models.invitation import Invitation
from devices.models.key_mark import KeyMark, KeyName
from devices.models.lease import Beat
from devices.models.node import (
    CHECK_AFTER_INSTALL,
    CHECK_EVERY,
    Node,
    Offer,
    OfferEnd,
    Rehearsal,
    Repellent,
)
from devices.models.notification import TOPICS, Channel, Delivery, Notice, Pace, Topic
from devices.models.outcome import InstallOutcome
from devices.models.plan import DropReason, Plan, PlanState, When
from devices.models.proposal import Proposal, ProposalState
from devices.models.push import PushDevice, PushKey
from devices.models.quarantine import Suspect
from devices.models.queue import Batch, BatchState
from devices.models.saved_view import SavedView
from devices.models.tally import Tally
from devices.models.unknown_message import Source, UnknownText
from devices.models.update_policy import HubPolicy, PolicyMode, UpdatePolicy
from devices.models.version_change import VersionCause, VersionChange
from devices.models.version_hold import VersionHold

__all__ = [
    "CHECK_AFTER_INSTALL",
    "CHECK_EVERY",
    "FOLLOWED",
    "LIVE",
    "OUTCOMES",
    "TOPICS",
    "TRANSITIONS",
    "UNSENT",
    "VERDICTS",
    "AccountState",
    "Actor",
    "ApiToken",
    "AuditAction",
    "AuditCheck",
    "AuditCheckpoint",
    "AuditEvent",
    "AuditGroup",
    "AuditHead",
    "BackupRun",
    "Batch",
    "BatchState",
    "Beat",
    "CacheEntry",
    "Channel",
    "Claim",
    "CloudAccount",
    "Delivery",
    "Dismissal",
    "DropReason",
    "FetchState",
    "HomeAssistantHub",
    "HomeAssistantLink",
    "Household",
    "HubPolicy",
    "IllegalTransition",
    "Image",
    "ImageFetch",
    "InstallOutcome",
    "Invitation",
    "KeyMark",
    "KeyName",
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
    "Plan",
    "PlanState",
    "PolicyMode",
    "Proposal",
    "ProposalState",
    "PushDevice",
    "PushKey",
    "Rehearsal",
    "Repellent",
    "Report",
    "Role",
    "SavedView",
    "Scope",
    "Source",
    "StaffRole",
    "StaleJob",
    "State",
    "Suspect",
    "Tally",
    "Topic",
    "UnknownText",
    "UpdatePolicy",
    "User",
    "VersionCause",
    "VersionChange",
    "VersionHold",
    "When",
]
