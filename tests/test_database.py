"""The database is used with the settings on which durability and waiting rest."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.simcloud_process import SimCloud
from tests.support.terminal import CLOUD_EMAIL, CLOUD_PASSWORD, CONFIRM, OWNER, PACE, Terminal

LOOK = """
import json
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
with CaptureQueriesContext(connection) as ran, transaction.atomic():
    pass
with connection.cursor() as cursor:
    found = {name: cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}
print(json.dumps(found | {"begin": [one["sql"] for one in ran.captured_queries][0]}))
"""


@pytest.mark.processes
def test_sqlite_is_in_wal_and_transactions_begin_as_writers(
    tmp_path: Path, simcloud: SimCloud
) -> None:
    terminal = Terminal(simcloud, tmp_path / "data")
    terminal.ok("migrate", "--verbosity", "0")
    found = terminal.ok("shell", "-c", LOOK).splitlines()[-1]
    assert found == (
        '{"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 20000, '
        '"begin": "BEGIN IMMEDIATE"}'
    )


@pytest.mark.processes
def test_what_was_confirmed_just_before_everything_was_killed_is_sent_once_and_ends(
    tmp_path: Path,
) -> None:
    users = [f"{CLOUD_EMAIL}:{CLOUD_PASSWORD}"]
    with SimCloud(hubs=1, speed=PACE, offers=1, users=users) as cloud:
        cloud.set_online(0, True)
        terminal = Terminal(cloud, tmp_path / "data")
        terminal.set_up()
        node_id = cloud.node_ids()[0]
        # the process that confirmed is gone before any other could look
        confirmed = terminal.start(
            "shell", "-c", f"{CONFIRM}\ninstall('{node_id}')\nos.kill(os.getpid(), 9)"
        )
        confirmed.communicate(timeout=60)
        assert confirmed.returncode == -signal.SIGKILL
        states = "SELECT state FROM devices_otajob"
        assert terminal.rows(states) == [("requested",)]
        worker = terminal.start("qcluster")
        try:
            done = terminal.run("firmware", "watch", node_id, "--as", OWNER)
            assert done.returncode == 0, done.stderr
        finally:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.communicate(timeout=30)
        assert terminal.rows(states) == [("verified",)]
        assert cloud.pushes(node_id) == {"accepted": 1}
