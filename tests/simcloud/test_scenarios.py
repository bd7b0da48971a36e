"""Scenarios by their names."""

from __future__ import annotations

import pytest

from devices.simcloud import scenarios


@pytest.mark.parametrize("text", ["nonsense", "slow:speed=3", "rejected:mood", "slow:factor=often"])
def test_wrong_scenario_says_what_would_do(text: str) -> None:
    with pytest.raises(scenarios.UnknownScenario):
        scenarios.parse(text)
