"""Every case is explained in plain words: what happened, is the hub safe, what to do now."""

import re
import string
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone
from django.utils.translation import override
from hypothesis import given
from hypothesis import strategies as st

from devices.explanations.cloud_messages import CLOUD_ERRORS, OTHER_CLOUD_ERROR
from devices.explanations.explain import (
    GENERAL,
    Tone,
    every_entry,
    explain_cloud_code,
    explain_job,
    explain_report,
    shown_with,
)
from devices.explanations.firmware_messages import (
    NO_KNOWN_WORD,
    REASONS,
    TEXTS,
    UNKNOWN_REASON,
    WORDS,
)
from devices.explanations.install_messages import JOBS, PLAIN
from devices.models import LIVE, OUTCOMES, VERDICTS, InstallOutcome, OtaJob, State
from devices.presentation.badges import VERDICT_SHOWS, of_job
from tests.support.explanations import NUMBERS, a_job, assert_is_whole
from tests.support.factories import make_job

CASES = [(state, outcome) for state, outcomes in OUTCOMES.items() for outcome in sorted(outcomes)]


@pytest.mark.parametrize(("state", "outcome"), CASES)
def test_every_outcome_is_explained(state: State, outcome: str) -> None:
    output = explain_job(a_job(state, outcome, version_seen="5.3.2"))
    assert_is_whole(output)
    assert (state, outcome) in JOBS or PLAIN[state] == outcome


@pytest.mark.parametrize(("state", "outcome"), CASES)
@pytest.mark.parametrize("language", ["en", "de", "es"])
def test_every_outcome_has_a_badge_of_its_own_in_every_language(
    state: State, outcome: InstallOutcome, language: str
) -> None:
    job = a_job(state, outcome, version_seen="5.3.2")
    with override("en"):
        english, vague = of_job(job).words, of_job(a_job(state)).words
    with override(language):
        words = of_job(job).words
    assert words
    assert "{" not in words
    assert (words == english) == (language == "en")
    says_no_more = {*PLAIN.values(), InstallOutcome.SILENT}
    assert (english == vague) == (outcome in says_no_more)


def test_every_outcome_belongs_to_one_verdict_and_no_sentence_is_without_one() -> None:
    assert {outcome for outcomes in OUTCOMES.values() for outcome in outcomes} == {*InstallOutcome}
    assert set(OUTCOMES) == VERDICTS
    unwritten = {key for key in JOBS if key[0] in VERDICTS and key[1]} - set(CASES)
    # what came after the verdict, no outcome
    unwritten -= {(State.VERIFIED, "fell_back"), (State.UNVERIFIED, "arrived_late")}
    assert not unwritten, "explained, but never written by the engine"


@pytest.mark.django_db
@pytest.mark.parametrize(("state", "outcome"), CASES)
def test_an_outcome_can_be_stored_and_is_found_by_its_code_and_its_verdict(
    state: State, outcome: InstallOutcome
) -> None:
    job = make_job(state=state, outcome=outcome)
    assert job in OtaJob.objects.filter(shown_with(explain_job(job).code))
    shows = [key for key, (_, states) in VERDICT_SHOWS.items() if state in states]
    assert len(shows) == 1


@pytest.mark.django_db
def test_an_outcome_that_is_none_cannot_be_stored() -> None:
    with pytest.raises(IntegrityError):
        make_job(state=State.REFUSED, outcome="offer_changed")


@pytest.mark.parametrize("state", State)
def test_every_state_is_explained_even_with_an_unknown_outcome(state: State) -> None:
    assert_is_whole(explain_job(a_job(state, "brand_new")))
    assert_is_whole(explain_job(a_job(state, hub_name="", from_version="", to_version="")))


def test_support_codes_are_unique() -> None:
    codes = [entry.code for entry in JOBS.values()]
    codes += [entry.code for entry in (*CLOUD_ERRORS.values(), OTHER_CLOUD_ERROR)]
    codes += [word.code for word in (*WORDS.values(), NO_KNOWN_WORD)]
    codes += [text.code for text in TEXTS] + [reason.code for reason in REASONS]
    codes += [UNKNOWN_REASON, *(explain_cloud_code(int(number)).code for number in NUMBERS.split())]
    assert len(codes) == len(set(codes))
    headlines = [entry.headline for entry in JOBS.values()]
    assert len(headlines) == len(set(headlines))


def test_templates_use_only_the_known_placeholders() -> None:
    known = {"hub", "from_version", "to_version", "version_seen"}
    known |= {"words", "answer", "listening", "sight", "asked", "text", "trouble", "ended"}
    for entry in (*JOBS.values(), *CLOUD_ERRORS.values(), OTHER_CLOUD_ERROR):
        for text in asdict(entry).values():
            assert {name for _, name, _, _ in string.Formatter().parse(text) if name} <= known


