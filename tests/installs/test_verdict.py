"""No sequence of events leaves the table, rounds up to success, or ends without a verdict."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.forms import model_to_dict
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.fleet.versions import record_version
from devices.installs.polling import PollResult, record_poll
from devices.installs.reports import all_reports
from devices.models import (
    LIVE,
    TRANSITIONS,
    VERDICTS,
    AuditEvent,
    CloudAccount,
    Node,
    OtaJob,
    StaleJob,
    State,
)
from devices.presentation.install_story import witnesses_of
from devices.rainmaker.errors import AnswerLost, CloudError, ServerTrouble
from devices.rainmaker.schemas import OtaStatus
from devices.worker.cloud_tasks import Poll
from tests.support.factories import make_account, make_job, make_node
from tests.support.story import LIMITS, START, WORDS, Story, config, online, running, status

pytestmark = pytest.mark.django_db
INFOS = [
    "",
    "Starting OTA Upgrade (HTTPS attempt 1/3)",
    "Downloading Firmware Image",
    "Downloaded 40% Firmware Image",
    "Rebooting into new firmware (after 1 HTTPS attempt)",
    "OTA Upgrade finished and verified successfully",
    "OTA Attempt 1/3 failed: Complete data was not received",
    "OTA download window lapsed.",
    "Firmware rolled back",
    "Not within download window.",
]


def test_the_happy_path_needs_all_three_witnesses() -> None:
    story = Story(running())
    assert story.receives(status("in-progress", "Downloading Firmware Image")) == State.RUNNING
    done = status("success", "OTA Upgrade finished and verified successfully", 2)
    assert story.receives(done, "5.3.2") == State.VERIFYING
    assert story.receives(done, "5.3.3", is_online=False) == State.VERIFYING
    assert story.receives(done, "5.3.3", stamp=9) == State.VERIFIED
    job = story.job
    assert None not in (job.success_at, job.version_agreed_at, job.back_online_at)
    assert [report.word for report in job.reports.all()] == ["in-progress", "success"]


def test_success_with_the_old_version_is_never_rounded_up() -> None:
    story = Story(running())
    story.receives(status("success"), "5.3.2", times=int(LIMITS.verify_s / LIMITS.poll_s) + 2)
    assert story.end == (State.UNVERIFIED, "claimed_success_same_version")


def test_the_same_version_from_elsewhere_is_no_contradiction() -> None:
    """A phone installed the same job first: the hub refuses it, and both reports agree."""
    story = Story(running())
    story.receives(status("rejected", "Same version received"), "5.3.3")
    assert story.end == (State.REJECTED, "same_version")


def test_a_word_that_is_not_known_is_a_report() -> None:
    story = Story(running())
    story.receives(status("pondering", "x"), "5.3.2")
    assert (story.job.cloud_word, story.job.cloud_meaning) == ("pondering", "")
    assert "pondering" in witnesses_of(story.job)[0].words
    assert story.job.quiet_s == 0
    # and takes nothing back
    story.receives(status("success", "", 2), "5.3.3", is_online=False)
    story.receives(status("pondering", "y", 3), "5.3.3", is_online=False)
    assert (story.job.cloud_word, story.job.cloud_meaning) == ("success", "success")


def test_a_third_version_is_named() -> None:
    story = Story(running())
    story.receives(status("success"), "4.0.0", times=60)
    assert story.end == (State.UNVERIFIED, "claimed_success_other_version")


def test_a_version_without_a_reported_success_is_named() -> None:
    story = Story(running())
    story.receives(status("in-progress"), "5.3.3", times=60)
    assert story.end == (State.UNVERIFIED, "version_without_success")


def test_failed_attempts_are_watched_through() -> None:
    story = Story(running())
    first = status("failed", "OTA Attempt 1/3 failed: Complete data was not received", 2)
    assert story.receives(first) == State.RETRYING
    again = status("in-progress", "Starting OTA Upgrade (HTTPS attempt 2/3)", 3)
    assert story.receives(again) == State.RUNNING
    assert story.receives(status("success", "", 4), "5.3.3") == State.VERIFIED
    assert story.job.failed_attempts == 1


def test_a_hub_that_stays_failed_ends_failed_after_its_own_retries() -> None:
    story = Story(running())
    last = status("failed", "OTA Attempt 3/3 failed: Complete data was not received", 2)
    story.receives(last, times=50)
    assert story.job.state == State.RETRYING  # its next fetch is five minutes away
    story.receives(last, times=60)
    assert story.end == (State.FAILED, "attempts_failed")


def test_a_final_failure_ends_at_once() -> None:
    story = Story(running())
    story.receives(status("failed", "OTA download window lapsed."))
    assert story.end == (State.FAILED, "window_lapsed")


def test_rolled_back_is_named() -> None:
    story = Story(running())
    story.receives(status("rejected", "Firmware rolled back"))
    assert story.end == (State.REJECTED, "rolled_back")


def test_rejected_with_the_new_version_is_a_disagreement() -> None:
    story = Story(running())
    story.receives(status("rejected", ""), "5.3.3")
    assert story.end == (State.UNVERIFIED, "version_despite_rejected")


def test_silence_ends_in_lost_which_a_late_report_resolves() -> None:
    story = Story(running())
    story.receives(status("in-progress", "Downloading Firmware Image"), times=160)
    assert story.end == (State.LOST, "stuck")
    assert story.job.is_listening
    story.receives(status("success", "", 3), "5.3.3")
    assert story.end == (State.VERIFIED, "verified_late")


@pytest.mark.parametrize(
    ("word", "info"),
    [
        ("delayed", "No time information available yet."),
        ("in-progress", "Starting OTA Upgrade (HTTPS attempt 1/3)"),
    ],
)
def test_a_hub_that_reports_for_ever_does_not_install_for_ever(word: str, info: str) -> None:
    story = Story(running())
    limits = replace(LIMITS, total_s=600, delayed_s=600)
    for stamp in range(2, 220):
        story.now += timedelta(seconds=LIMITS.poll_s)
        if story.job.is_live:
            news = PollResult(status(word, info, stamp), online(True), config("5.3.2"))
            record_poll(story.job, news, story.now, limits)
    assert story.end == (State.LOST, "never_ended")


def test_an_answer_for_a_lost_install_that_a_newer_attempt_replaced_is_not_its_own() -> None:
    story = Story(running())
    story.receives(status("started"), times=160)
    lost = OtaJob.objects.get(pk=story.job.pk)
    OtaJob.objects.filter(pk=lost.pk).update(next_poll_at=None)
    with pytest.raises(StaleJob):
        record_poll(
            lost, PollResult(status("success", "", 9), online(True), config("5.3.3")), story.now
        )
    assert OtaJob.objects.get(pk=lost.pk).state == State.LOST


@contextmanager
def table_that_refuses(state: State) -> Iterator[None]:
    """Let the database itself refuse to move any install to this state."""
    if connection.vendor == "sqlite":
        refuse = ("BEGIN SELECT RAISE(ABORT, 'no'); END", "")
    else:
        refuse = (
            "EXECUTE FUNCTION refuse_it()",
            "CREATE FUNCTION refuse_it() RETURNS trigger AS "
            "$$ BEGIN RAISE EXCEPTION 'no'; END $$ LANGUAGE plpgsql",
        )
    act, function = refuse
    with connection.cursor() as cursor:
        if function:
            cursor.execute(function)
        cursor.execute(
            "CREATE TRIGGER refuse_it BEFORE UPDATE ON devices_otajob FOR EACH ROW "
            f"WHEN (NEW.state = '{state}') {act}"
        )
    yield
    with connection.cursor() as cursor:
        on = " ON devices_otajob" if function else ""
        cursor.execute(f"DROP TRIGGER refuse_it{on}")
        if function:
            cursor.execute("DROP FUNCTION refuse_it()")


def test_an_answer_that_could_not_be_stored_proves_nothing() -> None:
    story = Story(running(to_version="5.3.3"))
    story.receives(status("started"))
    with table_that_refuses(State.VERIFYING), pytest.raises(DatabaseError):
        story.receives(status("success", "", 2), "5.3.3", stamp=2)
    # the loop puts off what it could not write, and lets only time pass for it
    Poll(story.job).defer(story.now)
    stored = OtaJob.objects.get(pk=story.job.pk)
    assert (stored.state, stored.cloud_meaning, stored.version_agreed_at) == (
        State.RUNNING,
        "started",
        None,
    )
    assert not stored.reports.filter(meaning="success").exists()
    again = Story(stored)
    again.now = story.now
    assert again.receives(status("success", "", 2), "5.3.3", stamp=2) == State.VERIFIED
    stored.refresh_from_db()
    assert (stored.version_seen, stored.version_agreed_at) == ("5.3.3", again.now)
    assert stored.reports.filter(meaning="success").count() == 1


def test_an_answer_asked_for_before_a_newer_version_is_no_news() -> None:
    node = make_node(fw_version="5.3.2")
    asked_at = START
    assert record_version(node, "5.3.3", START + timedelta(seconds=5))
    stale = Node.objects.select_related("account__household").get(pk=node.pk)
    later = START + timedelta(seconds=9)
    assert not record_version(stale, "5.3.2", later, asked_at=asked_at)
    assert Node.objects.get(pk=node.pk).fw_version == "5.3.3"
    assert not record_version(node, "5.3.3", later)
    assert node.version_changes.count() == 1


def test_a_lost_install_is_not_polled_for_ever() -> None:
    story = Story(running())
    story.receives(status("started"), times=160)
    assert story.end == (State.LOST, "silent")
    story.receives(status("started"), times=3, apart_s=LIMITS.listen_s)
    assert not story.job.is_listening


def test_a_hub_that_went_offline_is_named() -> None:
    story = Story(running())
    story.receives(status("in-progress", "Downloading Firmware Image"), is_online=False, times=160)
    assert story.end == (State.LOST, "went_offline")


def test_a_machine_that_slept_does_not_take_its_sleep_for_the_hubs_silence() -> None:
    story = Story(running())
    story.receives(status("in-progress"), times=3)
    story.receives(status("in-progress"), apart_s=8 * 3600)
    assert story.job.state == State.RUNNING
    assert story.receives(status("success", "", 5), "5.3.3") == State.VERIFIED


def test_a_cloud_that_is_down_is_not_the_hubs_silence_but_ends_some_day() -> None:
    story = Story(running())
    down = ServerTrouble("The cloud has trouble.", was_sent=True, status=500)
    story.receives(down, times=300)
    assert story.job.state == State.RUNNING
    assert story.receives(down, apart_s=LIMITS.unanswered_s) == State.LOST
    assert story.end == (State.LOST, "no_answer_from_cloud")


def test_an_unknown_word_is_kept_and_proves_nothing() -> None:
    story = Story(running())
    assert story.receives(status("pondering", "Consulting the moon")) == State.RUNNING
    report = story.job.reports.get()
    assert (report.word, report.meaning, report.info) == (
        "pondering",
        "unknown",
        "Consulting the moon",
    )
    assert (story.job.cloud_word, story.job.cloud_meaning) == ("pondering", "")
    job = running()
    OtaJob.objects.filter(pk=job.pk).update(state=State.PUSHING, push_unknown=True, pushed_at=None)
    job.refresh_from_db()
    lost = Story(job)
    assert lost.receives(status("pondering", "Consulting the moon")) == State.PUSHING


@pytest.mark.parametrize("word", ["failed", "rejected", "success"])
def test_a_status_from_before_the_push_is_not_about_this_attempt(word: str) -> None:
    job = running(baseline_word=word, baseline_timestamp="1", baseline_info="old")
    story = Story(job)
    assert story.receives(status(word, "old", 1), times=3) == State.RUNNING
    assert [report.is_before_push for report in job.reports.all()] == [True]
    assert story.receives(status("in-progress", "", 2)) == State.RUNNING
    assert story.receives(status("success", "", 3), "5.3.3") == State.VERIFIED


def test_the_same_status_again_is_one_report_counted_many_times() -> None:
    story = Story(running())
    downloading = status("in-progress", "Downloading Firmware Image")
    story.receives(downloading, times=5)
    story.job.refresh_from_db()
    (report,) = all_reports(story.job)
    assert (report.times_heard, report.last_heard_at) == (5, story.now)
    assert report.heard_at == START + timedelta(seconds=LIMITS.poll_s)
    last_same = story.now
    story.receives(status("in-progress", "Downloaded 40% Firmware Image", 2))
    first, second = all_reports(story.job)
    assert (first.times_heard, first.last_heard_at, second.times_heard) == (5, last_same, 1)


def test_a_round_without_news_is_one_update_that_locks_nothing() -> None:
    story = Story(running())
    downloading = status("in-progress", "Downloading Firmware Image")
    story.receives(downloading, times=2)
    with CaptureQueriesContext(connection) as queries:
        story.receives(downloading)
    (update,) = [query["sql"] for query in queries]
    assert update.startswith('UPDATE "devices_otajob"')


ROUNDS = st.lists(
    st.tuples(
        st.sampled_from(["triggered", "in-progress", "delayed", "failed", "success", "pondering"]),
        st.sampled_from(["5.3.2", "5.3.3"]),
        st.sampled_from([True, False, None]),
        st.integers(1, 2),
        st.integers(1, 20),
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(rounds=ROUNDS)
def test_rounds_without_news_leave_what_full_rounds_leave(
    rounds: list[tuple[str, str, bool | None, int, int]],
) -> None:
    """The same answers to two installs, one of which forgets which report came last."""
    short, full = Story(running()), Story(running())
    before = [model_to_dict(story.job) for story in (short, full)]
    own = {name for name, value in before[0].items() if value != before[1][name]}
    for word, version, is_online, stamp, times in rounds:
        for _ in range(times):
            full.job.report_digest = ""
            for story in (short, full):
                story.receives(status(word, "x", stamp), version, is_online, stamp=stamp)
    left = []
    for story in (short, full):
        job = OtaJob.objects.get(pk=story.job.pk)
        reports = [(one.word, one.times_heard, one.last_heard_at) for one in all_reports(job)]
        values = model_to_dict(job)
        names = values.keys() - own - {"report_digest", "report_repeats"}
        left.append((reports, {name: values[name] for name in names}))
    assert left[0] == left[1]


@pytest.mark.parametrize("answer", [None, status("triggered")], ids=["404", "triggered"])
def test_a_push_whose_answer_was_lost_is_never_sent_again(answer: OtaStatus | None) -> None:
    node = make_node(make_account(answered_at=START))
    story = Story(make_job(node, state=State.PUSHING, now=START, push_unknown=True))
    assert story.receives(answer, times=140) == State.PUSHING
    assert story.receives(answer, times=20) == State.LOST
    assert story.end == (State.LOST, "push_unknown")
    assert story.job.pushes == 1
    # and a cloud that was slow to know still resolves it
    story.receives(status("success", "", 5), "5.3.3", times=2)
    assert story.end == (State.VERIFIED, "verified_late")


@pytest.mark.parametrize("late_s", [45, 90, 600])
def test_a_cloud_that_is_slow_to_know_of_the_push_gets_one(late_s: int) -> None:
    node = make_node(make_account(answered_at=START))
    story = Story(make_job(node, state=State.PUSHING, now=START, push_unknown=True))
    assert story.receives(None, times=late_s // 6) == State.PUSHING
    assert story.receives(status("started")) == State.RUNNING
    assert story.job.pushes == 1


def test_a_hub_whose_connection_is_not_known_is_not_called_verified() -> None:
    story = Story(running())
    story.receives(status("success"), "5.3.3", is_online=None, times=200)
    assert story.end == (State.UNVERIFIED, "not_seen_online")


def test_an_unknown_push_that_arrived_is_never_sent_again() -> None:
    node = make_node(make_account(answered_at=START))
    story = Story(make_job(node, state=State.PUSHING, now=START, push_unknown=True))
    assert story.receives(status("started")) == State.RUNNING


answers = st.one_of(
    st.builds(status, st.sampled_from(sorted(WORDS)), st.sampled_from(INFOS), st.integers(1, 4)),
    st.just(None),
    st.just(AnswerLost("No answer came.", was_sent=None)),
)
rounds = st.lists(
    st.tuples(
        answers,
        st.sampled_from(["5.3.2", "5.3.3", "4.0.0"]),
        st.sampled_from([True, False, None]),
        st.integers(1, 3),
        st.sampled_from([1, 40]),
        st.sampled_from([6.0, 6.0, 6.0, 3600.0]),
    ),
    max_size=8,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rounds, st.sampled_from([State.PUSHING, State.RUNNING]))
def test_no_sequence_of_events_leaves_the_table_or_ends_without_a_verdict(
    events: list[tuple[OtaStatus | CloudError | None, str, bool | None, int, int, float]],
    first: State,
) -> None:
    # a model of its own: no patience is learned from the examples before this one
    model = f"model-{OtaJob.objects.count()}"
    node = make_node(make_account(answered_at=START), fw_version="5.3.2", model=model)
    story = Story(make_job(node, state=first, now=START))
    for word, version, is_online, stamp, times, apart_s in events:
        CloudAccount.objects.update(resume_at=None)
        story.receives(word, version, is_online, stamp=stamp, times=times, apart_s=apart_s)
    # then the cloud says nothing at all for days
    story.receives(ServerTrouble("Down.", was_sent=True, status=500), times=60, apart_s=86400 / 12)
    job = story.job
    job.refresh_from_db()
    moves = AuditEvent.objects.filter(job_id=job.pk, action__startswith="install.").order_by(
        "sequence"
    )
    path = [
        (State(event.detail["from_state"]), State(event.detail["to_state"]))
        for event in moves
        if "to_state" in event.detail
    ]
    assert all(new in TRANSITIONS[old] for old, new in path)
    assert job.state in VERDICTS | {State.REQUESTED}
    if job.state == State.REQUESTED:
        assert job.claimed_at is None
    if job.state == State.VERIFIED:
        assert job.version_seen == job.to_version
        assert job.version_agreed_at is not None
        assert job.success_at is not None
        assert job.is_online
    if job.state not in LIVE:
        assert job.outcome
