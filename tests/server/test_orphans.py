"""Processes left behind are found by their mark, and no others."""

import os
import subprocess
from pathlib import Path

from devices.server import orphans as server_orphans
from tests.support.started import eventually


def test_a_foreign_process_is_never_found(tmp_path: Path) -> None:
    other = {**os.environ, server_orphans.MARK: str(tmp_path / "other")}
    with subprocess.Popen(["sleep", "60"], env=other) as foreign:
        eventually(lambda: server_orphans.find(tmp_path / "other"))
        assert server_orphans.sweep(tmp_path / "run") == 0
        assert foreign.poll() is None
        assert server_orphans.sweep(tmp_path / "other") == 1
