"""A reason why something cannot be done: a code for programs, a sentence for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from devices.models.message import Message, MessageCode


class ReasonCode(StrEnum):
    """Why something cannot be done now, for machines: APIs and Home Assistant show these."""

    NO_RIGHT = "no_right"
    IS_STAFF = "is_staff"
    OTHER_HOUSEHOLD = "other_household"
    CLOSED = "closed"
    HUB_GONE = "hub_gone"
    ACCOUNT_UNLINKED = "account_unlinked"
    SIGNED_OUT = "signed_out"
    NO_OFFER = "no_offer"
    OFFER_UNKNOWN = "offer_unknown"
    OFFER_SWAPPED = "offer_swapped"
    DISMISSED = "dismissed"
    ALREADY_INSTALLED = "already_installed"
    HUB_OFFLINE = "hub_offline"
    JOB_RUNNING = "job_running"
    ALREADY_SENT = "already_sent"
    # a proposal
    OVER = "over"
    ALREADY_PROPOSED = "already_proposed"
    # a plan that waits, or can never start
    IN_USE = "in_use"
    TOO_EARLY = "too_early"
    OUTSIDE_WINDOW = "outside_window"
    TURN = "turn"
    QUEUE_STOPPED = "queue_stopped"
    ACCOUNT_RESTING = "account_resting"
    TRIED_SINCE = "tried_since"
    TOO_LATE = "too_late"
    NOT_SENT = "not_sent"
    SEASON = "season"
    # an update policy
    ASKS = "asks"
    POLICY_CHANGED = "policy_changed"
    NO_NOTICE = "no_notice"
    NOT_NEWER = "not_newer"
    HELD = "held"
    TRIED_HERE = "tried_here"
    TRIED_ELSEWHERE = "tried_elsewhere"
    TOO_NEW = "too_new"
    FIRST_HUB = "first_hub"
    PLANNED = "planned"
    # a press in Home Assistant
    RETAINED = "retained"
    UNREADABLE = "unreadable"
    ALREADY_USED = "already_used"
    NOT_ALLOWED = "not_allowed"
    NO_LONGER_ALLOWED = "no_longer_allowed"
    HUB_IN_USE = "hub_in_use"
    OFFER_CHANGED = "offer_changed"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why something cannot be done now: a code for machines, a text for people.

    str() is the text in the reader's language; `sentence` is that of the record.
    """

    code: ReasonCode
    text: MessageCode
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def message(self) -> Message:
        return Message.of(self.text, **self.values)

    def __str__(self) -> str:
        return str(self.message)

    @property
    def sentence(self) -> str:
        return self.message.english
