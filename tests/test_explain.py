"""Every case is explained in plain words: what happened, is the hub safe, what to do now."""

import string
from dataclasses import asdict
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from devices.catalogue import JOBS, PLAIN
from devices.explain import (
    Explanation,
    Stage,
    Tone,
    explain_cloud_code,
    explain_job,
    explain_report,
    explain_trouble,
)
from devices.hubwords import NO_KNOWN_WORD, REASONS, TEXTS, UNKNOWN_REASON, WORDS
from devices.models.ota import LIVE, OtaJob, State
from devices.troubles import CLOUD_CODES, OTHER_TROUBLE, TROUBLES

OUTCOMES = {
    State.REFUSED: "offer_swapped offer_withdrawn already_installed hub_offline not_current "
    "not_for_hub not_mine refused_by_cloud account_unlinked hub_gone signed_out",
    State.EXPIRED: "not_sent_in_time restored_unsent",
    State.CANCELLED: "cancelled",
    State.REJECTED: "rolled_back project_name same_version secure_version chip_revision rejected",
    State.FAILED: "attempts_failed window_lapsed bad_window bad_payload failed",
    State.UNVERIFIED: "claimed_success_same_version claimed_success_other_version "
    "version_without_success version_despite_rejected version_despite_failed not_seen_online",
    State.LOST: "silent stuck went_offline never_ended no_answer_from_cloud push_unknown "
    "signed_out",
    State.VERIFIED: "verified verified_late",
}
CASES = [(state, outcome) for state, codes in OUTCOMES.items() for outcome in codes.split()]
TROUBLE_CODES = (
    "busy too_many server_trouble unreachable answer_lost unreadable not_trusted signed_out "
    "wrong_password not_mine image_not_found refused our_bug offer_swapped "
    "hub_offline not_for_hub no_status not_allowed"
)
NUMBERS = (
    "100001 100004 100006 100010 102001 103013 103020 104006 104015 105007 105008 105009 105010 "
    "105011 105014 105017 105018 105019 105024 105036 105061 105076 105078 100070"
)


def a_job(state: State, outcome: str = "", **facts: Any) -> OtaJob:
    defaults = {
        "hub_name": "Fire pit",
        "from_version": "5.3.2",
        "to_version": "5.3.3",
        "next_poll_at": None,
    }
    return OtaJob(state=state, outcome=outcome, **defaults | facts)


def assert_is_whole(said: Explanation) -> None:
    for text in (said.headline, said.what, said.is_safe, said.todo):
        assert text == text.strip()
        assert text.endswith((".", "”"))
        assert "{" not in text
        assert "  " not in text
        assert "unknown error" not in text.lower()
    assert said.code.startswith("TW-")


@pytest.mark.parametrize(("state", "outcome"), CASES)
def test_every_outcome_is_explained(state: State, outcome: str) -> None:
    said = explain_job(a_job(state, outcome, version_seen="5.3.2"))
    assert_is_whole(said)
    assert (state, outcome) in JOBS or PLAIN[state] == outcome


@pytest.mark.parametrize("state", State)
def test_every_state_is_explained_even_with_an_outcome_nobody_knows(state: State) -> None:
    assert_is_whole(explain_job(a_job(state, "brand_new")))
    assert_is_whole(explain_job(a_job(state, hub_name="", from_version="", to_version="")))


def test_support_codes_are_unique() -> None:
    codes = [entry.code for entry in JOBS.values()]
    codes += [entry.code for entry in (*TROUBLES.values(), OTHER_TROUBLE)]
    codes += [word.code for word in (*WORDS.values(), NO_KNOWN_WORD)]
    codes += [text.code for text in TEXTS] + [reason.code for reason in REASONS]
    codes += [UNKNOWN_REASON, *(explain_cloud_code(int(number)).code for number in NUMBERS.split())]
    assert len(codes) == len(set(codes))
    headlines = [entry.headline for entry in JOBS.values()]
    assert len(headlines) == len(set(headlines))


def test_templates_use_only_the_known_placeholders() -> None:
    known = {"hub", "from_version", "to_version", "version_seen"}
    known |= {"words", "answer", "listening", "sight", "text", "trouble"}
    for entry in (*JOBS.values(), *TROUBLES.values(), OTHER_TROUBLE):
        for text in asdict(entry).values():
            assert {name for _, name, _, _ in string.Formatter().parse(text) if name} <= known


def test_the_verdict_names_hub_and_version() -> None:
    said = explain_job(a_job(State.VERIFIED, "verified"))
    assert said.headline == "Verified: Fire pit runs 5.3.3."
    assert said.code == "TW-V01"


