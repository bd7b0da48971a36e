"""The commands, as a script runs them: real processes, the real simulated cloud, no browser."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devices.terminal.console import as_json, plain
from devices.terminal.ends import VERDICT_EXITS
from tests.simcloud_process import SimCloud

ROOT = Path(__file__).resolve().parent.parent
PACE = 20
CLOUD_PASSWORD, PASSWORD = "quiet-evening", "mosquito-free-evening"
EMAIL, OWNER, VIEWER = "garden@example.com", "owner@example.com", "viewer@example.com"


@dataclass
class Terminal:
    """A server that was set up by commands alone."""

    cloud: SimCloud
    environment: dict[str, str]

    def run(self, *words: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-W", "error", "manage.py", *words],
            cwd=ROOT,
            env=self.environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def objects(self, *words: str, typed: str = "", status: int = 0) -> list[dict[str, Any]]:
        done = self.run(*words, "--json", typed=typed)
        assert done.returncode == status, done.stderr + done.stdout
        return [json.loads(line) for line in done.stdout.splitlines()]


def hubs_of(terminal: Terminal) -> list[dict[str, Any]]:
    return [line for line in terminal.objects("firmware", "list") if "node_id" in line]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    data = tmp_path_factory.mktemp("terminal")
    kept = ("PATH", "HOME", "LANG")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"DATA_DIR": str(data), "ENV_FILE": "", "ENGINE_PACE": str(PACE)}
    environment |= {"LOG_LEVEL": "WARNING"}
    users = [f"{EMAIL}:{CLOUD_PASSWORD}"]
    with SimCloud(hubs=4, speed=PACE, offers=1, users=users) as cloud:
        for hub in range(4):
            cloud.set_online(hub, True)
        environment["DEFAULT_CLOUD_URL"] = cloud.url
        made = Terminal(cloud, environment)
        assert made.run("migrate", "--verbosity", "0").returncode == 0
        yield made


@pytest.mark.processes
def test_a_server_is_set_up_and_driven_by_scripts_without_a_worker(terminal: Terminal) -> None:
    nobody = terminal.run("firmware", "list")
    assert nobody.returncode == 2
    assert "no owner yet" in nobody.stderr

    made = terminal.run("household", "create", "Garden", "--owner", OWNER, typed=f"{PASSWORD}\n")
    assert made.returncode == 0, made.stderr
    viewer = ("household", "add", "Garden", "--email", VIEWER, "--role", "viewer")
    assert terminal.run(*viewer, typed=f"{PASSWORD}\n").returncode == 0

    wrong = terminal.run("cloud_account", "link", "--email", EMAIL, typed="wrong\n")
    assert wrong.returncode != 0
    assert "Traceback" not in wrong.stderr
    linked = terminal.run("cloud_account", "link", "--email", EMAIL, typed=f"{CLOUD_PASSWORD}\n")
    assert linked.returncode == 0, linked.stderr
    assert "worker" in linked.stderr
    assert CLOUD_PASSWORD not in linked.stdout + linked.stderr

    hubs = hubs_of(terminal)
    assert len(hubs) == 4
    hub = next(hub for hub in hubs if hub["ota_available"] and hub["is_online"])
    name = hub["hub"]

    refused = terminal.run("firmware", "install", name, "--yes", "--as", VIEWER)
    assert refused.returncode == 11
    assert "not install" in refused.stderr + refused.stdout or "does not let you" in refused.stderr
    declined = terminal.run("firmware", "install", name, typed="n\n")
    assert declined.returncode == 10, declined.stderr
    assert "Nothing was sent" in declined.stdout + declined.stderr
    assert terminal.cloud.pushes(hub["node_id"]) == {}

    lines = terminal.objects("firmware", "install", name, "--yes")
    last = lines[-1]
    assert (last["state"], last["outcome"]) == ("verified", "verified")
    witnesses = last["witnesses"]
    assert witnesses["cloud"]["status"] == "success"
    assert witnesses["version"]["fw_version"] == last["to_version"]
    assert all(witness["agrees"] for witness in witnesses.values())
    assert any(line["event"] == "report" for line in lines)
    assert terminal.cloud.pushes(hub["node_id"])["accepted"] == 1

    terminal.objects("firmware", "install", name, "--yes", status=12)
    watched = terminal.objects("firmware", "watch", name)
    assert watched[-1]["state"] == "verified"
    history = [line for line in terminal.objects("firmware", "history") if "job" in line]
    assert [job["hub"] for job in history] == [name]
    assert terminal.run("firmware", "check", hub["serial"]).returncode == 0


@pytest.mark.processes
def test_the_exit_status_tells_the_verdict(terminal: Terminal) -> None:
    hub = next(hub for hub in hubs_of(terminal) if hub["ota_available"] and hub["is_online"])
    terminal.cloud.set_scenario(hub["node_id"], "rejected", reason="secure_version")
    lines = terminal.objects(
        "firmware", "install", hub["hub"], "--yes", status=VERDICT_EXITS["rejected"]
    )
    assert lines[-1]["outcome"] == "secure_version"
    assert lines[-1]["support_code"].startswith("TW-")


@pytest.mark.processes
def test_an_unknown_hub_is_answered_with_those_there_are(terminal: Terminal) -> None:
    done = terminal.run("firmware", "check", "nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr


def test_names_from_the_cloud_cannot_steer_a_terminal() -> None:
    steered = plain("Porch\x1b[2J\r\nroot# \u202e")
    assert not set(steered) & {"\x1b", "\r", "\n", "\u202e"}
    assert "Porch" in steered


def test_every_verdict_has_an_exit_status_of_its_own() -> None:
    assert len(set(VERDICT_EXITS.values())) == len(VERDICT_EXITS)
    assert json.loads(as_json({"a": "ä\n"})) == {"a": "ä\n"}
