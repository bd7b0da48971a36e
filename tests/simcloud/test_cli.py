"""The simulated cloud as a program: its flags, its sentences, its end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.simcloud_api import STATUS, UPDATE, Api, refusal
from tests.support.simcloud_process import REPOSITORY, SimCloud

pytestmark = pytest.mark.processes


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "devices.simcloud", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_documented_dialect_speaks_as_the_write_up_does() -> None:
    with SimCloud(hubs=1, offers=1, dialect="documented", state=False) as cloud:
        me = Api(cloud.url, cloud.email, cloud.password)
        node = cloud.node_ids()[0]
        cloud.set_scenario(node, "percent")
        offer = me.get(f"{UPDATE}?node_id={node}")[1]
        follow = f"{STATUS}?node_id={node}&ota_job_id={offer['ota_job_id']}"
        assert refusal(me.get(follow)) == (404, 105024)
        me.call("POST", UPDATE, node_id=node, ota_job_id=offer["ota_job_id"])
        received: dict[str, Any] = {}
        for _ in range(40):
            found = me.get(follow)[1]
            assert found["ota_job_id"] == offer["ota_job_id"]
            assert found["timestamp"] < 1e10
            received[found["additional_info"]] = found["status"]
            cloud.advance(10)
        assert received[""] == "initiated"
        assert received["Downloading firmware... 50%"] == "in_progress"
        assert (
            received[f"Firmware updated successfully to version {offer['fw_version']}"] == "success"
        )


def test_flags_set_the_scene() -> None:
    scenarios = ["0=rejected:same_version", "Fire pit=slow:factor=3"]
    with SimCloud(hubs=2, offers=0, latency_ms=50, scenarios=scenarios, state=False) as cloud:
        first, second = cloud.hubs()
        assert first["scenario"] == {"name": "rejected", "reason": "same_version", "step": 0}
        assert second["scenario"]["factor"] == 3
        assert first["offer"] is second["offer"] is None
        began = time.monotonic()
        requests.get(cloud.url + "/apiversions", timeout=5)
        assert time.monotonic() - began > 0.05


def test_taken_port_is_one_sentence_and_exit_code_1() -> None:
    with SimCloud(hubs=1, state=False) as cloud:
        ended = run(f"--port={cloud.port}")
        assert ended.returncode == 1
        assert ended.stdout == ""
        assert ended.stderr == (
            f"simcloud: Cannot listen on 127.0.0.1:{cloud.port}: something else is using it.\n"
        )


def test_unusable_state_file_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    broken = tmp_path / "state"
    broken.write_text("this is not a database, and is long enough to be taken for one" * 20)
    for path in (broken, tmp_path / "no" / "such" / "folder"):
        ended = run("--port=0", f"--state={path}")
        assert ended.returncode == 1
        assert ended.stderr.startswith("simcloud: Cannot use the state file")
        assert ended.stderr.count("\n") == 1


def test_two_processes_cannot_share_a_state_file() -> None:
    with SimCloud(hubs=1) as cloud:
        ended = run("--port=0", f"--state={cloud.state_file}")
        assert ended.returncode == 1
        assert "locked" in ended.stderr


@pytest.mark.parametrize(
    "flag",
    ["--hubs=-1", "--speed=0", "--user=nobody", "--offers=2", "--scenario=0", "--scenario=0=odd"],
)
def test_wrong_flag_is_explained(flag: str) -> None:
    ended = run("--port=0", flag)
    assert ended.returncode == 2
    assert "error: argument" in ended.stderr


def test_unknown_hub_on_the_command_line_is_explained() -> None:
    ended = run("--port=0", "--scenario=Nowhere=happy")
    assert (ended.returncode, ended.stderr) == (
        1,
        "simcloud: There is no hub 'Nowhere' to play happy.\n",
    )


def test_it_ends_cleanly_with_connections_open() -> None:
    cloud = SimCloud(hubs=1)
    session = requests.Session()
    session.get(cloud.url + "/apiversions", timeout=5)
    assert cloud.process
    process = cloud.process
    assert cloud.stop() == 0
    session.close()
    assert process.returncode == 0


def test_command_runs_under_manage_py() -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", "simcloud", "--port=0", "--scenario=Nowhere=happy"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert "There is no hub 'Nowhere'" in ended.stderr
