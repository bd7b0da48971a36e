"""What counts as released, and the tables that each release has."""

import re
from pathlib import Path

from tests.support.product import ROOT

# The newest migration of each version in CHANGELOG.md.
RELEASED = {"0.1.0": "0022_audit_by_household_action"}


def versions() -> list[str]:
    """Return the versions that the changelog names, newest first."""
    return re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_every_released_version_has_its_tables_here() -> None:
    assert set(versions()) == set(RELEASED)
    for migration in RELEASED.values():
        assert (Path(ROOT) / "devices" / "migrations" / f"{migration}.py").is_file()


def test_what_an_administrator_must_do_stands_first() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    for section in sections[:-1]:  # the first version had nothing to upgrade from
        assert re.search(r"^### (.+)", section, re.M).group(1) == "For administrators"  # type: ignore[union-attr]
