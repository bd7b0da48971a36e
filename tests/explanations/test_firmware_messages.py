"""Every status and text of a hub's firmware is explained."""

from datetime import timedelta

import pytest

from devices.explanations.explain import Stage, explain_report
from devices.explanations.firmware_messages import REASONS, TEXTS, UNKNOWN_REASON, WORDS

PROGRESS = "in-progress"
NO_TIME, WINDOW, DATE = timedelta(minutes=2), timedelta(hours=25), timedelta(days=31)
BEGIN = "OTA Begin failed: ESP_ERR_HTTP_CONNECT (errno=119: Connection timed out)"
HEADER = "Failed to read image description: ESP_FAIL (errno=0: Invalid)"


@pytest.mark.parametrize(
    ("word", "info", "title", "stage"),
    [
        ("triggered", "", "Not sent yet", Stage.CONFIRMED),
        ("started", "", "Sent", Stage.SENT),
        ("initiated", "", "Sent", Stage.SENT),
        (PROGRESS, "", "In progress", Stage.STARTED),
        (PROGRESS, "Starting OTA Upgrade (HTTPS attempt 1/3)", "Starting", Stage.STARTED),
        (PROGRESS, "Starting OTA Upgrade (MQTT attempt 2/3)", "Starting", Stage.STARTED),
        (PROGRESS, "Starting OTA Upgrade (attempt 3/3)", "Starting", Stage.STARTED),
        ("started", "Starting OTA Upgrade (HTTPS attempt 1/3)", "Starting", Stage.STARTED),
        (PROGRESS, "Downloading Firmware Image", "Downloading", Stage.DOWNLOADING),
        (PROGRESS, "Downloaded 10% Firmware Image", "Downloading", Stage.DOWNLOADING),
        (PROGRESS, "Downloaded 90% Firmware Image", "Downloading", Stage.DOWNLOADING),
        ("in_progress", "Downloading firmware... 45%", "Downloading", Stage.DOWNLOADING),
        (PROGRESS, "Firmware Image download complete", "Downloaded", Stage.DOWNLOADED),
        (
            PROGRESS,
            "Rebooting into new firmware (after 1 HTTPS attempt)",
            "Restarting with the new firmware",
            Stage.RESTARTING,
        ),
        (
            PROGRESS,
            "Rebooting into new firmware (after 2 MQTT attempts)",
            "Restarting with the new firmware",
            Stage.RESTARTING,
        ),
        (
            "success",
            "OTA Upgrade finished and verified successfully",
            "Reported back online",
            Stage.BACK_ONLINE,
        ),
        (
            "success",
            "HTTPS OTA Upgrade finished successfully (after 1 attempt)",
            "Restarting with the new firmware",
            Stage.RESTARTING,
        ),
        (
            "success",
            "MQTT OTA Upgrade finished successfully (after 3 attempts)",
            "Restarting with the new firmware",
            Stage.RESTARTING,
        ),
        (
            "success",
            "Firmware updated successfully to version 5.3.3",
            "Success reported",
            Stage.RESTARTING,
        ),
        ("completed", "", "Success reported", Stage.RESTARTING),
    ],
)
def test_words_of_progress(word: str, info: str, title: str, stage: Stage) -> None:
    text = explain_report(word, info)
    assert (text.title, text.stage, text.is_known) == (title, stage, True)
    assert (text.is_final_failure, text.delay, text.outcome) == (False, None, None)


@pytest.mark.parametrize(
    ("info", "delay"),
    [
        ("No time information available yet.", NO_TIME),
        ("Not within valid window.", DATE),
        ("Not within download window.", WINDOW),
        ("Waiting for Approval", DATE),
        ("", WINDOW),
    ],
)
def test_words_of_delay(info: str, delay: timedelta) -> None:
    text = explain_report("delayed", info)
    assert (text.delay, text.stage, text.is_known) == (delay, Stage.SENT, True)
    assert text.title.startswith("Waiting")


