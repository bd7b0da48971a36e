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
    assert values(unit, "Environment")[-2:] == ["DATA_DIR=/var/lib/thermacell-web", few_heaps]
    assert values(unit, "StateDirectory") == ["thermacell-web"]
    assert values(unit, "ProtectSystem") == ["strict"]
    assert values(unit, "NoNewPrivileges") == ["true"]


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_the_commands_exist(unit: Path) -> None:
    python = "/opt/thermacell-web/.venv/bin/python "
    for command in values(unit, "ExecStartPre") + values(unit, "ExecStart"):
        assert command.startswith(python)
        words = command.removeprefix(python).split()
        if words[0] == "manage.py":
            assert (ROOT / f"devices/management/commands/{words[1]}.py").exists()


def test_address_port_and_number_of_web_processes_come_from_the_settings() -> None:
    [unit] = [unit for unit in UNITS if unit.stem.endswith("-web")]
    # it reads BIND, PORT and WEB_PROCESSES, which /etc/thermacell-web.env may hold
    assert values(unit, "ExecStart") == ["/opt/thermacell-web/.venv/bin/python manage.py web"]
    assert values(unit, "EnvironmentFile") == ["-/etc/thermacell-web.env"]


@pytest.mark.parametrize("has_settings", [True, False])
def test_the_command_for_administrators_has_the_settings_and_data_of_the_units(
    tmp_path: Path, has_settings: bool
) -> None:
    settings = tmp_path / "settings.env"
    if has_settings:
        settings.write_text("PORT=8123\n")
    runuser = tmp_path / "runuser"
    runuser.write_text('#!/bin/sh\necho "${ENV_FILE-none}|$DATA_DIR|$*"\n')
    runuser.chmod(0o755)
    script = (ROOT / "docs" / "systemd" / "manage").read_text()
    assert "/etc/thermacell-web.env" in script
    command = tmp_path / "thermacell-web"
    command.write_text(script.replace("/etc/thermacell-web.env", str(settings)))
    done = subprocess.run(
        ["sh", str(command), "household", "create", "Garden house"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    file, data, words = done.stdout.strip().split("|")
    assert file == (str(settings) if has_settings else "none")
    assert data == "/var/lib/thermacell-web"
    product = "/opt/thermacell-web"
    assert words == (
        f"-u thermacell -- {product}/.venv/bin/python {product}/manage.py "
        "household create Garden house"
    )


def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        leave_out("systemd-analyze was not found.")
    for unit in (ROOT / "docs" / "systemd").glob("thermacell-web*"):
        # it looks whether the programs are there; here they are elsewhere
        text = unit.read_text().replace("/opt/thermacell-web/.venv/bin/python", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(
        ["systemd-analyze", "verify", *paths], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "thermacell" not in done.stderr, done.stderr
