"""The terminal beside a real worker: who works, and what happens when the worker dies."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

import pytest

from tests import prepared
from tests.terminal import (
    CLOUD_EMAIL,
    CLOUD_PASSWORD,
    OWNER,
    PASSWORD,
    Terminal,
    a_terminal,
    parsed,
)

pytestmark = pytest.mark.processes


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
            names = [line["hub"] for line in parsed(done.stdout) if line["event"] == "hub"]
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