@pytest.mark.parametrize(
    ("word", "info", "outcome", "is_final"),
    [
        ("rejected", "Firmware rolled back", "rolled_back", True),
        ("rejected", "Project Name mismatch", "project_name", True),
        ("rejected", "Same version received", "same_version", True),
        ("rejected", "Lower secure version received", "secure_version", True),
        ("rejected", "Chip revision mismatch", "chip_revision", True),
        ("rejected", "", "rejected", True),
        ("failed", "OTA download window lapsed.", "window_lapsed", True),
        ("failed", "Invalid download window specified.", "bad_window", True),
        ("failed", "Aborted. JSON Payload error", "bad_payload", True),
        ("failed", "Aborted. OTA Updated ID not found in JSON", "bad_payload", True),
        ("failed", "Aborted. URL not found in JSON", "bad_payload", True),
        ("failed", "Aborted. Stream ID not found in JSON", "bad_payload", True),
        ("failed", "Aborted. URL memory allocation failed", "failed", True),
        ("failed", "MQTT did not connect within 90 seconds", "failed", False),
        ("failed", "Firmware verification failed", "failed", False),
        ("failed", "", "failed", False),
        ("failed", f"OTA Attempt 1/3 failed: {BEGIN}", "attempts_failed", False),
        ("failed", f"OTA Attempt 2/3 failed: {HEADER}", "attempts_failed", False),
        ("failed", "OTA Attempt 3/3 failed: OTA failed: ESP_FAIL", "attempts_failed", False),
        ("failed", "Attempt 1/3 failed: Complete data was not received", "attempts_failed", False),
        ("failed", "OTA Attempt 1/3 failed: Image validation failed", "attempts_failed", False),
        (
            "failed",
            "OTA Attempt 1/3 failed: OTA finish failed: X (errno=",
            "attempts_failed",
            False,
        ),
        ("failed", "OTA Attempt 1/3 failed", "attempts_failed", False),
        ("failed", "OTA failed: Error ESP_FAIL", "attempts_failed", False),
        ("failed", "Download failed - connection timeout", "attempts_failed", False),
    ],
)
def test_words_of_failure(word: str, info: str, outcome: str, is_final: bool) -> None:
    text = explain_report(word, info)
    assert (text.outcome, text.is_final_failure, text.is_known) == (outcome, is_final, True)
    assert (text.stage, text.delay) == (None, None)


@pytest.mark.parametrize(
    ("code", "word", "example"),
    [(text.code, text.word, text.example) for text in TEXTS]
    + [(reason.code, "failed", reason.example) for reason in REASONS],
)
def test_every_text_is_known_in_any_case_and_spacing(code: str, word: str, example: str) -> None:
    plain = explain_report(word, example)
    assert (plain.code, plain.is_known) == (code, True)
    for info in (example.upper(), f"  {example.lower()}... ", f"{example}."):
        other = explain_report(f" {word.upper().replace('-', '_')} ", info)
        assert (other.code, other.stage, other.outcome) == (plain.code, plain.stage, plain.outcome)


def test_attempts_are_counted_and_the_reason_is_given() -> None:
    first = explain_report("failed", f"OTA Attempt 1/3 failed: {BEGIN}")
    assert first.sentence == (
        "Attempt 1 of 3 failed: the download could not start (no reply in time). The hub will "
        "make the next attempt on its own."
    )
    last = explain_report("failed", "OTA Attempt 3/3 failed: Image validation failed")
    assert last.sentence.endswith("The hub may start over on its own after about five minutes.")


def test_an_unknown_reason_is_quoted() -> None:
    text = explain_report("failed", "OTA Attempt 2/3 failed: Squirrels")
    assert text.code == UNKNOWN_REASON
    assert "Unrecognised reason: “OTA Attempt 2/3 failed: Squirrels”" in text.sentence
    assert not text.is_known


@pytest.mark.parametrize("word", WORDS)
def test_an_unknown_text_is_quoted_and_its_word_decides(word: str) -> None:
    alone = explain_report(word, "")
    text = explain_report(word, "Defragmenting\tthe <b>moon</b>")
    assert not text.is_known
    assert "“Defragmenting the <b>moon</b>”" in text.sentence
    assert text.sentence.startswith(alone.sentence)
    assert (text.stage, text.outcome, text.delay) == (alone.stage, alone.outcome, alone.delay)


def test_an_unknown_word_changes_nothing() -> None:
    for text in (
        explain_report("paused", "by cat"),
        explain_report("", ""),
        explain_report("", "x"),
    ):
        assert (text.stage, text.outcome, text.is_final_failure) == (None, None, False)
        assert not text.is_known
        assert text.sentence.endswith("It is recorded and changes nothing. We keep checking.")
    assert "“paused: by cat”" in explain_report("paused", "by cat").sentence


def test_a_percent_is_shown_as_the_hub_reported_it() -> None:
    assert "(40%)" in explain_report(PROGRESS, "Downloaded 40% Firmware Image").sentence
    assert not explain_report(PROGRESS, "Downloaded 400% Firmware Image").is_known
