"""How a command ends: its exit status, and why."""

from enum import IntEnum
from typing import Any

from devices.models import State


class Exit(IntEnum):
    """Part of the interface: scripts rely on these numbers."""

    DONE = 0
    NOT_UNDERSTOOD = 2  # as argparse ends, too
    NOT_CONFIRMED = 10
    REFUSED = 11
    NOTHING_NEW = 12
    GOES_ON = 13
    NO_ANSWER = 14
    INTERRUPTED = 130
    UNHEARD = 141


VERDICT_EXITS: dict[str, int] = {
    State.VERIFIED: 0,
    State.UNVERIFIED: 3,
    State.REJECTED: 4,
    State.FAILED: 5,
    State.LOST: 6,
    State.REFUSED: 7,
    State.EXPIRED: 8,
    State.CANCELLED: 9,
}
EXIT_TABLE = """\
exit status:
    0  done; of install and watch: verified, the hub runs the new firmware
    1  the command itself failed
    2  not understood: no such hub, person or household, or more than one fits
    3  not proven: the cloud, the hub and its connection do not agree
    4  the hub refused the firmware, or went back to the earlier one
    5  the install failed
    6  no word from the hub
    7  not sent: the offer had changed, or the cloud refused
    8  not sent: the confirmation expired first
    9  not sent: cancelled
   10  not confirmed: the answer was no, or the input ended
   11  refused, with reasons; nothing was sent
   12  there is nothing new to install
   13  no verdict, or no answer, within --timeout; it goes on
   14  the cloud could not be asked
  130  interrupted; an install that was confirmed goes on
  141  the output was closed; an install that was confirmed continues
"""


class CommandEnd(Exception):
    """Ends the command early: one sentence for people, values for programs."""

    def __init__(
        self, status: int, sentence: str, *, event: str = "error", also: str = "", **facts: Any
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.event = event
        self.also = also
        """More lines for people, already in the facts for programs."""
        self.facts = facts
