"""The security note is true: what it cites is there, and what is pinned is installed."""

import re

from tests import pins
from tests.services import ROOT

NOTE = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_is_cited_exists() -> None:
    cited = set(re.findall(r"`(tests/test_\w+\.py)(?:::(test_\w+))?`", NOTE))
    assert len(cited) > 20
    for file, name in cited:
        text = (ROOT / file).read_text()
        assert not name or f"def {name}(" in text, f"{file}::{name}"


def test_every_setting_that_is_named_exists() -> None:
    known = (ROOT / ".env.example").read_text() + (ROOT / "thermacell_web/settings.py").read_text()
    for name in re.findall(r"`([A-Z][A-Z_]{6,})[=`]", NOTE):
        assert name in known or name in {"HTTPS_PROXY"}, name


def test_what_is_installed_is_what_is_pinned() -> None:
    assert pins.troubles() == []
