"""Virtual hubs in injected time: what they say, when, and what becomes of them. No sockets."""

from __future__ import annotations

import pytest

from devices.simcloud import liv, scenarios
from devices.simcloud.clock import Clock
from devices.simcloud.firmware import Effect
from devices.simcloud.hub import Hub
from devices.simcloud.world import Person, Setup, World


class Wall:
    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


class Stage:
    """A world of one person's hubs, a wall clock to turn, and one hub to watch."""

    def __init__(self, scenario: str = "happy", *, speed: float = 1.0) -> None:
        self.wall = Wall()
        self.world = World(Setup(hubs=12, offers=1.0), Clock(speed, self.wall))
        self.hub: Hub = self.world.hub_list[0]
        self.world.play(self.hub, scenarios.parse(scenario))
        self.heard: list[tuple[str, str]] = []

    def push(self) -> bool:
        job = self.hub.offer(self.now)
        assert job
        self.job_id = job.job_id
        return self.world.push(self.hub, job)

    @property
    def now(self) -> float:
        return self.world.clock.now()

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, looking at the status all the while, as a person would."""
        for _ in range(int(seconds / step)):
            self.wall.at += step
            report = self.hub.report(self.job_id, self.now)
            said = (report.status, report.info) if report else ("", "")
            if not self.heard or self.heard[-1] != said:
                self.heard.append(said)

    def install(self, seconds: float = 400) -> list[tuple[str, str]]:
        self.push()
        self.pass_time(seconds)
        return self.heard

    @property
    def version(self) -> str:
        return self.hub.fw_version(self.now)


HAPPY_END = [
    ("in-progress", "Firmware Image download complete"),
    ("in-progress", "Rebooting into new firmware (after 1 HTTPS attempt)"),
    ("success", "OTA Upgrade finished and verified successfully"),
]
HAPPY = [
    ("in-progress", "Starting OTA Upgrade (HTTPS attempt 1/3)"),
    ("in-progress", "Downloading Firmware Image"),
    *HAPPY_END,
]


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
    said = next(step for step in steps if step.info.startswith("Rebooting"))
    dark = next(step for step in steps if step.effect is Effect.OFFLINE)
    back = next(step for step in steps if step.effect is Effect.ONLINE)
    assert dark.at - said.at == 10
    assert stage.hub.connectivity(dark.at + 1) == (False, dark.at)
    assert stage.hub.connectivity(back.at) == (True, back.at)
    assert stage.hub.fw_version(back.at - 1) != stage.hub.fw_version(back.at)
    assert steps[-1].status == "success"
    assert steps[-1].at > back.at


def test_percentages_come_in_tens_and_only_when_asked_for() -> None:
    heard = Stage("percent").install()
    told = [info for _, info in heard if info.startswith("Downloaded ")]
    assert told == [f"Downloaded {n}% Firmware Image" for n in range(10, 100, 10)]
    assert heard[-1][0] == "success"


def test_slow_download_is_slow() -> None:
    stage = Stage("slow:factor=10")
    stage.install(1000)
    assert stage.heard[-1] == ("in-progress", "Downloading Firmware Image")
    stage.pass_time(1500, step=10)
    assert stage.heard[-1][0] == "success"


def test_first_attempt_fails_and_the_second_succeeds() -> None:
    heard = Stage("first_attempt_fails").install(500)
    assert heard == [
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
    heard = stage.install()
    assert heard[-1] == ("rejected", scenarios.REJECTIONS[reason])
    assert ("in-progress", "Downloading Firmware Image") in heard or reason != "chip_revision"
    assert stage.version == old
    assert stage.hub.offer(stage.now) is None
    assert stage.hub.is_online(stage.now)


def test_rollback_goes_dark_for_longer_and_keeps_the_old_version() -> None:
    stage = Stage("rolled_back")
    old = stage.version
    heard = stage.install(600)
    assert heard[-2:] == [HAPPY_END[1], ("rejected", "Firmware rolled back")]
    dark, back = (s for s in stage.hub.steps(stage.now) if s.effect in ("offline", "online"))
    assert back.at - dark.at > 90
    assert stage.version == old


def test_rollback_may_be_told_as_a_failure() -> None:
    heard = Stage("rolled_back:report_failed=true").install(600)
    assert heard[-1] == ("failed", "MQTT did not connect within 90 seconds")


def test_hub_without_the_time_asks_again_after_thirty_seconds() -> None:
    stage = Stage("delayed:no_time")
    heard = stage.install()
    assert heard == [("delayed", "No time information available yet."), *HAPPY]
    told, began = stage.hub.steps(stage.now)[:2]
    assert began.at - told.at == 30


@pytest.mark.parametrize("reason", ["not_within_valid_window", "not_within_download_window"])
def test_hub_waits_for_a_window_to_open(reason: str) -> None:
    stage = Stage(f"delayed:reason={reason},opens_in_s=100")
    heard = stage.install(600)
    assert heard == [("delayed", scenarios.DELAYS[reason]), *HAPPY]


def test_validity_in_the_job_itself_is_obeyed() -> None:
    stage = Stage()
    begins = int(stage.wall.at + 120)
    stage.world.swap(stage.hub, {"metadata": {"validity": {"start": begins}}})
    heard = stage.install(600)
    assert heard == [("delayed", "Not within valid window."), *HAPPY]
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
    heard = stage.install(800)
    assert heard[-1][0] == "success"
    assert any(status == "failed" for status, _ in heard) is failed
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


def test_second_push_while_busy_is_ignored_without_a_report() -> None:
    stage = Stage()
    assert stage.push() is True
    stage.pass_time(60)
    assert stage.push() is False
    stage.pass_time(400)
    assert stage.heard[-1][0] == "success"
    assert stage.hub.starts(stage.now) == 1


def test_hub_that_began_by_itself_ignores_the_push_and_finishes() -> None:
    stage = Stage("already_running")
    assert stage.push() is False
    stage.pass_time(400)
    assert stage.heard[-1][0] == "success"
    assert stage.hub.starts(stage.now) == 1


def test_push_while_waiting_to_retry_begins_at_once() -> None:
    stage = Stage("all_attempts_fail")
    stage.push()
    stage.pass_time(200)
    stage.world.play(stage.hub, scenarios.scenario("happy"))
    assert stage.push() is True
    stage.pass_time(400)
    assert stage.heard[-1][0] == "success"
    stage.pass_time(3000, step=10)
    assert stage.hub.starts(stage.now) == 2


@pytest.mark.parametrize("name", ["offer_swapped", "offer_withdrawn"])
def test_offer_changes_after_the_first_check(name: str) -> None:
    stage = Stage(name)
    first = stage.world.checked(stage.hub)
    second = stage.world.checked(stage.hub)
    assert first
    assert first is not second
    assert (second is None) is (name == "offer_withdrawn")
    assert stage.world.checked(stage.hub) is second


def test_power_cut_in_mid_install_starts_it_over_after_boot() -> None:
    stage = Stage()
    stage.push()
    stage.pass_time(60)
    stage.hub.switch(False, stage.now)
    stage.pass_time(600)
    assert stage.heard[-1] == HAPPY[1]
    assert not stage.hub.is_online(stage.now)
    stage.hub.switch(True, stage.now)
    stage.pass_time(400)
    assert stage.heard[-1][0] == "success"
    assert stage.hub.starts(stage.now) == 2


def test_once_returns_to_happy_after_one_install() -> None:
    stage = Stage("failed_final:reason=json,once=1")
    assert stage.install(30)[-1][0] == "failed"
    assert stage.install(400)[-1][0] == "success"


def test_speed_moves_hubs_but_not_what_a_client_reads() -> None:
    stage = Stage(speed=60)
    began = stage.wall.at
    stage.push()
    stage.pass_time(8, step=0.1)
    assert stage.heard[-1][0] == "success"
    report = stage.hub.report(stage.job_id, stage.now)
    assert report
    assert began < stage.world.clock.to_wire(report.at) <= stage.wall.at


def test_jump_moves_hubs_and_what_a_client_reads() -> None:
    stage = Stage(speed=2)
    stage.push()
    stage.world.clock.advance(1000)
    report = stage.hub.report(stage.job_id, stage.now)
    assert report
    assert report.status == "success"
    assert 150 < stage.world.clock.to_wire(report.at) - stage.wall.at < 300
    assert stage.world.clock.wire_now() == stage.wall.at + 1000
    stage.world.clock.set_speed(10)
    stage.wall.at += 10
    assert stage.world.clock.to_wire(stage.now) == pytest.approx(stage.world.clock.wire_now())


def test_same_seed_is_the_same_world() -> None:
    one, two = (World(Setup(hubs=50, seed=7), Clock(1, Wall())) for _ in range(2))
    other = World(Setup(hubs=50, seed=8), Clock(1, Wall()))
    assert list(one.hubs) == list(two.hubs)
    assert not set(one.hubs) & set(other.hubs)
    assert {len(node) for node in one.hubs} == {22}
    assert len({hub.who.serial for hub in one.hub_list}) == 50
    at = one.clock.now()
    assert [liv.params(h, at) for h in one.hub_list] == [liv.params(h, at) for h in two.hub_list]


def test_about_two_in_five_hubs_have_an_offer_and_names_do_not_repeat() -> None:
    world = World(Setup(hubs=2000), Clock(1, Wall()))
    offers = sum(hub.offer(world.clock.now()) is not None for hub in world.hub_list)
    assert 700 < offers < 900
    assert len({hub.who.name for hub in world.hub_list}) == 2000
    away = sum(not hub.is_online(world.clock.now()) for hub in world.hub_list)
    assert 30 < away < 100


def test_hubs_are_dealt_out_as_asked() -> None:
    people = (Person("a@x.io", "pw", 3), Person("b@x.io", "pw"), Person("c@x.io", "pw"))
    world = World(Setup(hubs=10, people=people), Clock(1, Wall()))
    assert [len(account.nodes) for account in world.accounts.values()] == [3, 4, 3]


def test_runtime_only_grows_and_refill_only_falls_until_it_is_replaced() -> None:
    world = World(Setup(hubs=40), Clock(1, Wall()))
    evenings = 0
    for hub in world.hub_list:
        at, before = world.clock.now(), None
        for _ in range(24 * 10):
            at += 3600
            told = liv.params(hub, at)[liv.DEVICE]
            evenings += told["System Status"] == 3
            assert told["Enable Repellers"] is (told["System Status"] > 1)
            if before is not None:
                assert told["System Runtime"] >= before
            before = told["System Runtime"]
            assert -1 <= told["Refill Life"] <= 100
    assert evenings > 200


def test_repellent_by_hand_warms_up_then_protects() -> None:
    stage = Stage()
    stage.world.write_params(stage.hub, {"LIV Hub": {"Enable Repellers": True}})

    def told() -> dict[str, object]:
        return dict(liv.params(stage.hub, stage.now)[liv.DEVICE])

    assert told()["System Status"] == 2
    before = told()["System Runtime"]
    stage.wall.at += 3600
    assert told()["System Status"] == 3
    assert told()["System Runtime"] in (before + 10, before + 9, before + 11)  # type: ignore[operator]
    stage.world.write_params(stage.hub, {"LIV Hub": {"Refill Reset": 0}})
    assert told()["Refill Life"] == 100
    stage.wall.at += 20 * 3600
    assert told()["Refill Life"] == 50
    stage.world.write_params(stage.hub, {"LIV Hub": {"Enable Repellers": False}})
    assert told()["System Status"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"LIV Hub": {"LED Saturation": 5}},
        {"LIV Hub": {"LED Hue": 361}},
        {"LIV Hub": {"LED Hue": "red"}},
        {"LIV Hub": {"Refill Life": 100}},
        {"LIV Hub": {"Enable Repellers": 1}},
        {"Nothing": {"Name": "x"}},
    ],
)
def test_hub_refuses_what_it_cannot_take(body: dict[str, dict[str, object]]) -> None:
    stage = Stage()
    with pytest.raises(liv.BadWrite):
        stage.world.write_params(stage.hub, body)


@pytest.mark.parametrize("text", ["nonsense", "slow:speed=3", "rejected:mood", "slow:factor=often"])
def test_wrong_scenario_says_what_would_do(text: str) -> None:
    with pytest.raises(scenarios.UnknownScenario):
        scenarios.parse(text)
