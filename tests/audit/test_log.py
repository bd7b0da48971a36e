"""The audit trail under many writers at once: real processes with threads, on both databases."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import prepared
from tests.support.services import ROOT

WRITERS, ROWS = 4, 40


def environment(tmp_path: Path, database_url: str) -> dict[str, str]:
    found = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ENV_FILE": ""}
    return found | {"DATA_DIR": str(tmp_path), "DATABASE_URL": database_url, "LOG_LEVEL": "WARNING"}


def manage(env: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.processes
@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def test_many_writers_make_one_chain_without_forks_or_gaps(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    env = environment(tmp_path, url)
    prepared.lay(env)
    writers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.audit_writer", f"writer{n}", str(ROWS)],
            cwd=ROOT,
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(WRITERS)
    ]
    for writer in writers:
        _, text = writer.communicate(timeout=300)
        assert (writer.returncode, text) == (0, "")
    done = manage(env, "verify_audit", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["is_intact"]
    assert found["rows"] == found["head"]["sequence"] == WRITERS * 2 * ROWS
