"""The unit files: systemd itself reads them where it is installed, and they say what we rely on."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import leave_out
from tests.support.product import ROOT

UNITS = sorted((ROOT / "docs" / "systemd").glob("*.service"))
NAMES = [unit.stem.removeprefix("thermacell-web-") for unit in UNITS]


def values(unit: Path, name: str) -> list[str]:
    lines = unit.read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


def test_there_is_one_for_each_program_and_a_target_that_wants_them() -> None:
    assert NAMES == ["homeassistant", "watchdog", "web", "worker"]
    wanted = values(ROOT / "docs/systemd/thermacell-web.target", "Wants")[0].split()
    assert sorted(wanted) == [unit.name for unit in UNITS]


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_what_dies_comes_back_and_only_the_main_process_is_asked_to_stop(unit: Path) -> None:
    assert values(unit, "Restart") == ["always"]
    assert values(unit, "KillMode") == ["mixed"]
    assert values(unit, "StartLimitIntervalSec") == ["0"]


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_every_program_shares_one_data_folder_and_can_write_nowhere_else(unit: Path) -> None:
    few_heaps = "MALLOC_ARENA_MAX=2"
    assert values(unit, "Environment") == ["DATA_DIR=/var/lib/thermacell-web", few_heaps]
    assert values(unit, "StateDirectory") == ["thermacell-web"]
    assert values(unit, "ProtectSystem") == ["strict"]
    assert values(unit, "NoNewPrivileges") == ["true"]


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_the_commands_exist(unit: Path) -> None:
    python = "/opt/thermacell-web/.venv/bin/python "
    for command in values(unit, "ExecStartPre") + values(unit, "ExecStart"):
        assert command.startswith(python)
        words = command.removeprefix(python).split()
        if words[0] == "manage.py" and words[1] not in {"migrate", "collectstatic"}:
            assert (ROOT / f"devices/management/commands/{words[1]}.py").exists()


def test_how_many_processes_serve_pages_is_a_setting_alone() -> None:
    [unit] = [unit for unit in UNITS if unit.stem.endswith("-web")]
    # it reads WEB_PROCESSES, which /etc/thermacell-web.env may hold
    command = "/opt/thermacell-web/.venv/bin/python manage.py web --host 127.0.0.1 --port 8000"
    assert values(unit, "ExecStart") == [command]


def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        leave_out("systemd-analyze was not found.")
    for unit in (ROOT / "docs" / "systemd").iterdir():
        # it looks whether the programs are there; here they are elsewhere
        text = unit.read_text().replace("/opt/thermacell-web/.venv/bin/python", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(
        ["systemd-analyze", "verify", *paths], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "thermacell" not in done.stderr, done.stderr
