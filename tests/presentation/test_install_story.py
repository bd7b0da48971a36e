"""The story of an install says no more than is known at that moment."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.explanations.explain import explain_job
from devices.models import OtaJob, Report, State
from devices.presentation.badges import of_job
from devices.presentation.install_story import Step, steps_of, witnesses_of
from tests.support.explanations import a_job

NOW = timezone.now()
CLAIM = "OTA Upgrade finished and verified successfully"


def report(word: str, info: str = "") -> Report:
    return Report(word=word, meaning=word, info=info, heard_at=NOW, sequence=1)


def job(state: State, outcome: str = "", **facts: Any) -> OtaJob:
    sent = {"claimed_at": NOW, "pushed_at": NOW, "requested_at": NOW}
    sent["asked_at"] = timezone.now()  # not the time at which this module was read
    return a_job(state, outcome, **sent | facts)


def step(steps: list[Step], title: str) -> Step:
    return next(one for one in steps if one.title == title)


def test_success_that_the_hub_never_ran_is_a_claim_and_not_a_green_step() -> None:
    ended = job(
        State.UNVERIFIED,
        "claimed_success_same_version",
        cloud_word="success",
        cloud_meaning="success",
        version_seen="5.3.2",
        success_at=NOW,
    )
    steps = steps_of(ended, [report("success", CLAIM)])
    assert step(steps, "Reported back online").tone == "claim"
    assert not any("Back online with" in one.title for one in steps)
    assert [one.tone for one in steps if one.title == "Verified"] == []


def test_back_online_is_still_ahead_while_success_is_only_claimed() -> None:
    running = job(State.VERIFYING, cloud_word="success", cloud_meaning="success")
    steps = steps_of(running, [report("success", CLAIM)])
    assert step(steps, "Back online with 5.3.3").tone == "ahead"


def test_a_new_connection_known_from_a_timestamp_is_not_called_a_restart() -> None:
    seen = {"is_online": True, "back_online_at": NOW, "version_agreed_at": NOW}
    by_time = witnesses_of(job(State.VERIFIED, "verified", **seen))[2].words
    assert by_time == "Connected; the cloud reports a new connection since the update."
    by_sight = witnesses_of(job(State.VERIFIED, "verified", offline_seen_at=NOW, **seen))[2].words
    assert by_sight == "Seen offline, then connected again."
    assert "restart" not in by_time.lower() + by_sight.lower()


def test_each_witness_shows_its_own_trouble() -> None:
    shown = witnesses_of(
        job(
            State.VERIFYING,
            status_trouble="unreadable",
            version_seen="5.3.3",
            version_agreed_at=NOW,
            is_online=True,
        )
    )
    assert "Not readable at the last attempt" in shown[0].words
    assert shown[1].words == "version 5.3.3, the new one."
    assert "Not readable" not in shown[2].words


def test_a_hub_without_a_readable_version_is_not_shown_with_its_old_one() -> None:
    ended = job(
        State.UNVERIFIED,
        "version_not_reported",
        version_seen="",
        version_seen_at=NOW,
        success_at=NOW,
    )
    assert witnesses_of(ended)[1].words == "no version: the hub does not say which one it runs."
    assert explain_job(ended).headline == (
        "Not verified: Fire pit does not say which version it runs."
    )


def test_a_version_in_another_spelling_is_the_one_before() -> None:
    words = witnesses_of(job(State.RUNNING, from_version="v5.3.2", version_seen="5.3.2"))[1].words
    assert words == "version 5.3.2, as before. Waiting for 5.3.3."


def test_a_push_whose_answer_was_lost_is_not_called_accepted() -> None:
    waiting = job(State.PUSHING, pushed_at=None, push_unknown=True)
    now = steps_of(waiting, [])[1]
    assert now.words == "No clear answer. Checking with the cloud; nothing is sent again."
    assert now.tone == "now"
    given_up = job(State.LOST, "push_unknown", pushed_at=None, push_unknown=True)
    assert steps_of(given_up, [])[1].tone == "bad"
    later = steps_of(job(State.RUNNING, push_answer=""), [])
    assert later[1].title == "Sent to the cloud"
    assert "accepted" in steps_of(job(State.RUNNING, push_answer="OK"), [])[1].title


@pytest.mark.parametrize("state", [State.RUNNING, State.RETRYING, State.VERIFYING])
def test_an_install_that_was_not_asked_about_lately_says_so(state: State) -> None:
    stale = job(state, asked_at=NOW - timedelta(minutes=20))
    shown = explain_job(stale)
    assert shown.code == "TW-L11"
    assert "The cloud was last asked about it:" in shown.what
    everything = f"{shown.headline} {shown.what} {shown.is_safe} {shown.todo}"
    assert "has not reported" not in everything
    assert "keep checking" not in everything
    assert witnesses_of(stale)[0].words == "No report about this attempt."
    assert explain_job(job(state)).code != "TW-L11"


def test_a_hub_that_fell_back_after_its_install_was_verified_is_not_called_verified() -> None:
    fallen = job(State.VERIFIED, "verified", ended_at=NOW, fell_back_at=NOW + timedelta(hours=1))
    shown = explain_job(fallen)
    assert (shown.code, shown.tone) == ("TW-V03", "attention")
    assert shown.headline == "Fire pit ran 5.3.3, but later reported 5.3.2 again."
    badge = of_job(fallen)
    assert (badge.words, badge.tone) == ("Verified, then back to 5.3.2", "attention")
    last = steps_of(fallen, [report("success", CLAIM)])[-1]
    assert (last.title, last.tone) == ("Verified, then back to 5.3.2", "bad")


def test_a_hub_that_still_waits_has_not_stopped_reporting() -> None:
    info = "Not within valid window."
    shown = explain_job(job(State.LOST, "still_delayed", cloud_word="delayed", cloud_info=info))
    everything = f"{shown.headline} {shown.what} {shown.todo}"
    assert "has not started the update" in shown.headline
    assert "stopped reporting" not in everything
    assert "unplug" not in everything.lower()
