"""Every status and text that a hub's firmware is known to send, with its meaning, as data."""

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from devices.models.outcome import InstallOutcome


class Stage(IntEnum):
    """How far an install has come. VERIFIED is our own verdict; no report of a hub reaches it."""

    CONFIRMED = 1
    SENT = 2
    STARTED = 3
    DOWNLOADING = 4
    DOWNLOADED = 5
    RESTARTING = 6
    BACK_ONLINE = 7
    VERIFIED = 8


@dataclass(frozen=True, slots=True)
class StatusWord:
    """What a status word means alone, without any text or with one that is not known."""

    code: str
    title: str
    sentence: str
    stage: Stage | None = None
    is_final_failure: bool = False
    delay: timedelta | None = None
    outcome: InstallOutcome | None = None


@dataclass(frozen=True, slots=True)
class StatusText:
    """One known text. Empty title and None take the word's; the pattern must match all of it."""

    code: str
    word: str
    example: str
    pattern: str
    sentence: str
    title: str = ""
    stage: Stage | None = None
    is_final_failure: bool = False
    delay: timedelta | None = None
    outcome: InstallOutcome | None = None


@dataclass(frozen=True, slots=True)
class FailureReason:
    """Why one attempt failed; the pattern must match the beginning of the reason."""

    code: str
    example: str
    pattern: str
    phrase: str


