"""What a virtual hub's firmware says during an install, when, and how it ends."""

from __future__ import annotations

import pytest

from devices.simcloud import scenarios
from devices.simcloud.firmware import Effect
from tests.support.stage import HAPPY, HAPPY_END, Stage


def test_happy_install_says_exactly_what_the_firmware_says() -> None:
    stage = Stage()
    old = stage.version
    stage.push()
    report = stage.hub.report(stage.job_id, stage.now)
    assert report
    assert (report.status, report.info, report.source) == ("started", "", "CLOUD")
    stage.pass_time(400)
    assert stage.heard == HAPPY
    assert stage.version != old
    assert stage.hub.offer(stage.now) is None


def test_install_takes_two_and_a_half_to_five_minutes_for_every_hub() -> None:
    stage = Stage()
    for hub in stage.world.hub_list:
        job = hub.offer(stage.now)
        assert job
        stage.world.push(hub, job)
        last = hub.steps(stage.now + 3600)[-1]
        assert 150 < last.at - stage.now < 300


def test_hub_reboots_ten_seconds_after_saying_so_and_returns_with_the_new_version() -> None:
    stage = Stage()
    stage.push()
    steps = stage.hub.steps(stage.now + 3600)
    text = next(step for step in steps if step.info.startswith("Rebooting"))
    dark = next(step for step in steps if step.effect is Effect.OFFLINE)
    back = next(step for step in steps if step.effect is Effect.ONLINE)
    assert dark.at - text.at == 10
    assert stage.hub.connectivity(dark.at + 1) == (False, dark.at)
    assert stage.hub.connectivity(back.at) == (True, back.at)
    assert stage.hub.fw_version(back.at - 1) != stage.hub.fw_version(back.at)
    assert steps[-1].status == "success"
    assert steps[-1].at > back.at


def test_percentages_come_in_tens_and_only_when_asked_for() -> None:
    received = Stage("percent").install()
    found = [info for _, info in received if info.startswith("Downloaded ")]
    assert found == [f"Downloaded {n}% Firmware Image" for n in range(10, 100, 10)]
    assert received[-1][0] == "success"


def test_slow_download_is_slow() -> None:
    stage = Stage("slow:factor=10")
    stage.install(1000)
    assert stage.heard[-1] == ("in-progress", "Downloading Firmware Image")
    stage.pass_time(1500, step=10)
    assert stage.heard[-1][0] == "success"


def test_first_attempt_fails_and_the_second_succeeds() -> None:
    received = Stage("first_attempt_fails").install(500)
    assert received == [
        *HAPPY[:2],
        ("failed", "OTA Attempt 1/3 failed: Complete data was not received"),
        ("in-progress", "Starting OTA Upgrade (HTTPS attempt 2/3)"),
        ("in-progress", "Downloading Firmware Image"),
        ("in-progress", "Firmware Image download complete"),
        ("in-progress", "Rebooting into new firmware (after 2 HTTPS attempts)"),
        HAPPY_END[-1],
    ]


def test_third_failure_is_followed_by_the_same_job_five_minutes_later() -> None:
    stage = Stage("all_attempts_fail:cycles=1")
    stage.push()
    steps = stage.hub.steps(stage.now + 3600)
    starts = [step.at for step in steps if step.effect is Effect.START]
    third = next(
        step for step in steps if step.info.startswith("OTA Attempt 3/3 failed: OTA Begin")
    )
    assert starts[1] - third.at == 300
    assert steps[-1].status == "success"
    assert stage.hub.starts(stage.now + 3600) == 2


def test_failing_for_ever_never_ends_and_costs_nothing_to_look_at() -> None:
    stage = Stage("all_attempts_fail")
    stage.push()
    assert stage.hub.starts(stage.now + 86_400) > 200
    stage.pass_time(250)
    assert stage.heard[-1][0] == "failed"
    assert not stage.hub.is_busy(stage.now)


def test_withdrawing_the_job_ends_the_retries() -> None:
    stage = Stage("all_attempts_fail")
    stage.push()
    stage.pass_time(200)
    stage.world.withdraw(stage.hub)
    stage.pass_time(2000, step=10)
    assert stage.hub.starts(stage.now) == 1


@pytest.mark.parametrize("reason", scenarios.REJECTIONS)
def test_rejection_ends_it_and_the_job_is_not_offered_again(reason: str) -> None:
    stage = Stage(f"rejected:{reason}")
    old = stage.version
    received = stage.install()
    assert received[-1] == ("rejected", scenarios.REJECTIONS[reason])
    assert ("in-progress", "Downloading Firmware Image") in received or reason != "chip_revision"
    assert stage.version == old
    assert stage.hub.offer(stage.now) is None
    assert stage.hub.is_online(stage.now)


