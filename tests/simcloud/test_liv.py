"""What a virtual hub does besides installing."""

from __future__ import annotations

import pytest

from devices.simcloud import liv
from devices.simcloud.clock import Clock
from devices.simcloud.world import Setup, World
from tests.support.stage import Stage, Wall


def test_runtime_only_grows_and_refill_only_falls_until_it_is_replaced() -> None:
    world = World(Setup(hubs=40), Clock(1, Wall()))
    evenings = 0
    for hub in world.hub_list:
        at, before = world.clock.now(), None
        for _ in range(24 * 10):
            at += 3600
            found = liv.params(hub, at)[liv.DEVICE]
            evenings += found["System Status"] == 3
            assert found["Enable Repellers"] is (found["System Status"] > 1)
            if before is not None:
                assert found["System Runtime"] >= before
            before = found["System Runtime"]
            assert -1 <= found["Refill Life"] <= 100
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


def test_one_of_the_first_hubs_is_nearly_out_of_refill_at_any_time() -> None:
    world = World(Setup(hubs=8), Clock(1, Wall()))
    for hours in range(0, 24 * 30, 7):
        left = liv.params(world.hub_list[3], world.clock.now() + 3600 * hours)
        assert 0 < left[liv.DEVICE]["Refill Life"] <= 4
