"""Servers that are upgraded at the same moment migrate one after the other."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from devices.management.commands.migrate import LOCK
from tests.support import prepared
from tests.support.product import ROOT
from tests.support.started import eventually


@pytest.mark.processes
@pytest.mark.postgres
def test_two_servers_migrate_at_once(postgres_url: str, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ENV_FILE": ""}
    environment |= {"DATABASE_URL": postgres_url, "DATA_DIR": str(tmp_path)}
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])  # a third is at it
        running = [
            subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        with pytest.raises(subprocess.TimeoutExpired):
            running[0].wait(4)
        found = other.execute("SELECT to_regclass('devices_node')").fetchone()
        assert found == (None,)
    assert [(one.wait(120), one.communicate()[1]) for one in running] == [(0, "")] * 2
    with psycopg.connect(postgres_url) as other:
        assert other.execute("SELECT to_regclass('devices_node')").fetchone() != (None,)


@pytest.mark.processes
@pytest.mark.postgres
def test_a_machine_that_works_meanwhile_is_neither_ended_nor_waited_for_for_ever(
    postgres_url: str, tmp_path: Path
) -> None:
    """It has read one table and goes on to the next: no deadlock with tables that change."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ENV_FILE": ""}
    environment |= {"DATABASE_URL": postgres_url, "DATA_DIR": str(tmp_path)}
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    for before in (["django_q"], ["devices", "0053"]):
        subprocess.run([*command, *before], cwd=ROOT, env=environment, check=True)
    with (
        psycopg.connect(postgres_url) as at_work,
        psycopg.connect(postgres_url, autocommit=True) as watching,
    ):
        at_work.execute("SELECT count(*) FROM devices_plan")
        upgrade = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
        )
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        eventually(lambda: watching.execute(waits).fetchone(), 60)
        for table in ("devices_household", "devices_node", "devices_audithead"):
            at_work.execute(f"UPDATE {table} SET id = id".encode())
        at_work.commit()
        assert (upgrade.wait(120), upgrade.communicate()[1]) == (0, "")
        found = watching.execute("SELECT to_regclass('devices_updatepolicy')").fetchone()
        assert found != (None,)


@pytest.mark.processes
@pytest.mark.postgres
def test_a_start_with_nothing_to_migrate_waits_for_no_machine_that_works(
    postgres_url: str, tmp_path: Path
) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ENV_FILE": ""}
    environment |= {"DATABASE_URL": postgres_url, "DATA_DIR": str(tmp_path)}
    prepared.lay(environment)
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    with psycopg.connect(postgres_url) as at_work:
        for table in ("devices_auditevent", "devices_auditcheckpoint", "devices_node"):
            at_work.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE".encode())
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")