def test_a_hub_name_with_braces_and_line_breaks_does_no_harm() -> None:
    said = explain_job(a_job(State.VERIFIED, hub_name="{to_version}\n{0}"))
    assert said.headline == "Verified: {to_version} {0} runs 5.3.3."


@pytest.mark.parametrize(("state", "outcome"), CASES)
def test_tone_follows_the_state(state: State, outcome: str) -> None:
    job = a_job(state, outcome)
    said = explain_job(job)
    if state == State.VERIFIED:
        assert said.tone == Tone.GOOD
    else:
        assert said.tone == (Tone.ATTENTION if job.needs_person else Tone.QUIET)


@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_running_install_has_the_running_tone(state: State) -> None:
    assert explain_job(a_job(state)).tone == Tone.RUNNING


@pytest.mark.parametrize("state", [State.REFUSED, State.EXPIRED, State.CANCELLED])
def test_an_install_that_was_never_sent_says_so(state: State) -> None:
    for outcome in OUTCOMES[state].split():
        said = explain_job(a_job(state, outcome))
        assert said.is_safe == "Yes. Nothing was sent to the hub."


@pytest.mark.parametrize("outcome", OUTCOMES[State.LOST].split())
def test_a_lost_hub_is_only_probably_safe(outcome: str) -> None:
    said = explain_job(a_job(State.LOST, outcome))
    assert said.is_safe.startswith("Probably.")
    assert said.is_safe.endswith("We cannot see it right now.")
    assert "late word" not in said.todo


def test_a_lost_hub_that_the_cloud_shows_as_connected_is_not_called_unseen() -> None:
    said = explain_job(a_job(State.LOST, "silent", is_online=True))
    assert said.is_safe.endswith("The cloud last showed it as connected.")


def test_a_lost_job_says_whether_it_still_listens() -> None:
    said = explain_job(a_job(State.LOST, "silent", next_poll_at=timezone.now()))
    assert "A late word is still heard" in said.todo


def test_nothing_to_do_while_installing() -> None:
    said = explain_job(a_job(State.RUNNING))
    assert said.headline == "Installing. Nothing to do; keep the hub plugged in."
    assert said.what == "The hub has not said anything about it."


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"cloud_word": "in-progress", "cloud_info": "Downloading Firmware Image"}, "TW-L04"),
        ({"cloud_word": "delayed", "cloud_info": "Not within download window."}, "TW-L05"),
        ({"cloud_word": "delayed", "cloud_info": "Charging first"}, "TW-L05"),
        ({"cloud_word": "in_progress", "cloud_info": "Rebooting into new firmware"}, "TW-L06"),
        (
            {
                "cloud_word": "in-progress",
                "cloud_info": "Rebooting into new firmware",
                "back_online_at": timezone.now(),
            },
            "TW-L04",
        ),
        ({"cloud_word": "started", "is_online": False}, "TW-L07"),
        ({"is_online": False}, "TW-L07"),
    ],
)
def test_a_running_install_says_what_the_hub_does(facts: dict[str, Any], code: str) -> None:
    said = explain_job(a_job(State.RUNNING, **facts))
    assert said.code == code
    assert_is_whole(said)


@pytest.mark.parametrize(
    ("word", "info"),
    [
        ("in-progress", "Rebooting into new firmware (after 1 HTTPS attempt)"),
        ("success", "HTTPS OTA Upgrade finished successfully (after 1 attempt)"),
    ],
)
def test_what_is_said_of_a_restart_is_true_before_and_after_it(word: str, info: str) -> None:
    for back_online_at in (None, timezone.now()):
        facts: dict[str, Any] = {"cloud_word": word, "cloud_info": info}
        said = explain_job(a_job(State.VERIFYING, **facts, back_online_at=back_online_at))
        assert said.code == "TW-L09"
        assert_is_whole(said)
        assert "said" in said.what or "says so before it restarts" in said.what
        assert "meanwhile" not in said.what
        assert "still has to" not in said.what


def test_a_lost_answer_to_the_push_is_told() -> None:
    assert explain_job(a_job(State.PUSHING, push_unknown=True)).code == "TW-L03"
    assert explain_job(a_job(State.PUSHING)).code == "TW-L02"


def test_a_trouble_of_a_live_install_is_told_and_of_an_ended_one_is_not() -> None:
    trouble = {"trouble": "unreachable", "trouble_text": "No route {to} host"}
    assert "“No route {to} host”" in explain_job(a_job(State.RUNNING, **trouble)).what
    assert "No route" not in explain_job(a_job(State.VERIFIED, **trouble)).what


