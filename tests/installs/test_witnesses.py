"""Each witness is asked on its own, and what cannot be read is neither news nor silence."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from devices.installs.polling import PollResult, poll, record_poll
from devices.models import CloudAccount, OtaJob, State
from devices.rainmaker.errors import (
    AnswerLost,
    AnswerUnreadable,
    CloudError,
    NotTrusted,
    NotYourHub,
    NoVersion,
    ServerTrouble,
    SignInAgain,
    Unreachable,
)
from devices.rainmaker.schemas import Connectivity, NodeConfig, OtaStatus
from tests.support.factories import make_account, make_job, make_node
from tests.support.story import LIMITS, START, config, online, running, status

HTML = AnswerUnreadable("The cloud's answer is not JSON.", status=200, was_sent=True)
DOWN = ServerTrouble("The cloud has trouble of its own (HTTP 500).", status=500, was_sent=True)
NOT_MINE = NotYourHub("This hub is not in the cloud account.", status=400, code=103020)
NO_VERSION = NoVersion("The cloud's answer lacks a firmware version.")


class FakeClient:
    """Answers as given; counts what is asked."""

    def __init__(self, **answers: object) -> None:
        self.answers, self.asked = answers, list[str]()

    def __getattr__(self, name: str) -> Callable[..., object]:
        def answer(*args: object, **named: object) -> object:
            self.asked.append(name)
            given = self.answers[name]
            if isinstance(given, Exception):
                raise given
            return given

        return answer


def asked_with(status_answer: object) -> tuple[PollResult, list[str]]:
    client = FakeClient(
        get_ota_status=status_answer, get_node_config=config("5.3.3"), get_node_status=online(True)
    )
    return poll(client, OtaJob(cloud_node_id="n", ota_job_id="j")), client.asked  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "problem",
    [HTML, DOWN, AnswerLost("Lost."), NOT_MINE, NotTrusted("Points elsewhere.", status=302)],
)
def test_a_status_that_cannot_be_read_does_not_keep_the_others_from_being_asked(
    problem: CloudError,
) -> None:
    news, asked = asked_with(problem)
    assert asked == ["get_ota_status", "get_node_config", "get_node_status"]
    assert (news.status, news.config) == (problem, config("5.3.3"))


@pytest.mark.parametrize(
    "problem", [SignInAgain("Over."), Unreachable("No route."), NotTrusted("TLS.")]
)
def test_after_an_error_of_the_connection_or_session_nothing_more_is_asked(
    problem: CloudError,
) -> None:
    news, asked = asked_with(problem)
    assert asked == ["get_ota_status"]
    assert news.problems == [problem] * 3


class Rounds:
    """Feeds one install with rounds of answers, a poll apart."""

    def __init__(self, job: OtaJob) -> None:
        self.job, self.now = job, START

    def receives(
        self,
        status_: OtaStatus | CloudError | None,
        config_: NodeConfig | CloudError,
        online_: Connectivity | CloudError | None = None,
        *,
        times: int = 1,
    ) -> tuple[str, str]:
        for _ in range(times):
            self.now = max(
                self.now + timedelta(seconds=LIMITS.poll_s), self.job.next_poll_at or START
            )
            if self.job.is_listening:
                news = PollResult(status_, online_ or online(True), config_)
                record_poll(self.job, news, self.now)
        self.job.refresh_from_db()
        return self.job.state, self.job.outcome


pytestmark = pytest.mark.django_db
DONE = status("success", "OTA Upgrade finished and verified successfully", 5)
AT_WORK = status("in-progress", "Downloading Firmware Image")


def test_the_hubs_version_is_read_and_shown_while_the_status_cannot_be() -> None:
    rounds = Rounds(running())
    assert rounds.receives(HTML, config("5.3.3"), times=3) == (State.VERIFYING, "")
    job = rounds.job
    assert (job.version_seen, job.status_trouble, job.version_trouble) == (
        "5.3.3",
        "unreadable",
        "",
    )
    # and once it can be read, all is proven
    assert rounds.receives(DONE, config("5.3.3")) == (State.VERIFIED, "verified")
    assert job.status_trouble == ""


def test_a_new_version_with_a_status_that_stays_unreadable_is_named() -> None:
    rounds = Rounds(running())
    end = rounds.receives(HTML, config("5.3.3"), times=80)
    assert end == (State.UNVERIFIED, "version_status_not_read")


def test_a_status_that_stays_unreadable_is_not_the_hubs_silence() -> None:
    rounds = Rounds(running())
    assert rounds.receives(HTML, config("5.3.2"), times=20) == (State.RUNNING, "")
    assert rounds.receives(HTML, config("5.3.2"), times=80) == (State.LOST, "status_not_read")
    # a late answer still resolves it
    assert rounds.receives(DONE, config("5.3.3"), times=2) == (State.VERIFIED, "verified_late")


def test_a_hub_that_does_not_say_its_version_has_not_stopped_reporting() -> None:
    rounds = Rounds(running())
    end = rounds.receives(DONE, NO_VERSION, times=80)
    assert end == (State.UNVERIFIED, "version_not_reported")
    assert rounds.job.version_seen == ""


def test_a_version_that_cannot_be_read_after_success_is_named_and_still_resolves() -> None:
    rounds = Rounds(running())
    assert rounds.receives(DONE, DOWN, times=40) == (State.LOST, "version_not_read")
    assert rounds.receives(DONE, config("5.3.3"), times=2) == (State.VERIFIED, "verified_late")


def test_a_hub_removed_during_its_install_ends_within_minutes() -> None:
    rounds = Rounds(running())
    rounds.receives(AT_WORK, config("5.3.2"), times=2)
    began = rounds.now
    assert rounds.receives(NOT_MINE, NOT_MINE, NOT_MINE, times=45) == (State.LOST, "hub_left")
    ended_at = rounds.job.ended_at
    assert ended_at is not None
    assert ended_at - began < timedelta(minutes=5)
    assert CloudAccount.objects.get(pk=rounds.job.node.account_id).failures == 0
    # it is back in the account, with the new version
    assert rounds.receives(DONE, config("5.3.3"), times=2) == (State.VERIFIED, "verified_late")


def test_one_answer_that_the_hub_is_not_in_the_account_ends_nothing() -> None:
    rounds = Rounds(running())
    for _ in range(20):
        rounds.receives(NOT_MINE, NOT_MINE, NOT_MINE, times=3)
        assert rounds.receives(AT_WORK, config("5.3.2")) == (State.RUNNING, "")


@pytest.mark.parametrize("version", ["v5.3.3", "5.3.3.0", "5.3.3+build7", "5.3.3 "])
def test_the_confirmed_version_in_another_spelling_is_verified(version: str) -> None:
    rounds = Rounds(running(to_version=version))
    assert rounds.receives(DONE, config("5.3.3")) == (State.VERIFIED, "verified")
    assert (rounds.job.version_seen, rounds.job.to_version) == ("5.3.3", version)


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [("5.3.9", "step_version"), ("6.0.0", "newer_version"), ("5.0.0", "other_version")],
)
def test_another_version_than_the_confirmed_one_is_named(seen: str, outcome: str) -> None:
    rounds = Rounds(running(to_version="5.4.0"))
    end = rounds.receives(AT_WORK, config(seen), times=170)
    assert end == (State.UNVERIFIED, outcome)


def test_a_step_on_the_way_does_not_end_an_install_that_goes_on() -> None:
    rounds = Rounds(running(to_version="5.4.0"))
    assert rounds.receives(AT_WORK, config("5.3.9"), times=30) == (State.RUNNING, "")
    assert rounds.receives(DONE, config("5.4.0")) == (State.VERIFIED, "verified")


@pytest.mark.parametrize("word", ["rejected", "failed"])
def test_a_newer_push_of_the_vendors_during_ours_is_named(word: str) -> None:
    rounds = Rounds(running(to_version="5.4.0"))
    end = rounds.receives(status(word, "Same version received", 3), config("5.4.7"))
    assert end == (State.UNVERIFIED, "newer_version")


def delayed(info: str, **fields: Any) -> Rounds:
    rounds = Rounds(running(**fields))
    rounds.receives(status("delayed", info), config("5.3.2"))
    return rounds


def waits(rounds: Rounds, waited: timedelta) -> tuple[str, str]:
    """Let so much time pass as if every minute of it had been asked about."""
    seconds = waited.total_seconds()
    OtaJob.objects.filter(pk=rounds.job.pk).update(quiet_s=seconds, watched_s=seconds)
    rounds.job.refresh_from_db()
    return rounds.receives(status(rounds.job.cloud_word, rounds.job.cloud_info), config("5.3.2"))


@pytest.mark.parametrize("info", ["Not within valid window.", "Waiting for Approval"])
def test_a_hub_that_waits_for_a_date_is_waited_for_longer_than_a_day(info: str) -> None:
    rounds = delayed(info)
    assert waits(rounds, timedelta(days=29)) == (State.RUNNING, "")
    assert waits(rounds, timedelta(days=32)) == (State.LOST, "still_delayed")
    assert rounds.receives(DONE, config("5.3.3"), times=2) == (State.VERIFIED, "verified_late")


def test_a_known_date_sets_the_limit() -> None:
    rounds = delayed("Not within valid window.", valid_until=START + timedelta(days=3))
    assert waits(rounds, timedelta(days=4)) == (State.RUNNING, "")
    assert waits(rounds, timedelta(days=5)) == (State.LOST, "still_delayed")


def test_a_hub_in_trouble_is_asked_less_often_and_its_account_is_not_left_alone() -> None:
    account = make_account(answered_at=START)
    sick = make_job(make_node(account), state=State.RUNNING, now=START)
    rounds, pauses = Rounds(sick), []
    for _ in range(6):
        rounds.receives(AT_WORK, DOWN)
        assert sick.next_poll_at is not None
        pauses.append((sick.next_poll_at - rounds.now).total_seconds())
    assert pauses == [6, 12, 24, 48, 60, 60]
    account.refresh_from_db()
    assert (account.failures, account.resume_at) == (0, None)
    rounds.receives(AT_WORK, config("5.3.2"))
    assert sick.failed_rounds == 0
