"""A short run of the machine that tries to break the product; `make chaos` plays the long ones."""

import pytest

from tests.chaos.machine import Run, play

pytestmark = pytest.mark.processes


def test_kills_and_faults_lose_nothing_and_send_nothing_twice() -> None:
    result = play(
        Run(
            seed="evening",
            installs=15,
            kills=4,
            homes=3,
            hubs=6,
            pause_s=2,
            limit_s=300,
            planned=0.25,
        )
    )
    print(result.report())
    assert result.violations == []


@pytest.mark.parametrize(
    ("broken", "harms", "courses", "found", "limit_s"),
    [
        ("second-push", ("cut_after_the_push",), ("slow",), "confirmations", 300),
        ("lost-confirm", ("none",), ("happy",), "is nowhere", 300),
        *(
            pytest.param(*build, marks=pytest.mark.long)
            for build in (
                ("trusted-success", ("none",), ("success_lie",), "lived through", 300),
                # once signed out it comes no further
                ("signed-out", ("block",), ("slow",), "asks to sign in again", 40),
                ("believed-list", ("shorten_the_list",), ("slow",), "hub.left", 300),
            )
        ),
    ],
)
def test_a_build_that_is_broken_on_purpose_is_caught(
    broken: str, harms: tuple[str, ...], courses: tuple[str, ...], found: str, limit_s: float
) -> None:
    result = play(
        Run(
            seed=broken,
            installs=8,
            kills=0,
            homes=1,
            hubs=4,
            pause_s=0.5,
            limit_s=limit_s,
            broken=broken,
            only_harms=harms,
            only_courses=courses,
            planned=0,
        )
    )
    assert [sentence for sentence in result.violations if found in sentence], result.report()