def test_the_verdict_names_hub_and_version() -> None:
    output = explain_job(a_job(State.VERIFIED, "verified"))
    assert output.headline == "Verified: Fire pit was updated to 5.3.3."
    assert output.code == "TW-V01"


def test_the_page_of_codes_does_not_contradict_a_good_end() -> None:
    entries = {entry.code: " ".join(entry.sentences) for entry in every_entry()}
    assert str(GENERAL["version_seen"]) not in entries["TW-V01"]
    assert any(str(GENERAL["version_seen"]) in words for words in entries.values())


def test_a_hub_name_with_braces_and_line_breaks_does_no_harm() -> None:
    output = explain_job(a_job(State.VERIFIED, hub_name="{to_version}\n{0}"))
    assert output.headline == "Verified: {to_version} {0} was updated to 5.3.3."


@pytest.mark.parametrize(("state", "outcome"), CASES)
def test_tone_follows_the_state(state: State, outcome: str) -> None:
    job = a_job(state, outcome)
    output = explain_job(job)
    if state == State.VERIFIED:
        assert output.tone == Tone.GOOD
    else:
        assert output.tone == (Tone.ATTENTION if job.needs_person else Tone.QUIET)


@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_running_install_has_the_running_tone(state: State) -> None:
    assert explain_job(a_job(state)).tone == Tone.RUNNING


@pytest.mark.parametrize("state", [State.REFUSED, State.EXPIRED, State.CANCELLED])
def test_an_install_that_was_never_sent_says_so(state: State) -> None:
    for outcome in OUTCOMES[state]:
        output = explain_job(a_job(state, outcome))
        assert output.is_safe == "Yes. Nothing was sent to the hub."


@pytest.mark.parametrize("outcome", sorted(OUTCOMES[State.LOST]))
def test_a_lost_hub_is_only_probably_safe(outcome: str) -> None:
    output = explain_job(a_job(State.LOST, outcome))
    if outcome == "still_delayed":
        assert output.is_safe == "Yes, as far as we can see: it has not started the update."
        return
    maybe = outcome in {"silent", "push_unknown"}
    first = "It may not have received the update." if maybe else "Probably."
    assert output.is_safe.startswith(first)
    assert output.is_safe.endswith("We cannot confirm that it is connected.")
    assert "later report" not in output.todo


def test_a_lost_hub_that_the_cloud_shows_as_connected_is_not_called_unseen() -> None:
    output = explain_job(a_job(State.LOST, "silent", is_online=True))
    assert output.is_safe.endswith("The cloud last showed it as connected.")


def test_a_lost_job_says_whether_it_still_listens() -> None:
    output = explain_job(a_job(State.LOST, "silent", next_poll_at=timezone.now()))
    assert "A later report would still appear" in output.todo


def test_nothing_to_do_while_installing() -> None:
    output = explain_job(a_job(State.RUNNING))
    assert output.headline == "Installing. Keep the hub plugged in."
    assert output.what == "The hub has not reported anything about it."


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
    output = explain_job(a_job(State.RUNNING, **facts))
    assert output.code == code
    assert_is_whole(output)


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
        output = explain_job(a_job(State.VERIFYING, **facts, back_online_at=back_online_at))
        assert output.code == "TW-L09"
        assert_is_whole(output)
        ways = ("reported", "reports that", "report this just before")
        assert any(way in output.what for way in ways)
        assert "meanwhile" not in output.what
        assert "still has to" not in output.what


def test_a_lost_answer_to_the_push_is_explained() -> None:
    assert explain_job(a_job(State.PUSHING, push_unknown=True)).code == "TW-L03"
    assert explain_job(a_job(State.PUSHING)).code == "TW-L02"


def test_a_trouble_of_a_live_install_is_shown_and_of_an_ended_one_is_not() -> None:
    trouble = {"trouble": "unreachable", "trouble_text": "No route {to} host"}
    assert "“No route {to} host”" in explain_job(a_job(State.RUNNING, **trouble)).what
    assert "No route" not in explain_job(a_job(State.VERIFIED, **trouble)).what


def test_a_failure_tells_the_last_reason() -> None:
    output = explain_job(
        a_job(
            State.FAILED,
            "attempts_failed",
            cloud_word="failed",
            cloud_info="OTA Attempt 3/3 failed: Image validation failed",
        )
    )
    assert "Attempt 3 of 3 failed: the firmware was downloaded but failed" in output.what


