"""Every package that is installed is locked, with its hashes."""

import re
from pathlib import Path

import pytest

from tests.tools import lock

SHA = f"--hash=sha256:{'0' * 64}"
IN = "# why\nAlpha[extra]==1.0  # reads\nbe_ta==2  # writes\n"
LOCK = f"""\
alpha==1.0 \\
    {SHA}
    # via gamma, -r requirements.in
be-ta==2 ; sys_platform == 'win32' \\
    {SHA} \\
    {SHA}
    # via -r requirements.in
gamma==3 \\
    {SHA}
    # via be-ta
"""


def test_the_lock_is_current_and_describes_what_is_installed() -> None:
    assert lock.problems() == []


def test_a_lock_follows_from_its_source() -> None:
    assert lock.direct(IN) == lock.locked(LOCK, "requirements.in") == {"alpha": "1.0", "be-ta": "2"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Alpha[extra]==1.0", "Alpha[extra]==1.1"),  # raised, not locked again
        ("be_ta==2  # writes\n", ""),  # removed, still locked
        ("be_ta", "delta==4  # counts\nbe_ta"),  # added, not locked
    ],
)
def test_a_stale_lock_is_found(
    old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.in").write_text(IN)
    (tmp_path / "requirements.txt").write_text(LOCK)
    (tmp_path / "requirements-dev.in").write_text("")
    (tmp_path / "requirements-dev.txt").write_text("")
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    monkeypatch.setattr(lock, "installed_problems", list)
    assert lock.problems() == []
    (tmp_path / "requirements.in").write_text(IN.replace(old, new))
    assert lock.problems() == [
        "requirements.txt does not follow from requirements.in: run make lock."
    ]


@pytest.mark.parametrize("line", ["alpha>=1  # reads", "alpha==1.0", "alpha"])
def test_every_line_names_a_version_and_a_reason(line: str) -> None:
    with pytest.raises(ValueError, match="no exact version"):
        lock.direct(line)


def test_a_package_without_hashes_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha is locked without a hash"):
        lock.locked("alpha==1.0 \\\n    # via -r requirements.in\n", "requirements.in")


def test_what_is_installed_beside_the_lock_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (lock.ROOT / name).read_text()
        without = re.sub(r"^(psutil|ruff)==(.*\n)(\s.*\n)+", "", text, flags=re.MULTILINE)
        (tmp_path / name).write_text(without)
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    (problem,) = lock.installed_problems()
    assert "psutil" in problem
    assert "ruff" in problem


def test_no_lock_names_a_place_to_download_from() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (lock.ROOT / name).read_text()
        assert "://" not in text
        assert not re.search(r"^\s*--(?!hash=)", text, re.MULTILINE)
