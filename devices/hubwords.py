"""What a hub's own words about an update mean: every text its firmware is known to send, as data.

The texts are those of the esp-rainmaker firmware (github.com/espressif/esp-rainmaker, files
esp_rmaker_ota.c, esp_rmaker_https_ota.c, esp_rmaker_mqtt_ota.c and esp_rmaker_ota_using_topics.c
in components/esp_rainmaker/src/ota), in the spelling of its present and of some older versions.
A report is cut off at 200 bytes there, so reasons are recognised by how they begin.
Unverified: which of these versions a Thermacell LIV hub runs; an unknown text is therefore
ordinary, and its word alone says what it means.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from django.utils.translation import gettext


class Stage(IntEnum):
    """How far an install has come. VERIFIED is ours to say; no text of a hub reaches it."""

    CONFIRMED = 1
    SENT = 2
    STARTED = 3
    DOWNLOADING = 4
    DOWNLOADED = 5
    RESTARTING = 6
    BACK_ONLINE = 7
    VERIFIED = 8


@dataclass(frozen=True, slots=True)
class HubWords:
    """One report in plain language."""

    code: str
    """Short support code, such as "TW-H12"."""
    title: str
    sentence: str
    stage: Stage | None
    is_final_failure: bool
    """Whether the hub will not try again by itself."""
    delay: timedelta | None
    """How long the hub may reasonably wait before it goes on; None when it is not waiting."""
    is_known: bool
    outcome: str
    """The outcome code of a rejected or failed report, else empty."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a status word means alone, without any text or with one that is not known."""

    code: str
    title: str
    sentence: str
    stage: Stage | None = None
    is_final_failure: bool = False
    delay: timedelta | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Text:
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
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one attempt failed; the pattern must match the beginning of the reason."""

    code: str
    example: str
    pattern: str
    phrase: str


# A hub without a clock asks again every 30 s; a download window opens once a day.
CLOCK_DELAY = timedelta(minutes=2)
WINDOW_DELAY = timedelta(hours=25)

# "triggered" is what the cloud says before the push, "started" right after it.
WORDS: dict[str, Word] = {
    "triggered": Word(
        "TW-H01",
        "Not sent yet",
        "The cloud has the update ready and has not sent it to the hub.",
        Stage.CONFIRMED,
    ),
    "started": Word(
        "TW-H02",
        "Sent",
        "The cloud has passed the update on to the hub.",
        Stage.SENT,
    ),
    "in-progress": Word(
        "TW-H03",
        "Working on it",
        "The hub is working on the update.",
        Stage.STARTED,
    ),
    "delayed": Word(
        "TW-H04",
        "Waiting",
        "The hub has the update and waits before it starts.",
        Stage.SENT,
        delay=WINDOW_DELAY,
    ),
    "success": Word(
        "TW-H05",
        "Reported as done",
        "The cloud counts the update as done. We look for ourselves which version the hub runs.",
        Stage.RESTARTING,
    ),
    "rejected": Word(
        "TW-H06",
        "Refused by the hub",
        "The hub refused the update.",
        is_final_failure=True,
        outcome="rejected",
    ),
    "failed": Word(
        "TW-H07",
        "Attempt failed",
        "An attempt failed. The hub may try again by itself.",
        outcome="failed",
    ),
}

SYNONYMS = {
    "initiated": "started",
    "in progress": "in-progress",
    "inprogress": "in-progress",
    "completed": "success",
}

NO_KNOWN_WORD = Word(
    "TW-H08",
    "A word we do not know",
    "It changes nothing here: we keep it and go on asking.",
)

TEXTS: tuple[Text, ...] = (
    Text(
        "TW-H10",
        "in-progress",
        "Starting OTA Upgrade (HTTPS attempt 1/3)",
        r"starting ota upgrade(?: \((?:https |mqtt )?attempt (?P<i>\d{1,3})/(?P<n>\d{1,3})\))?",
        "The hub has the update and is starting it{attempt}.",
        "Starting",
        Stage.STARTED,
    ),
    Text(
        "TW-H11",
        "in-progress",
        "Downloading Firmware Image",
        r"downloading firmware(?: image)?",
        "The hub is downloading the new firmware.",
        "Downloading",
        Stage.DOWNLOADING,
    ),
    Text(
        "TW-H12",
        "in-progress",
        "Downloaded 40% Firmware Image",
        r"download(?:ed|ing)(?: firmware(?: image)?)?[ .…:-]*(?P<percent>100|\d{1,2}) ?%"
        r"(?: (?:of )?(?:the )?firmware(?: image)?)?",
        "The hub is downloading the new firmware: {percent}% has arrived.",
        "Downloading",
        Stage.DOWNLOADING,
    ),
    Text(
        "TW-H13",
        "in-progress",
        "Firmware Image download complete",
        r"firmware image download complete[d]?",
        "The new firmware has arrived on the hub. The hub checks it next.",
        "Downloaded",
        Stage.DOWNLOADED,
    ),
    Text(
        "TW-H14",
        "in-progress",
        "Rebooting into new firmware (after 1 HTTPS attempt)",
        r"rebooting into new firmware(?: \(after (?P<k>\d{1,3}) (?:https |mqtt )?attempts?\))?",
        "The new firmware is in place{after}, and the hub said that it restarts into it. "
        "While it restarts it is offline.",
        "Restarting into the new firmware",
        Stage.RESTARTING,
    ),
    Text(
        "TW-H15",
        "success",
        "OTA Upgrade finished and verified successfully",
        r"(?:https |mqtt )?ota upgrade finished and verified successfully",
        "The hub started the new firmware and reached the cloud again. "
        "We look for ourselves which version it runs.",
        "Back online with the new firmware",
        Stage.BACK_ONLINE,
    ),
    Text(
        "TW-H16",
        "success",
        "HTTPS OTA Upgrade finished successfully (after 1 attempt)",
        r"(?:https |mqtt )?ota upgrade finished successfully"
        r"(?: \(after (?P<k>\d{1,3}) (?:https |mqtt )?attempts?\))?",
        "The new firmware is in place{after}. A hub says so before it restarts into it.",
        "Restarting into the new firmware",
        Stage.RESTARTING,
    ),
    Text(
        "TW-H17",
        "success",
        "Firmware updated successfully to version 5.3.3",
        r"firmware updated successfully(?: to version (?P<version>\S{1,64}))?",
        "The hub is said to be updated{to}. We look for ourselves which version it runs.",
        "Reported as done",
        Stage.RESTARTING,
    ),
    Text(
        "TW-H20",
        "delayed",
        "No time information available yet.",
        r"no time information available yet",
        "The update may start only at certain times, and the hub does not know the time yet. "
        "It asks again every half minute.",
        "Waiting for the time of day",
        delay=CLOCK_DELAY,
    ),
    Text(
        "TW-H21",
        "delayed",
        "Not within valid window.",
        r"not within valid window",
        "This update starts only from a later date. The hub begins by itself then.",
        "Waiting for its date",
        delay=WINDOW_DELAY,
    ),
    Text(
        "TW-H22",
        "delayed",
        "Not within download window.",
        r"not within download window",
        "This update may start only at certain hours of the day. The hub begins by itself then.",
        "Waiting for its hour",
        delay=WINDOW_DELAY,
    ),
    Text(
        "TW-H23",
        "delayed",
        "Waiting for Approval",
        r"waiting for (?:user )?approval",
        "The hub waits until somebody allows the update, usually in the maker's app.",
        "Waiting for permission",
        delay=WINDOW_DELAY,
    ),
    Text(
        "TW-H30",
        "rejected",
        "Firmware rolled back",
        r"firmware rolled back",
        "The hub installed the new firmware, could not connect with it or did not pass its own "
        "check, and went back to the earlier one by itself.",
        "Went back to the earlier firmware",
        outcome="rolled_back",
    ),
    Text(
        "TW-H31",
        "rejected",
        "Project Name mismatch",
        r"project name mismatch",
        "The hub refused the update: this firmware is made for another product.",
        outcome="project_name",
    ),
    Text(
        "TW-H32",
        "rejected",
        "Same version received",
        r"same version received",
        "The hub refused the update: it already runs this version.",
        outcome="same_version",
    ),
    Text(
        "TW-H33",
        "rejected",
        "Lower secure version received",
        r"lower secure version received",
        "The hub refused the update: its security level is lower than the one the hub has.",
        outcome="secure_version",
    ),
    Text(
        "TW-H34",
        "rejected",
        "Chip revision mismatch",
        r"chip revision mismatch",
        "The hub refused the update: this firmware is made for another revision of its chip.",
        outcome="chip_revision",
    ),
    Text(
        "TW-H35",
        "failed",
        "OTA download window lapsed.",
        r"ota download window lapsed",
        "The date until which this update could start has passed. The hub does not try again.",
        "Too late for this update",
        is_final_failure=True,
        outcome="window_lapsed",
    ),
    Text(
        "TW-H36",
        "failed",
        "Invalid download window specified.",
        r"invalid download window specified",
        "The times at which this update may start are set wrongly in the cloud. "
        "The hub does not try again.",
        "Set up wrongly",
        is_final_failure=True,
        outcome="bad_window",
    ),
    Text(
        "TW-H37",
        "failed",
        "Aborted. URL not found in JSON",
        r"aborted[. :-]+(?:json payload error|.{1,60} not found in json)",
        "What the cloud sent to the hub was incomplete, so the hub did not start.",
        "Order incomplete",
        is_final_failure=True,
        outcome="bad_payload",
    ),
    Text(
        "TW-H38",
        "failed",
        "Aborted. URL memory allocation failed",
        r"aborted[. :-]+.{1,60} memory allocation failed",
        "The hub ran short of memory before it could start.",
        "Not started",
        is_final_failure=True,
        outcome="failed",
    ),
    Text(
        "TW-H39",
        "failed",
        "MQTT did not connect within 90 seconds",
        r"mqtt did not connect within \d{1,4} seconds?",
        "The new firmware was installed and could not reach the cloud in time, so the hub went "
        "back to the earlier one by itself. It may try again.",
        "Went back to the earlier firmware",
        outcome="failed",
    ),
    Text(
        "TW-H40",
        "failed",
        "Firmware verification failed",
        r"firmware verification failed",
        "The new firmware was installed and did not pass the hub's own check, so the hub went "
        "back to the earlier one by itself. It may try again.",
        "Went back to the earlier firmware",
        outcome="failed",
    ),
)

REASONS: tuple[Reason, ...] = (
    Reason(
        "TW-H50",
        "OTA Begin failed: ESP_ERR_HTTP_CONNECT (errno=119: Connection timed out)",
        r"(?:esp (?:https|mqtt) )?ota begin failed",
        "the download could not be started",
    ),
    Reason(
        "TW-H51",
        "Failed to read image description: ESP_FAIL (errno=0: Invalid)",
        r"(?:esp_https_ota_)?(?:failed to )?read image desc",
        "the beginning of the firmware could not be read",
    ),
    Reason(
        "TW-H52",
        "OTA failed: ESP_FAIL (errno=104: Connection reset by peer)",
        r"(?:esp (?:https|mqtt) )?ota (?:upgrade )?failed",
        "the download or the storing of it stopped half-way",
    ),
    Reason(
        "TW-H53",
        "Complete data was not received",
        r"complete data was not received",
        "the firmware did not arrive whole",
    ),
    Reason(
        "TW-H54",
        "Image validation failed",
        r"image validation failed",
        "the firmware arrived and did not pass the hub's check",
    ),
    Reason(
        "TW-H55",
        "OTA finish failed: ESP_ERR_NO_MEM (errno=0: Invalid)",
        r"(?:esp (?:https|mqtt) )?ota finish failed",
        "the hub could not finish storing the firmware",
    ),
    Reason(
        "TW-H56",
        "MQTT not connected",
        r"mqtt not connected",
        "the hub had lost its connection to the cloud",
    ),
    Reason(
        "TW-H57",
        "Missing stream_id or filesize for MQTT OTA",
        r"missing stream_id or filesize",
        "what the cloud sent to the hub was incomplete",
    ),
    Reason(
        "TW-H58",
        "Image header verification failed",
        r"image header verification failed",
        "the hub found that the firmware does not fit it",
    ),
    Reason(
        "TW-H59",
        "Download failed - connection timeout",
        r"download failed",
        "the download failed",
    ),
)
UNKNOWN_REASON = "TW-H60"

# More about a reason, where an error name or the text of errno says it; the first that is found.
DETAILS: tuple[tuple[str, str], ...] = (
    (r"no_mem\b", "the hub ran short of memory"),
    (r"validate_failed", "the firmware did not pass the hub's check"),
    (r"_flash_", "the hub could not write to its memory"),
    (r"unreachable", "the network could not be reached"),
    (r"connection reset|connection aborted|not connected", "the connection broke off"),
    (r"timeout|timed out|errno=11\b", "no answer came in time"),
    (r"http_connect|connection refused", "the hub could not connect to the download server"),
)

ATTEMPT = r"(?:ota )?attempt (?P<i>\d{1,3}) ?/ ?(?P<n>\d{1,3}) failed(?: ?: ?(?P<why>.*))?"

_FLAGS = re.ASCII | re.IGNORECASE
_TEXTS = tuple((text, re.compile(text.pattern, _FLAGS)) for text in TEXTS)
_REASONS = tuple((reason, re.compile(reason.pattern, _FLAGS)) for reason in REASONS)
_DETAILS = tuple((re.compile(pattern, _FLAGS), phrase) for pattern, phrase in DETAILS)
_ATTEMPT = re.compile(ATTEMPT, _FLAGS)


def normal_word(word: str) -> str:
    """Return the status word in the spelling of WORDS; a word not in there comes back tidied."""
    tidy = one_line(word).lower().replace("_", "-")
    return SYNONYMS.get(tidy, tidy)


def one_line(text: str, limit: int = 300) -> str:
    """Return the text on one line without control characters, cut at the limit, fit to quote."""
    clean = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    clean = " ".join(clean.split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


def explain_report(word: str, info: str) -> HubWords:
    """Return what one report means. Any letter case, spacing and closing dots will do."""
    said = one_line(info)
    tidy = said.rstrip(" .…")
    status = normal_word(word)
    meaning = WORDS.get(status)
    if meaning is None:
        return _unknown_word(one_line(word, 64), said)
    if not tidy:
        return _by_word(meaning, gettext(meaning.sentence), is_known=True)
    for text, pattern in _TEXTS:
        if text.word == status or (text.word == "in-progress" and status == "started"):
            found = pattern.fullmatch(tidy)
            if found:
                return _by_text(text, meaning, found.groupdict())
    if status == "failed":
        return _by_reason(meaning, said, tidy)
    return _unknown_text(meaning, status, said)


def _by_word(word: Word, sentence: str, *, is_known: bool) -> HubWords:
    return HubWords(
        word.code,
        gettext(word.title),
        sentence,
        word.stage,
        word.is_final_failure,
        word.delay,
        is_known,
        word.outcome,
    )


def _by_text(text: Text, word: Word, found: dict[str, str | None]) -> HubWords:
    attempts = int(found.get("k") or 1)
    sentence = gettext(text.sentence).format(
        percent=found.get("percent"),
        attempt=gettext(" (attempt %(i)s of %(n)s)") % found if found.get("i") else "",
        after=gettext(", after %(n)s attempts") % {"n": attempts} if attempts > 1 else "",
        to=gettext(" to version %(version)s") % found if found.get("version") else "",
    )
    return HubWords(
        text.code,
        gettext(text.title or word.title),
        sentence,
        text.stage or word.stage,
        text.is_final_failure or word.is_final_failure,
        text.delay or word.delay,
        True,
        text.outcome or word.outcome,
    )


def _by_reason(word: Word, said: str, tidy: str) -> HubWords:
    attempt = _ATTEMPT.fullmatch(tidy)
    why = (attempt["why"] or "").strip() if attempt else tidy
    reason = next((known for known, pattern in _REASONS if pattern.match(why)), None)
    if attempt is None and reason is None:
        return _unknown_text(word, "failed", said)
    start, then = gettext("An attempt failed"), gettext("The hub may try again by itself.")
    if attempt:
        numbers = {"i": int(attempt["i"]), "n": int(attempt["n"])}
        start = gettext("Attempt %(i)s of %(n)s failed") % numbers
        if int(attempt["i"]) < int(attempt["n"]):
            then = gettext("The hub goes on to the next attempt by itself.")
        else:
            then = gettext("The hub may start over by itself after about five minutes.")
    phrase = _phrase(reason, why)
    if reason is None and why:
        then += " " + gettext("It gave as its reason “%(said)s”, which we do not know.") % {
            "said": said
        }
    return HubWords(
        reason.code if reason else UNKNOWN_REASON,
        gettext(word.title),
        f"{start}: {phrase}. {then}" if phrase else f"{start}. {then}",
        None,
        False,
        None,
        reason is not None or not why,
        "attempts_failed",
    )


def _phrase(reason: Reason | None, why: str) -> str:
    if reason is None:
        return ""
    more = next((phrase for pattern, phrase in _DETAILS if pattern.search(why)), "")
    phrase = gettext(reason.phrase)
    return f"{phrase} ({gettext(more)})" if more else phrase


def _unknown_text(word: Word, status: str, said: str) -> HubWords:
    unknown = gettext(
        "The words were “%(said)s”. We do not know these, so we go by the status “%(status)s” "
        "alone."
    ) % {"said": said, "status": status}
    return _by_word(word, f"{gettext(word.sentence)} {unknown}", is_known=False)


def _unknown_word(word: str, said: str) -> HubWords:
    if word:
        quote = f"{word}: {said}" if said else word
        sentence = gettext("The cloud said “%(quote)s”, and we do not know this status.") % {
            "quote": quote
        }
    elif said:
        sentence = gettext("The cloud gave no status, only the words “%(said)s”.") % {"said": said}
    else:
        sentence = gettext("The cloud gave no status.")
    return _by_word(NO_KNOWN_WORD, f"{sentence} {gettext(NO_KNOWN_WORD.sentence)}", is_known=False)
