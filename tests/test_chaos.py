"""A short run of the machine that tries to break the product; `make chaos` plays the long ones."""

import pytest

from tests.chaos.machine import Run, play

pytestmark = pytest.mark.processes


def test_kills_and_faults_lose_nothing_and_send_nothing_twice() -> None:
    result = play(
        Run(seed="evening", installs=15, kills=4, homes=3, hubs=6, pause_s=2, limit_s=300)
    )
    print(result.report())
    assert result.violations == []


@pytest.mark.parametrize(
    ("broken", "harms", "courses", "found"),
    [
        ("second-push", ("cut_after_the_push",), ("slow",), "confirmations"),
        ("trusted-success", ("none",), ("success_lie",), "lived through"),
        ("lost-confirm", ("none",), ("happy",), "is nowhere"),
    ],
)
def test_a_build_that_is_broken_on_purpose_is_caught(
    broken: str, harms: tuple[str, ...], courses: tuple[str, ...], found: str
) -> None:
    result = play(
        Run(
            seed=broken,
            installs=8,
            kills=0,
            homes=1,
            hubs=4,
            pause_s=0.5,
            limit_s=300,
            broken=broken,
            only_harms=harms,
            only_courses=courses,
        )
    )
    assert [sentence for sentence in result.violations if found in sentence], result.report()
