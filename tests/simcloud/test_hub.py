"""Virtual hubs in injected time: pushes while busy, changing offers, power cuts."""

from __future__ import annotations

import pytest

from devices.simcloud import scenarios
from tests.support.stage import HAPPY, Stage


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