def test_a_failure_tells_the_last_reason() -> None:
    said = explain_job(
        a_job(
            State.FAILED,
            "attempts_failed",
            cloud_word="failed",
            cloud_info="OTA Attempt 3/3 failed: Image validation failed",
        )
    )
    assert "Attempt 3 of 3 failed: the firmware arrived and did not pass" in said.what


def test_what_the_cloud_answered_is_quoted() -> None:
    job = a_job(State.REFUSED, "refused_by_cloud", push_answer="Quota {exceeded}.")
    assert "It answered: “Quota {exceeded}”." in explain_job(job).what


def test_rolled_back_is_told_as_safe() -> None:
    said = explain_job(
        a_job(
            State.REJECTED, "rolled_back", cloud_word="rejected", cloud_info="Firmware rolled back"
        )
    )
    assert said.headline == "Fire pit went back to 5.3.2 by itself."
    assert "could not connect" in said.what
    assert said.is_safe.startswith("Yes.")


@pytest.mark.parametrize("code", TROUBLE_CODES.split())
def test_every_trouble_is_explained(code: str) -> None:
    assert code in TROUBLES
    assert_is_whole(explain_trouble(code))
    said = explain_trouble(code, "Nope: {0}.\x00")
    assert_is_whole(Explanation(**asdict(said) | {"what": said.what.replace("{0}", "")}))
    assert "In detail: “Nope: {0}”." in said.what


def test_a_trouble_nobody_knows_is_named_and_quoted() -> None:
    said = explain_trouble("gremlins", "They are in the wires")
    assert said.code == "TW-T99"
    assert "“gremlins”" in said.what
    assert "“They are in the wires”" in said.what
    assert_is_whole(explain_trouble(""))


@pytest.mark.parametrize("number", NUMBERS.split())
def test_every_number_of_the_cloud_is_explained(number: str) -> None:
    said = explain_cloud_code(int(number))
    assert_is_whole(said)
    assert number in said.what
    assert said.code == f"TW-C{number}"
    assert said.tone == TROUBLES[CLOUD_CODES[int(number)][0]].tone


def test_a_number_nobody_knows_is_shown() -> None:
    said = explain_cloud_code(199999)
    assert said.code == "TW-C199999"
    assert "199999" in said.what
    assert_is_whole(said)


PROGRESS = "in-progress"
NO_TIME, WINDOW = timedelta(minutes=2), timedelta(hours=25)
BEGIN = "OTA Begin failed: ESP_ERR_HTTP_CONNECT (errno=119: Connection timed out)"
HEADER = "Failed to read image description: ESP_FAIL (errno=0: Invalid)"


@pytest.mark.parametrize(
    ("word", "info", "title", "stage"),
    [
        ("triggered", "", "Not sent yet", Stage.CONFIRMED),
        ("started", "", "Sent", Stage.SENT),
        ("initiated", "", "Sent", Stage.SENT),
        (PROGRESS, "", "Working on it", Stage.STARTED),
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
            "Restarting into the new firmware",
            Stage.RESTARTING,
        ),
        (
            PROGRESS,
            "Rebooting into new firmware (after 2 MQTT attempts)",
            "Restarting into the new firmware",
            Stage.RESTARTING,
        ),
        (
            "success",
            "OTA Upgrade finished and verified successfully",
            "Back online with the new firmware",
            Stage.BACK_ONLINE,
        ),
        (
            "success",
            "HTTPS OTA Upgrade finished successfully (after 1 attempt)",
            "Restarting into the new firmware",
            Stage.RESTARTING,
        ),
        (
            "success",
            "MQTT OTA Upgrade finished successfully (after 3 attempts)",
            "Restarting into the new firmware",
            Stage.RESTARTING,
        ),
        (
            "success",
            "Firmware updated successfully to version 5.3.3",
            "Reported as done",
            Stage.RESTARTING,
        ),
        ("completed", "", "Reported as done", Stage.RESTARTING),
    ],
)
def test_words_of_progress(word: str, info: str, title: str, stage: Stage) -> None:
    said = explain_report(word, info)
    assert (said.title, said.stage, said.is_known) == (title, stage, True)
    assert (said.is_final_failure, said.delay, said.outcome) == (False, None, "")


@pytest.mark.parametrize(
    ("info", "delay"),
    [
        ("No time information available yet.", NO_TIME),
        ("Not within valid window.", WINDOW),
        ("Not within download window.", WINDOW),
        ("Waiting for Approval", WINDOW),
        ("", WINDOW),
    ],
)
def test_words_of_delay(info: str, delay: timedelta) -> None:
    said = explain_report("delayed", info)
    assert (said.delay, said.stage, said.is_known) == (delay, Stage.SENT, True)
    assert said.title.startswith("Waiting")


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
    said = explain_report(word, info)
    assert (said.outcome, said.is_final_failure, said.is_known) == (outcome, is_final, True)
    assert (said.stage, said.delay) == (None, None)


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