# A hub without a clock asks again every 30 s; a download window opens once a day; a start date or
# an approval may be as far away as a cloud job lives.
CLOCK_DELAY = timedelta(minutes=2)
WINDOW_DELAY = timedelta(hours=25)
DATE_DELAY = timedelta(days=31)
# The cloud reports "triggered" before the push and "started" right after it.
WORDS: dict[str, StatusWord] = {
    "triggered": StatusWord(
        "TW-H01",
        "Not sent yet",
        "The cloud has the update ready but has not sent it to the hub yet.",
        Stage.CONFIRMED,
    ),
    "started": StatusWord(
        "TW-H02", "Sent", "The cloud reports that it sent the update to the hub.", Stage.SENT
    ),
    "in-progress": StatusWord(
        "TW-H03", "In progress", "The hub is working on the update.", Stage.STARTED
    ),
    "delayed": StatusWord(
        "TW-H04",
        "Waiting",
        "The hub has the update and is waiting to start.",
        Stage.SENT,
        delay=WINDOW_DELAY,
    ),
    "success": StatusWord(
        "TW-H05",
        "Success reported",
        "The cloud reports success. We check separately which version the hub runs.",
        Stage.RESTARTING,
    ),
    "rejected": StatusWord(
        "TW-H06",
        "Refused by the hub",
        "The hub refused the update.",
        is_final_failure=True,
        outcome=InstallOutcome.REJECTED,
    ),
    "failed": StatusWord(
        "TW-H07",
        "Attempt failed",
        "An attempt failed. The hub may try again on its own.",
        outcome=InstallOutcome.FAILED,
    ),
}
SYNONYMS = {
    "initiated": "started",
    "in progress": "in-progress",
    "inprogress": "in-progress",
    "completed": "success",
}
NO_KNOWN_WORD = StatusWord(
    "TW-H08", "Unrecognised status", "It is recorded and changes nothing. We keep checking."
)
TEXTS: tuple[StatusText, ...] = (
    StatusText(
        "TW-H10",
        "in-progress",
        "Starting OTA Upgrade (HTTPS attempt 1/3)",
        r"starting ota upgrade(?: \((?:https |mqtt )?attempt (?P<i>\d{1,3})/(?P<n>\d{1,3})\))?",
        "The hub is starting the update{attempt}.",
        "Starting",
        Stage.STARTED,
    ),
    StatusText(
        "TW-H11",
        "in-progress",
        "Downloading Firmware Image",
        r"downloading firmware(?: image)?",
        "The hub is downloading the new firmware.",
        "Downloading",
        Stage.DOWNLOADING,
    ),
    StatusText(
        "TW-H12",
        "in-progress",
        "Downloaded 40% Firmware Image",
        r"download(?:ed|ing)(?: firmware(?: image)?)?[ .…:-]*(?P<percent>100|\d{1,2}) ?%"
        r"(?: (?:of )?(?:the )?firmware(?: image)?)?",
        "The hub is downloading the new firmware ({percent}%).",
        "Downloading",
        Stage.DOWNLOADING,
    ),
    StatusText(
        "TW-H13",
        "in-progress",
        "Firmware Image download complete",
        r"firmware image download complete[d]?",
        "The hub has downloaded the new firmware and checks it next.",
        "Downloaded",
        Stage.DOWNLOADED,
    ),
    StatusText(
        "TW-H14",
        "in-progress",
        "Rebooting into new firmware (after 1 HTTPS attempt)",
        r"rebooting into new firmware(?: \(after (?P<k>\d{1,3}) (?:https |mqtt )?attempts?\))?",
        "The new firmware is installed{after}, and the hub reported that it restarts. It goes "
        "offline while it restarts.",
        "Restarting with the new firmware",
        Stage.RESTARTING,
    ),
    StatusText(
        "TW-H15",
        "success",
        "OTA Upgrade finished and verified successfully",
        r"(?:https |mqtt )?ota upgrade finished and verified successfully",
        "The hub reports that the new firmware started and connected to the cloud. We check "
        "separately which version it runs.",
        "Reported back online",
        Stage.BACK_ONLINE,
    ),
    StatusText(
        "TW-H16",
        "success",
        "HTTPS OTA Upgrade finished successfully (after 1 attempt)",
        r"(?:https |mqtt )?ota upgrade finished successfully"
        r"(?: \(after (?P<k>\d{1,3}) (?:https |mqtt )?attempts?\))?",
        "The new firmware is installed{after}. Hubs report this just before they restart.",
        "Restarting with the new firmware",
        Stage.RESTARTING,
    ),
    StatusText(
        "TW-H17",
        "success",
        "Firmware updated successfully to version 5.3.3",
        r"firmware updated successfully(?: to version (?P<version>\S{1,64}))?",
        "The hub is reported as updated{to}. We check separately which version it runs.",
        "Success reported",
        Stage.RESTARTING,
    ),
    StatusText(
        "TW-H20",
        "delayed",
        "No time information available yet.",
        r"no time information available yet",
        "The update may start only at certain times, but the hub's clock is not set yet. It "
        "checks again every 30 seconds.",
        "Waiting for the hub's clock",
        delay=CLOCK_DELAY,
    ),
    StatusText(
        "TW-H21",
        "delayed",
        "Not within valid window.",
        r"not within valid window",
        "This update cannot start until a later date. The hub will then start on its own.",
        "Waiting for the start date",
        delay=DATE_DELAY,
    ),
    StatusText(
        "TW-H22",
        "delayed",
        "Not within download window.",
        r"not within download window",
        "This update may start only at certain hours of the day. The hub will then start on "
        "its own.",
        "Waiting for the allowed hours",
        delay=WINDOW_DELAY,
    ),
    StatusText(
        "TW-H23",
        "delayed",
        "Waiting for Approval",
        r"waiting for (?:user )?approval",
        "The hub is waiting for approval, usually in the manufacturer's app.",
        "Waiting for approval",
        delay=DATE_DELAY,
    ),
    StatusText(
        "TW-H30",
        "rejected",
        "Firmware rolled back",
        r"firmware rolled back",
        "The hub reports that it rolled back to the previous firmware, because the new one "
        "could not connect or failed the hub's own check.",
        "Rolled back to the previous firmware",
        outcome=InstallOutcome.ROLLED_BACK,
    ),
    StatusText(
        "TW-H31",
        "rejected",
        "Project Name mismatch",
        r"project name mismatch",
        "The hub refused the update: this firmware is for a different product.",
        outcome=InstallOutcome.PROJECT_NAME,
    ),
    StatusText(
        "TW-H32",
        "rejected",
        "Same version received",
        r"same version received",
        "The hub refused the update: it reports that it already runs this version.",
        outcome=InstallOutcome.SAME_VERSION,
    ),
    StatusText(
        "TW-H33",
        "rejected",
        "Lower secure version received",
        r"lower secure version received",
        "The hub refused the update: its security level is lower than the hub's.",
        outcome=InstallOutcome.SECURE_VERSION,
    ),
    StatusText(
        "TW-H34",
        "rejected",
        "Chip revision mismatch",
        r"chip revision mismatch",
        "The hub refused the update: this firmware is for a different chip revision.",
        outcome=InstallOutcome.CHIP_REVISION,
    ),
    StatusText(
        "TW-H35",
        "failed",
        "OTA download window lapsed.",
        r"ota download window lapsed",
        "The last date for starting this update has passed. The hub will not try again.",
        "Too late for this update",
        is_final_failure=True,
        outcome=InstallOutcome.WINDOW_LAPSED,
    ),
    StatusText(
        "TW-H36",
        "failed",
        "Invalid download window specified.",
        r"invalid download window specified",
        "The allowed times for this update are not valid. The hub will not try again.",
        "Invalid schedule",
        is_final_failure=True,
        outcome=InstallOutcome.BAD_WINDOW,
    ),
    StatusText(
        "TW-H37",
        "failed",
        "Aborted. URL not found in JSON",
        r"aborted[. :-]+(?:json payload error|.{1,60} not found in json)",
        "The cloud sent the hub incomplete data, so the hub did not start.",
        "Update data incomplete",
        is_final_failure=True,
        outcome=InstallOutcome.BAD_PAYLOAD,
    ),
    StatusText(
        "TW-H38",
        "failed",
        "Aborted. URL memory allocation failed",
        r"aborted[. :-]+.{1,60} memory allocation failed",
        "The hub did not have enough memory to start.",
        "Not started",
        is_final_failure=True,
        outcome=InstallOutcome.FAILED,
    ),
    StatusText(
        "TW-H39",
        "failed",
        "MQTT did not connect within 90 seconds",
        r"mqtt did not connect within \d{1,4} seconds?",
        "The new firmware could not reach the cloud in time, so the hub rolled back to the "
        "previous one. It may try again.",
        "Rolled back to the previous firmware",
        outcome=InstallOutcome.FAILED,
    ),
    StatusText(
        "TW-H40",
        "failed",
        "Firmware verification failed",
        r"firmware verification failed",
        "The new firmware failed the hub's own check, so the hub rolled back to the previous "
        "one. It may try again.",
        "Rolled back to the previous firmware",
        outcome=InstallOutcome.FAILED,
    ),
)
REASONS: tuple[FailureReason, ...] = (
    FailureReason(
        "TW-H50",
        "OTA Begin failed: ESP_ERR_HTTP_CONNECT (errno=119: Connection timed out)",
        r"(?:esp (?:https|mqtt) )?ota begin failed",
        "the download could not start",
    ),
    FailureReason(
        "TW-H51",
        "Failed to read image description: ESP_FAIL (errno=0: Invalid)",
        r"(?:esp_https_ota_)?(?:failed to )?read image desc",
        "the start of the firmware file could not be read",
    ),
    FailureReason(
        "TW-H52",
        "OTA failed: ESP_FAIL (errno=104: Connection reset by peer)",
        r"(?:esp (?:https|mqtt) )?ota (?:upgrade )?failed",
        "downloading or saving the firmware stopped partway",
    ),
    FailureReason(
        "TW-H53",
        "Complete data was not received",
        r"complete data was not received",
        "the firmware download was incomplete",
    ),
    FailureReason(
        "TW-H54",
        "Image validation failed",
        r"image validation failed",
        "the firmware was downloaded but failed the hub's check",
    ),
    FailureReason(
        "TW-H55",
        "OTA finish failed: ESP_ERR_NO_MEM (errno=0: Invalid)",
        r"(?:esp (?:https|mqtt) )?ota finish failed",
        "the hub could not finish saving the firmware",
    ),
    FailureReason(
        "TW-H56",
        "MQTT not connected",
        r"mqtt not connected",
        "the hub was not connected to the cloud",
    ),
    FailureReason(
        "TW-H57",
        "Missing stream_id or filesize for MQTT OTA",
        r"missing stream_id or filesize",
        "the cloud sent the hub incomplete data",
    ),
    FailureReason(
        "TW-H58",
        "Image header verification failed",
        r"image header verification failed",
        "the hub found the firmware unsuitable",
    ),
    FailureReason(
        "TW-H59", "Download failed - connection timeout", r"download failed", "the download failed"
    ),
)
UNKNOWN_REASON = "TW-H60"
# More about a reason, where an error name or the text of errno says it; the first that is found.
DETAILS: tuple[tuple[str, str], ...] = (
    (r"no_mem\b", "the hub ran out of memory"),
    (r"validate_failed", "the firmware failed the hub's check"),
    (r"_flash_", "the hub could not write to its storage"),
    (r"unreachable", "the network could not be reached"),
    (r"connection reset|connection aborted|not connected", "the connection was lost"),
    (r"timeout|timed out|errno=11\b", "no reply in time"),
    (r"http_connect|connection refused", "the hub could not connect to the download server"),
)