def test_rollback_goes_dark_for_longer_and_keeps_the_old_version() -> None:
    stage = Stage("rolled_back")
    old = stage.version
    received = stage.install(600)
    assert received[-2:] == [HAPPY_END[1], ("rejected", "Firmware rolled back")]
    dark, back = (s for s in stage.hub.steps(stage.now) if s.effect in ("offline", "online"))
    assert back.at - dark.at > 90
    assert stage.version == old


def test_a_rollback_may_be_reported_as_a_failure() -> None:
    received = Stage("rolled_back:report_failed=true").install(600)
    assert received[-1] == ("failed", "MQTT did not connect within 90 seconds")


def test_hub_without_the_time_asks_again_after_thirty_seconds() -> None:
    stage = Stage("delayed:no_time")
    received = stage.install()
    assert received == [("delayed", "No time information available yet."), *HAPPY]
    found, began = stage.hub.steps(stage.now)[:2]
    assert began.at - found.at == 30


@pytest.mark.parametrize("reason", ["not_within_valid_window", "not_within_download_window"])
def test_hub_waits_for_a_window_to_open(reason: str) -> None:
    stage = Stage(f"delayed:reason={reason},opens_in_s=100")
    received = stage.install(600)
    assert received == [("delayed", scenarios.DELAYS[reason]), *HAPPY]


def test_validity_in_the_job_itself_is_obeyed() -> None:
    stage = Stage()
    begins = int(stage.wall.at + 120)
    stage.world.swap(stage.hub, {"metadata": {"validity": {"start": begins}}})
    received = stage.install(600)
    assert received == [("delayed", "Not within valid window."), *HAPPY]
    stage.world.swap(stage.hub, {"metadata": {"validity": {"end": int(stage.wall.at - 5)}}})
    assert stage.install(60)[-1] == ("failed", "OTA download window lapsed.")


@pytest.mark.parametrize("reason", scenarios.FINAL_FAILURES)
def test_some_failures_are_said_once_and_nothing_follows(reason: str) -> None:
    stage = Stage(f"failed_final:{reason}")
    assert stage.install(2000)[-1:] == [("failed", scenarios.FINAL_FAILURES[reason])]
    assert len(stage.hub.steps(stage.now)) == 1


def test_silent_hub_says_nothing_at_all() -> None:
    stage = Stage("silent")
    old = stage.version
    assert stage.install(2000) == [("started", "")]
    assert stage.version == old
    assert stage.hub.starts(stage.now) == 0


def test_stuck_hub_stops_in_mid_download() -> None:
    stage = Stage("stuck:fraction=0.5,step=10")
    assert stage.install(3000)[-1] == ("in-progress", "Downloaded 50% Firmware Image")
    assert stage.hub.is_busy(stage.now)
    assert stage.hub.is_online(stage.now)


@pytest.mark.parametrize(
    ("then", "failed"), [("continues", False), ("restarts", True)], ids=["continues", "restarts"]
)
def test_hub_lost_in_mid_download_comes_back(then: str, failed: bool) -> None:
    stage = Stage(f"offline_mid_flash:then={then},away_s=120")
    received = stage.install(800)
    assert received[-1][0] == "success"
    assert any(status == "failed" for status, _ in received) is failed
    kinds = [s.effect for s in stage.hub.steps(stage.now) if s.effect in ("offline", "online")]
    assert kinds == ["offline", "online", "offline", "online"]


def test_lying_hub_reports_success_with_the_old_version() -> None:
    stage = Stage("success_lie")
    old = stage.version
    assert stage.install() == HAPPY
    assert stage.version == old


def test_modest_hub_runs_the_new_version_and_never_says_so() -> None:
    stage = Stage("version_only")
    old = stage.version
    assert stage.install()[-1] == HAPPY_END[1]
    assert stage.version != old
    assert not stage.hub.is_busy(stage.now)


def test_version_it_already_runs_is_rejected() -> None:
    stage = Stage("version_only")
    stage.install()
    assert stage.install(60)[-1] == ("rejected", "Same version received")


def test_downgrade_by_version_string_is_accepted() -> None:
    stage = Stage()
    stage.world.swap(stage.hub, {"fw_version": "1.0.0"})
    stage.install()
    assert stage.version == "1.0.0"


def test_a_download_that_times_out_for_good_says_so() -> None:
    received = Stage("failed_final:connection_timeout").install()
    assert received[-1] == ("failed", "Download failed - connection timeout")