@pytest.mark.parametrize(
    ("state", "outcomes"),
    [(State.REJECTED, OUTCOMES[State.REJECTED]), (State.FAILED, OUTCOMES[State.FAILED])],
)
def test_outcomes_of_hub_words_are_outcomes_of_jobs(state: State, outcomes: str) -> None:
    word = str(state)
    texts = ["", "x", *(text.example for text in TEXTS if text.word == word)]
    texts += [f"OTA Attempt 1/3 failed: {reason.example}" for reason in REASONS]
    assert {explain_report(word, text).outcome for text in texts} <= set(outcomes.split())


def test_attempts_are_counted_and_the_reason_told() -> None:
    first = explain_report("failed", f"OTA Attempt 1/3 failed: {BEGIN}")
    assert first.sentence == (
        "Attempt 1 of 3 failed: the download could not be started (no answer came in time). "
        "The hub goes on to the next attempt by itself."
    )
    last = explain_report("failed", "OTA Attempt 3/3 failed: Image validation failed")
    assert last.sentence.endswith("The hub may start over by itself after about five minutes.")


def test_an_unknown_reason_is_quoted() -> None:
    said = explain_report("failed", "OTA Attempt 2/3 failed: Squirrels")
    assert said.code == UNKNOWN_REASON
    assert "“OTA Attempt 2/3 failed: Squirrels”, which we do not know" in said.sentence
    assert not said.is_known


@pytest.mark.parametrize("word", WORDS)
def test_an_unknown_text_is_quoted_and_its_word_decides(word: str) -> None:
    alone = explain_report(word, "")
    said = explain_report(word, "Defragmenting\tthe <b>moon</b>")
    assert not said.is_known
    assert "“Defragmenting the <b>moon</b>”" in said.sentence
    assert said.sentence.startswith(alone.sentence)
    assert (said.stage, said.outcome, said.delay) == (alone.stage, alone.outcome, alone.delay)


def test_an_unknown_word_changes_nothing() -> None:
    for said in (
        explain_report("paused", "by cat"),
        explain_report("", ""),
        explain_report("", "x"),
    ):
        assert (said.stage, said.outcome, said.is_final_failure) == (None, "", False)
        assert not said.is_known
        assert said.sentence.endswith("we keep it and go on asking.")
    assert "“paused: by cat”" in explain_report("paused", "by cat").sentence


def test_a_percent_is_told_as_the_hub_said_it() -> None:
    assert "40% has arrived" in explain_report(PROGRESS, "Downloaded 40% Firmware Image").sentence
    assert not explain_report(PROGRESS, "Downloaded 400% Firmware Image").is_known


SAYINGS = st.one_of(
    st.text(max_size=400),
    st.sampled_from([text.example for text in TEXTS] + [reason.example for reason in REASONS]),
    st.from_regex(r"(OTA )?Attempt \d+/\d+ failed: .*"),
    st.from_regex(r"Download(ed|ing) \w*[ .]*\d+ ?%.*"),
)


@given(word=st.one_of(st.text(max_size=80), st.sampled_from(sorted(WORDS))), info=SAYINGS)
def test_no_text_of_a_hub_is_too_strange(word: str, info: str) -> None:
    said = explain_report(word, info)
    assert said.title
    assert said.sentence.endswith((".", "”"))
    assert len(said.sentence) < 800
    assert said.sentence.isprintable()


@given(
    state=st.sampled_from(State),
    outcome=st.text(max_size=48),
    texts=st.lists(SAYINGS, min_size=6, max_size=6),
    is_online=st.sampled_from([True, False, None]),
)
def test_no_job_is_too_strange(
    state: State, outcome: str, texts: list[str], is_online: bool | None
) -> None:
    names = ["hub_name", "to_version", "cloud_word", "cloud_info", "trouble", "trouble_text"]
    said = explain_job(
        a_job(state, outcome, is_online=is_online, **dict(zip(names, texts, strict=True)))
    )
    assert all(asdict(said).values())


def test_docs_list_every_explanation() -> None:
    printed = StringIO()
    call_command("explanations", stdout=printed)
    written = Path(settings.BASE_DIR) / "docs" / "explanations.md"
    assert written.read_text(encoding="utf-8") == printed.getvalue(), (
        "run: python manage.py explanations > docs/explanations.md"
    )
