"""A clock that is set, or a machine that slept, brings no verdict, no push and no long wait."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from devices.installs.push import PushTooLate, send
from devices.installs.timings import Timings
from devices.models import AuditEvent, Beat, CloudAccount, ImageFetch, Node, OtaJob, State
from devices.rainmaker.errors import ServerTrouble
from devices.taskqueue.leases import Lease
from devices.worker import clock_changes, cloud_tasks
from devices.worker.runner import Runner, Taken
from tests.support.factories import make_account, make_job, make_node, make_offer, make_plan
from tests.support.story import START, Story, running, status

pytestmark = pytest.mark.django_db
LIMITS = Timings()
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 6, 1, 20, 0, tzinfo=UTC)
JUMPS = [pytest.param(-HOUR, id="back"), pytest.param(DAY, id="forward")]


@pytest.mark.parametrize("jump", JUMPS)
def test_a_claim_of_success_is_not_given_up_because_the_clock_was_set(jump: timedelta) -> None:
    story = Story(running())
    done = status("success", "OTA Upgrade finished and verified successfully", 2)
    assert story.receives(done, "5.3.2", times=3) == State.VERIFYING
    story.now += jump
    assert story.receives(done, "5.3.2", times=3) == State.VERIFYING
    assert story.receives(done, "5.3.3") == State.VERIFIED


@pytest.mark.parametrize("jump", JUMPS)
def test_a_claim_of_success_that_nothing_proves_still_ends(jump: timedelta) -> None:
    story = Story(running())
    done = status("success", "", 2)
    story.receives(done, "5.3.2", times=3)
    story.now += jump
    story.receives(done, "5.3.2", times=int(LIMITS.verify_s / LIMITS.poll_s) + 3)
    assert story.end == (State.UNVERIFIED, "claimed_success_same_version")


@pytest.mark.parametrize("jump", JUMPS)
def test_a_failed_attempt_is_watched_through_a_jump(jump: timedelta) -> None:
    story = Story(running())
    failed = status("failed", "OTA Attempt 1/3 failed: Complete data was not received", 2)
    assert story.receives(failed) == State.RETRYING
    story.now += jump
    assert story.receives(failed, times=3) == State.RETRYING
    assert story.receives(status("success", "", 3), "5.3.3") == State.VERIFIED


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_is_not_the_hubs_silence(jump: timedelta) -> None:
    story = Story(running())
    story.receives(status("in-progress"), times=3)
    story.now += jump
    assert story.receives(status("in-progress"), times=3) == State.RUNNING


@pytest.mark.parametrize("jump", [-HOUR, timedelta(minutes=5), DAY], ids=str)
def test_that_nothing_was_sent_is_not_believed_sooner_because_the_clock_was_set(
    jump: timedelta,
) -> None:
    node = make_node(make_account(answered_at=START))
    restored = {"restored_at": START, "expires_at": START - DAY}
    job = make_job(node, state=State.PUSHING, now=START, push_unknown=True, **restored)
    story = Story(job)
    story.now += jump
    assert story.receives(status("triggered"), times=5) == State.PUSHING
    assert story.job.unsent_answers == 0
    # and is believed in time all the same
    story.receives(status("triggered"), times=6)
    assert story.end == (State.EXPIRED, "restored_unsent")


def test_a_laptop_that_slept_for_days_asks_before_it_gives_up() -> None:
    story = Story(running())
    story.receives(status("in-progress"), times=2)
    story.now += 3 * DAY
    # it wakes before its network does
    down = ServerTrouble("Down.", was_sent=True, status=500)
    assert story.receives(down, times=20) == State.RUNNING
    assert story.receives(status("success", "", 5), "5.3.3") == State.VERIFIED


def test_an_account_that_cannot_be_asked_after_a_sleep_ends_no_failed_install() -> None:
    account = make_account(resume_at=NOW + HOUR, failures=3)
    job = make_job(
        make_node(account),
        state=State.RETRYING,
        now=NOW - timedelta(hours=8),
        cloud_meaning="failed",
        cloud_word="failed",
        first_failed_at=NOW - timedelta(hours=8),
    )
    with time_machine.travel(NOW, tick=False):
        cloud_tasks.advance_installs(timezone.now(), Taken())
    job.refresh_from_db()
    assert job.state == State.RETRYING


def test_a_claim_that_grew_old_by_the_clock_or_by_itself_is_not_sent() -> None:
    job = make_job(make_node(), state=State.PUSHING, now=NOW)
    for clock_s, at in ((11.0, NOW), (1.0, NOW + DAY), (11.0, NOW - HOUR)):
        with time_machine.travel(at, tick=False), pytest.raises(PushTooLate):
            send(None, job, by=10.0, clock=lambda: clock_s)  # type: ignore[arg-type] # noqa: B023


def idle_loop(name: str, set_back: Callable[[datetime, timedelta], None]) -> None:
    Runner(name, lambda now, busy: [], lambda now: True, set_back).run()


def test_what_was_planned_is_brought_forward_when_the_clock_was_set_back() -> None:
    second = timedelta(seconds=1)
    account = make_account(resume_at=NOW + 5 * second, next_sync_at=NOW + 60 * second)
    node = make_node(account, next_check_at=NOW + 600 * second)
    sent = make_job(node, state=State.RUNNING, now=NOW, next_poll_at=NOW + 6 * second)
    fresh = make_job(make_node(account), now=NOW, expires_at=NOW + 600 * second)
    with time_machine.travel(NOW, tick=False):
        idle_loop("installs", clock_changes.shift_install_deadlines)
        idle_loop("chores", clock_changes.shift_sync_deadlines)
        Lease("installs", timedelta(seconds=45), "killed").acquire(timezone.now())
        OrmQ.objects.create(key="k", payload="", lock=NOW)
        Schedule.objects.update(next_run=NOW + 30 * second)
    with time_machine.travel(NOW - HOUR, tick=False):
        idle_loop("installs", clock_changes.shift_install_deadlines)
        idle_loop("chores", clock_changes.shift_sync_deadlines)
        for row in (sent, fresh, node, account):
            row.refresh_from_db()
        before = NOW - HOUR
        assert sent.next_poll_at == before + 6 * second
        assert fresh.expires_at == before + 600 * second
        assert node.next_check_at == before + 600 * second
        assert account.resume_at == before + 5 * second
        assert account.next_sync_at == before + 60 * second
        assert OrmQ.objects.get().lock == before
        assert not Schedule.objects.filter(next_run__gt=before + 60 * second).exists()
        assert Beat.last("installs") == before
        assert Beat.objects.get(name="installs").holder == ""
        # and only once
        idle_loop("installs", clock_changes.shift_install_deadlines)
        assert OtaJob.objects.get(pk=sent.pk).next_poll_at == before + 6 * second
    events = AuditEvent.objects.filter(action="clock.set_back")
    assert [event.sentence.split(";")[0] for event in events] == [
        "This server's clock was set back by 3600 s"
    ]


def test_a_loop_notices_while_it_runs() -> None:
    seen: list[timedelta] = []
    with time_machine.travel(NOW, tick=True) as traveller:
        rounds = iter(range(20))

        def is_idle(now: datetime) -> bool:
            if next(rounds, None) == 1:
                traveller.shift(-HOUR)
            return bool(seen)

        Runner("test", lambda now, busy: [], is_idle, lambda now, by: seen.append(by)).run()
    assert len(seen) == 1
    assert timedelta(minutes=59) < seen[0] <= HOUR


def test_a_clock_that_is_a_little_off_changes_nothing() -> None:
    account = make_account(next_sync_at=NOW + timedelta(seconds=60))
    with time_machine.travel(NOW, tick=False):
        idle_loop("chores", clock_changes.shift_sync_deadlines)
    with time_machine.travel(NOW - timedelta(seconds=30), tick=False):
        idle_loop("chores", clock_changes.shift_sync_deadlines)
    assert CloudAccount.objects.get(pk=account.pk).next_sync_at == NOW + timedelta(seconds=60)
    assert not Node.objects.exists()


def test_sign_ins_downloads_and_plans_wait_no_longer_because_the_clock_was_set_back() -> None:
    minute = timedelta(minutes=1)
    account = make_account(next_sign_in_at=NOW + minute)
    hub = make_node(account)
    offer = make_offer(hub)
    plan = make_plan(hub, next_look_at=NOW + minute, not_before=NOW, expires_at=NOW + DAY)
    wish = ImageFetch.objects.create(
        node=hub,
        offer=offer,
        ota_job_id=offer.ota_job_id,
        fw_version=offer.fw_version,
        next_try_at=NOW + minute,
    )
    with time_machine.travel(NOW, tick=False):
        idle_loop("installs", clock_changes.shift_install_deadlines)
        idle_loop("chores", clock_changes.shift_sync_deadlines)
    with time_machine.travel(NOW - HOUR, tick=False):
        idle_loop("installs", clock_changes.shift_install_deadlines)
        idle_loop("chores", clock_changes.shift_sync_deadlines)
    for row in (account, wish, plan):
        row.refresh_from_db()
    before = NOW - HOUR + minute
    assert account.next_sign_in_at == before
    assert wish.next_try_at == before
    assert plan.next_look_at == NOW - HOUR, "whether it may start now is asked again"
    assert plan.not_before == NOW, "a night begins when the clock says so"
