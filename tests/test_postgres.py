"""The same product on PostgreSQL: tables, queue and a real worker process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support import prepared
from tests.support.simcloud_process import SimCloud

ROOT = Path(__file__).resolve().parent.parent
OWNER, EMAIL = "owner@example.com", "garden@example.com"
PASSWORD, CLOUD_PASSWORD = "mosquito-free-evening", "quiet-evening"
PACE = 20


@pytest.mark.processes
@pytest.mark.postgres
def test_an_install_through_a_worker_with_its_queue_in_postgresql(
    postgres_url: str, tmp_path: Path
) -> None:
    with SimCloud(hubs=2, speed=PACE, offers=1, users=[f"{EMAIL}:{CLOUD_PASSWORD}"]) as cloud:
        for hub in range(2):
            cloud.set_online(hub, True)
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        environment |= {"DATA_DIR": str(tmp_path), "ENV_FILE": "", "ENGINE_PACE": str(PACE)}
        environment |= {"DATABASE_URL": postgres_url, "DEFAULT_CLOUD_URL": cloud.url}
        environment |= {"LOG_LEVEL": "WARNING"}

        def manage(*words: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                [sys.executable, "manage.py", *words],
                cwd=ROOT,
                env=environment,
                input=typed,
                capture_output=True,
                text=True,
                timeout=120,
            )

        prepared.lay(environment)
        worker = subprocess.Popen(
            [sys.executable, "manage.py", "qcluster"], cwd=ROOT, env=environment
        )
        try:
            made = manage("household", "create", "Garden", "--owner", OWNER, typed=f"{PASSWORD}\n")
            assert made.returncode == 0, made.stderr
            linked = manage("cloud_account", "link", "--email", EMAIL, typed=f"{CLOUD_PASSWORD}\n")
            assert linked.returncode == 0, linked.stderr
            assert "No worker" not in linked.stderr
            hubs = [
                json.loads(line)
                for line in manage("firmware", "list", "--json").stdout.splitlines()
            ]
            node_id = next(hub["node_id"] for hub in hubs if hub.get("is_online"))
            done = manage("firmware", "install", node_id, "--yes", "--json")
            assert done.returncode == 0, done.stderr + done.stdout
            assert "No worker" not in done.stderr
            assert json.loads(done.stdout.splitlines()[-1])["state"] == "verified"
            assert cloud.pushes(node_id)["accepted"] == 1
        finally:
            worker.terminate()
            worker.wait(30)
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_name = 'django_q_ormq'"
        ).fetchone()
        assert tables == (1,)
