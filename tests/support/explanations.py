"""An install to explain, and what a whole explanation is."""

from typing import Any

from devices.explanations.explain import Explanation
from devices.models import OtaJob, State

NUMBERS = (
    "100001 100004 100006 100010 102001 103013 103020 104006 104015 105007 105008 105009 105010 "
    "105011 105014 105017 105018 105019 105024 105036 105061 105076 105078 100070"
)


def a_job(state: State, outcome: str = "", **facts: Any) -> OtaJob:
    defaults = {
        "hub_name": "Fire pit",
        "from_version": "5.3.2",
        "to_version": "5.3.3",
        "next_poll_at": None,
    }
    return OtaJob(state=state, outcome=outcome, **defaults | facts)


def assert_is_whole(explained: Explanation) -> None:
    for text in (explained.headline, explained.what, explained.is_safe, explained.todo):
        assert text == text.strip()
        assert text.endswith((".", "”"))
        assert "{" not in text
        assert "  " not in text
        assert "unknown error" not in text.lower()
    assert explained.code.startswith("TW-")
