"""Web servers and workers that are started apart, as compose.services.yaml does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from cryptography.fernet import Fernet

from tests.support.product import ROOT
from tests.support.started import Started, eventually
from thermacell_web.environment import known_names

TOKEN = "monitoring-only-0123456789"


class Half(Started):
    """One half of the product with a data folder of its own, its secrets in files."""

    def __init__(self, folder: Path, only: str, secrets: Path, url: str) -> None:
        super().__init__(folder, demo=False, has_tables=False, only=only)
        self.environment |= {"LOG_TO": "stdout", "READY_TOKEN": TOKEN, "DATABASE_URL": url}
        self.environment |= {f"{path.name}_FILE": str(path) for path in secrets.iterdir()}

    def ready(self, *parts: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", "ready", *parts]
        env = self.environment
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.fixture
def halves(tmp_path: Path, postgres_url: str) -> Iterator[dict[str, Half]]:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "SECRET_KEY").write_text("s" + os.urandom(40).hex() + "\n")
    (secrets / "AUDIT_KEY").write_text("a" + os.urandom(40).hex() + "\n")
    (secrets / "ENCRYPTION_KEYS").write_text(Fernet.generate_key().decode() + "\n")
    web, worker = (Half(tmp_path / name, name, secrets, postgres_url) for name in HALVES)
    with web, worker:
        yield {"web": web, "worker": worker}


HALVES = ("web", "worker")


@pytest.mark.processes
@pytest.mark.postgres
def test_each_runs_its_half_and_both_are_one_installation(halves: dict[str, Half]) -> None:
    web, worker = halves["web"], halves["worker"]
    eventually(lambda: web.answer("/readyz") == 200, 60)
    assert worker.answer("/healthz") == 0
    assert {name for name in ("web", "worker") if web.processes(name)} == {"web"}
    assert {name for name in ("web", "worker") if worker.processes(name)} == {"worker"}
    assert worker.ready("database").returncode == 0
    eventually(lambda: json.loads(worker.ready("here").stdout)["worker_age_s"] is not None)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    parts = requests.get(f"{web.url}/readyz", headers=bearer, timeout=20).json()["parts"]
    assert parts["keys"]["ok"]
    worker.stop()
    assert worker.ready("nothing").returncode == 1


def test_sqlite_serves_no_half(tmp_path: Path) -> None:
    env = Started(tmp_path, demo=False).environment
    command = [sys.executable, "manage.py", "start", "--only", "web"]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert (ended.returncode, "set DATABASE_URL" in ended.stderr) == (1, True)
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["compose.yaml", "compose.services.yaml"])
def test_the_compose_files_name_only_what_there_is(name: str) -> None:
    # no engine reads them here: what they say about this product is compared with it
    whole = yaml.safe_load((ROOT / name).read_text())
    ours = [one for one in whole["services"].values() if one.get("image") == "thermacell-web"]
    assert ours
    for service in ours:
        assert set(service["environment"]) - known_names() == set()
        assert (service["read_only"], len(service["tmpfs"])) == (True, 1)
        assert {one.partition(":")[0] for one in service["volumes"]} - {"/data"} <= set(
            whole["volumes"]
        )
        assert set(service.get("secrets", ())) <= set(whole.get("secrets", ()))
        assert service.get("command", ["start"])[0] == "start"


def test_no_key_gets_into_the_build() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert lines[0] == "*"
    copied = {
        word
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for word in line.split()[1:-1]
    }
    assert {line[1:] for line in lines if line.startswith("!")} == copied
