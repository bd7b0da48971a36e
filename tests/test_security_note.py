"""The security note is true: what it cites is there."""

import re

from tests.support.services import ROOT

NOTE = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_is_cited_exists() -> None:
    cited = set(re.findall(r"`(tests/[\w/]*test_\w+\.py)(?:::(test_\w+))?`", NOTE))
    assert len(cited) > 20
    for file, name in cited:
        text = (ROOT / file).read_text()
        assert not name or f"def {name}(" in text, f"{file}::{name}"


def test_every_test_that_another_page_cites_exists() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts = "".join(page.read_text() for page in pages)
    cited = set(re.findall(r"`(tests/[\w/]*test_\w+\.py)(?:::(test_\w+))?`", texts))
    for file, name in cited:
        assert not name or f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


def test_every_name_that_is_cited_is_in_its_file() -> None:
    cited = set(re.findall(r"`(\w+)` in `([\w/]+\.py)`", NOTE))
    assert cited
    for name, file in cited:
        assert re.search(rf"\b(def|class) {name}\b", (ROOT / file).read_text()), f"{name} in {file}"


def test_every_setting_that_is_named_exists() -> None:
    known = (ROOT / ".env.example").read_text() + (ROOT / "thermacell_web/settings.py").read_text()
    for name in re.findall(r"`([A-Z][A-Z_]{6,})[=`]", NOTE):
        assert name in known or name in {"HTTPS_PROXY"}, name
