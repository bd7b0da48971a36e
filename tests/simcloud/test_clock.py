"""The simulated clock: its speed and its jumps."""

from __future__ import annotations

import pytest

from tests.support.stage import Stage


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
