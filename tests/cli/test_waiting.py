"""The terminal beside a real worker: who works, and what happens when the worker dies."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

import pytest
from django.utils import timezone

from devices.cli.waiting import is_neglected
from devices.models import Beat
from tests.support import prepared
from tests.support.factories import make_account, make_node
from tests.support.terminal import (
    CLOUD_EMAIL,
    CLOUD_PASSWORD,
    OWNER,
    PASSWORD,
    Terminal,
    a_terminal,
    parsed,
)


@contextmanager
def a_worker(terminal: Terminal) -> Iterator[int]:
    """Give the process group of a real worker that has left its first heartbeat."""
    process = terminal.start("qcluster")
    try:
        until = monotonic() + 60
        while not terminal.rows("SELECT 1 FROM devices_beat WHERE beat_at IS NOT NULL"):
            assert process.poll() is None
            assert monotonic() < until, "the worker leaves no heartbeat"
            sleep(0.2)
        yield process.pid
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("is_server_there", "may_ask", "is_ours"),
    [(True, True, True), (True, False, False), (False, False, True)],
)
def test_what_this_command_may_not_ask_is_left_to_a_server_that_runs(
    is_server_there: bool, may_ask: bool, is_ours: bool, settings: Any
) -> None:
    now = timezone.now()
    if is_server_there:
        Beat.objects.create(name="chores", beat_at=now)
    node = make_node(make_account(synced_at=now, next_sync_at=now + timedelta(hours=1)))
    settings.LOOPBACK_CLOUDS = False
    settings.ALLOWED_CLOUDS = [node.account.base_url] if may_ask else []
    type(node).objects.update(next_check_at=now)
    assert is_neglected("chores") is is_ours


@pytest.mark.processes
def test_the_worker_works_and_when_it_dies_the_terminal_takes_over(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with a_terminal(tmp_path_factory.mktemp("worker"), hubs=2, is_set_up=False) as terminal:
        prepared.lay(terminal.environment)
        terminal.ok("household", "create", "Garden", "--owner", OWNER, typed=f"{PASSWORD}\n")
        with a_worker(terminal) as worker:
            link = ("cloud_account", "link", "--email", CLOUD_EMAIL, "--json")
            done = terminal.run(*link, typed=f"{CLOUD_PASSWORD}\n")
            assert done.returncode == 0, done.stderr
            assert done.stderr == ""
            names = [line["name"] for line in parsed(done.stdout) if line["event"] == "hub"]
            ids = [line["node_id"] for line in parsed(done.stdout) if line["event"] == "hub"]

            done = terminal.run("firmware", "install", names[0], "--yes", "--json")
            assert done.returncode == 0, done.stderr
            assert done.stderr == "", "beside a worker nothing is done here"
            assert parsed(done.stdout)[-1]["state"] == "verified"
            assert terminal.cloud.pushes(ids[0]) == {"accepted": 1}

            terminal.cloud.set_scenario(ids[1], "slow", factor=5)
            process = terminal.start("firmware", "install", names[1], "--yes", "--json")
            assert process.stdout is not None
            for line in process.stdout:
                if json.loads(line).get("state") == "running":
                    break
            os.killpg(worker, signal.SIGKILL)
            out, err = process.communicate(timeout=150)
        assert process.returncode == 0, err
        assert "this command does its part" in err
        assert parsed(out)[-1]["state"] == "verified"
        assert terminal.cloud.pushes(ids[1]) == {"accepted": 1}
