"""Processes left behind are found by their mark, and no others."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from devices.server import orphans as server_orphans
from tests.support import prepared
from tests.support.product import ROOT, free_port
from tests.support.started import Started, eventually


def test_a_foreign_process_is_never_found(tmp_path: Path) -> None:
    other = {**os.environ, server_orphans.MARK: str(tmp_path / "other")}
    with subprocess.Popen(["sleep", "60"], env=other) as foreign:
        eventually(lambda: server_orphans.find(tmp_path / "other"))
        assert server_orphans.sweep(tmp_path / "run") == 0
        assert foreign.poll() is None
        assert server_orphans.sweep(tmp_path / "other") == 1


@pytest.mark.processes
@pytest.mark.parametrize("program", ["worker", "watchdog", "homeassistant", "web"])
def test_a_restore_refuses_while_a_program_runs_that_no_start_began(
    tmp_path: Path, program: str
) -> None:
    prepared.lay({"DATA_DIR": str(tmp_path)})
    environment = Started(tmp_path, demo=False).environment | {"PORT": str(free_port())}
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen([sys.executable, "manage.py", program], cwd=ROOT, env=environment)
        )
        stack.callback(process.terminate)
        eventually(lambda: (tmp_path / "run" / server_orphans.WORKING).exists(), 90)
        refused = subprocess.run(
            [sys.executable, "manage.py", "restore", "any.tar.gz", "--force"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
    assert refused.returncode == 1
    assert "systemctl stop thermacell-web.target" in refused.stderr
    assert "Nothing was changed" in refused.stderr