def test_what_the_cloud_answered_is_quoted() -> None:
    job = a_job(State.REFUSED, "refused_by_cloud", push_answer="Quota {exceeded}.")
    assert "The cloud's answer: “Quota {exceeded}”." in explain_job(job).what


def test_rolled_back_is_explained_as_safe() -> None:
    output = explain_job(
        a_job(
            State.REJECTED, "rolled_back", cloud_word="rejected", cloud_info="Firmware rolled back"
        )
    )
    assert output.headline == "Fire pit rolled back to 5.3.2."
    assert "could not connect" in output.what
    assert output.is_safe.startswith("Yes.")


@pytest.mark.parametrize("state", [State.REJECTED, State.FAILED])
def test_outcomes_of_hub_words_are_outcomes_of_jobs(state: State) -> None:
    word = str(state)
    texts = ["", "x", *(text.example for text in TEXTS if text.word == word)]
    texts += [f"OTA Attempt 1/3 failed: {reason.example}" for reason in REASONS]
    assert {explain_report(word, text).outcome for text in texts} <= OUTCOMES[state]


SAYINGS = st.one_of(
    st.text(max_size=400),
    st.sampled_from([text.example for text in TEXTS] + [reason.example for reason in REASONS]),
    st.from_regex(r"(OTA )?Attempt \d+/\d+ failed: .*"),
    st.from_regex(r"Download(ed|ing) \w*[ .]*\d+ ?%.*"),
)


@given(word=st.one_of(st.text(max_size=80), st.sampled_from(sorted(WORDS))), info=SAYINGS)
def test_no_text_of_a_hub_is_too_strange(word: str, info: str) -> None:
    output = explain_report(word, info)
    assert output.title
    assert output.sentence.endswith((".", "”"))
    assert len(output.sentence) < 800
    assert output.sentence.isprintable()


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
    output = explain_job(
        a_job(state, outcome, is_online=is_online, **dict(zip(names, texts, strict=True)))
    )
    assert all(asdict(output).values())


@pytest.mark.parametrize(
    ("language", "wrong"),
    [
        ("en", r"[.] the hub\b"),
        ("de", r"\b(an|nach|von|auf) der Hub\b|zu die "),
        ("es", r"\b(a|de) el [Hh]ub\b"),
    ],
)
def test_codes_without_a_hub_read_as_on_a_real_page(language: str, wrong: str) -> None:
    with override(language):
        texts = [" ".join([one.headline, *one.sentences]) for one in every_entry()]
    assert not [text for text in texts if "{" in text or re.search(wrong, text)]


AGO = {"asked_at": timezone.now() - timedelta(hours=1)}
LIVE_CASES: list[tuple[State, dict[str, Any]]] = [
    (State.REQUESTED, {}),
    (State.PUSHING, {}),
    (State.PUSHING, {"push_unknown": True}),
    (State.PUSHING, {"push_unknown": True, "restored_at": timezone.now()}),
    (State.RUNNING, {}),
    (State.RUNNING, {"is_online": False}),
    (State.RUNNING, {"cloud_word": "in-progress", "cloud_info": "Downloading Firmware Image"}),
    (State.RUNNING, REBOOTING := {
        "cloud_word": "in-progress",
        "cloud_info": "Rebooting into new firmware (after 1 HTTPS attempt)",
        "restarting_at": timezone.now(),
    }),
    (State.RUNNING, REBOOTING | {"is_online": False}),
    (State.RUNNING, REBOOTING | {"cloud_info": "Downloading Firmware Image"}),
    (State.RUNNING, {"cloud_word": "delayed", "delayed_since": timezone.now()}),
    (State.RUNNING, {"cloud_word": "delayed", "delayed_since": timezone.now(), "is_online": False}),
    (State.RETRYING, {}),
    (State.VERIFYING, {}),
    (State.VERIFYING, {"is_online": False}),
    (State.VERIFYING, {"is_online": False} | AGO),
    *((state, AGO) for state in (State.RUNNING, State.RETRYING, State.VERIFYING)),
    (State.RUNNING, REBOOTING | AGO),
]  # fmt: skip


@pytest.mark.django_db
def test_a_live_install_is_found_by_the_code_on_its_page_and_by_no_other() -> None:
    shown: dict[str, set[int]] = {}
    for state, values in LIVE_CASES:
        job = make_job(state=state, **values)
        shown.setdefault(explain_job(job).code, set()).add(job.pk)
    live = {entry.code for (state, _), entry in JOBS.items() if state in LIVE}
    assert set(shown) == live, "every situation of a live install is here"
    for code, jobs in shown.items():
        found = OtaJob.objects.filter(shown_with(code)).values_list("pk", flat=True)
        assert set(found) == jobs, code
