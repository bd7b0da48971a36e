"""Installing from a script without a worker: real processes, the real simulated cloud."""

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from devices.cli.errors import Exit
from tests.support.simcloud_process import SimCloud
from tests.support.terminal import CTRL_C, OWNER, ROOT, VIEWER, Terminal, a_terminal, parsed

pytestmark = pytest.mark.processes
# Each test has hubs of its own, so that none depends on what another did.
HAPPY, WATCHED, REFUSED, DECLINED, TYPED, SLOW, ODD, TWIN, OFFLINE, FAULTY = range(10)
VERDICTS: dict[int, tuple[str, dict[str, Any], int, str, str | None, int]] = {
    # index of the hub: (scenario, its parameters, exit status, state, outcome, pushes accepted)
    10: ("rejected", {"reason": "secure_version"}, 4, "rejected", "secure_version", 1),
    11: ("failed_final", {"reason": "json"}, 5, "failed", None, 1),
    12: ("success_lie", {}, 3, "unverified", "claimed_success_same_version", 1),
    13: ("silent", {}, 6, "lost", None, 1),
    14: ("offer_swapped", {"after_checks": 1}, 7, "refused", "offer_swapped", 0),
    15: ("percent", {"step": 20}, 0, "verified", "verified", 1),
}
HUBS = 16


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    with a_terminal(tmp_path_factory.mktemp("terminal"), hubs=HUBS) as made:
        yield made


def name_of(cloud: SimCloud, hub: int) -> str:
    return str(cloud.hubs()[hub]["name"])


def test_a_script_installs_without_a_worker(terminal: Terminal) -> None:
    name = name_of(terminal.cloud, HAPPY)
    done = terminal.run("firmware", "install", name.upper(), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "No worker is running: this command does its part itself.\n"
    lines = parsed(done.stdout)
    assert lines[0]["event"] == "offer"
    states = [line["state"] for line in lines if line["event"] == "state"]
    assert states == ["requested", "pushing", "running", "verifying", "verified"]
    reports = [line for line in lines if line["event"] == "report"]
    assert [report["sequence"] for report in reports] == sorted(r["sequence"] for r in reports)
    assert reports[-1]["status"] == "success"
    last = lines[-1]
    assert last["event"] == "verdict"
    assert (last["state"], last["outcome"], last["exit_status"]) == ("verified", "verified", 0)
    assert (last["from_version"], last["to_version"]) == (
        lines[0]["fw_version"],
        lines[0]["offer"]["fw_version"],
    )
    assert all(witness["agrees"] for witness in last["witnesses"].values())
    assert last["witnesses"]["version"]["fw_version"] == last["to_version"]
    assert last["support_code"].startswith("TW-")
    assert all(line["at"].endswith("+00:00") for line in lines if "at" in line)
    assert terminal.accepted(HAPPY) == last["pushes"] == 1

    sql = (
        "SELECT action, actor_name, actor_role, via FROM devices_auditevent "
        "WHERE job_id = ? AND action LIKE 'install.%' ORDER BY sequence"
    )
    trail = terminal.rows(sql, last["id"])
    assert trail[0] == ("install.requested", OWNER, "owner", "terminal")
    assert [row[0] for row in trail[1:]] == [f"install.{state}" for state in states[1:]]

    nothing = terminal.lines("firmware", "install", name, "--yes", status=Exit.NOTHING_NEW)
    assert nothing[-1]["event"] == "nothing_new"
    watched = terminal.lines("firmware", "watch", name)
    assert watched == lines[1:]
    history = terminal.lines("firmware", "history", name)
    assert [(line["id"], line["state"]) for line in history] == [(last["id"], "verified")]
    assert "Verified" in terminal.ok("firmware", "history")
    assert terminal.accepted(HAPPY) == 1


def test_a_worker_that_is_missing_still_shows_as_missing_afterwards(terminal: Terminal) -> None:
    terminal.ok("firmware", "check", name_of(terminal.cloud, WATCHED))
    assert terminal.rows("SELECT name FROM devices_beat WHERE beat_at IS NOT NULL") == []
    assert terminal.rows("SELECT name FROM devices_beat WHERE holder != ''") == []


def test_a_viewer_is_refused_with_the_words_of_the_page(terminal: Terminal) -> None:
    name = name_of(terminal.cloud, REFUSED)
    lines = terminal.lines(
        "firmware", "install", name, "--yes", "--as", VIEWER, status=Exit.REFUSED
    )
    assert lines[-1]["reasons"] == [
        {"code": "no_right", "sentence": "Your role in Garden does not let you install firmware."}
    ]
    assert (VIEWER, "viewer", "terminal", "refused") in terminal.trail("access.refused")
    assert terminal.run("firmware", "check", name, "--as", VIEWER).returncode == Exit.REFUSED
    assert terminal.run("firmware", "check", "--as", VIEWER).returncode == Exit.REFUSED
    assert len(terminal.lines("firmware", "list", "--as", VIEWER)) == HUBS
    assert terminal.cloud.pushes(terminal.cloud.node_ids()[REFUSED]) == {}


@pytest.mark.parametrize("typed", ["n\n", "maybe\nno\n", ""], ids=["no", "maybe, no", "nothing"])
def test_without_a_yes_nothing_is_sent(terminal: Terminal, typed: str) -> None:
    name = name_of(terminal.cloud, DECLINED)
    done = terminal.run("firmware", "install", name, typed=typed)
    assert done.returncode == Exit.NOT_CONFIRMED
    assert "Nothing was sent" in done.stderr
    assert terminal.cloud.pushes(terminal.cloud.node_ids()[DECLINED]) == {}


def test_at_a_terminal_a_no_sends_nothing_and_a_yes_shows_one_live_line(terminal: Terminal) -> None:
    name = name_of(terminal.cloud, TYPED)
    terminal.cloud.set_scenario(TYPED, "percent", step=25)
    status, output = terminal.typing({"[y/n]": "n\n"}, "firmware", "install", name)
    assert status == Exit.NOT_CONFIRMED
    assert "Nothing was sent" in output
    assert terminal.cloud.pushes(terminal.cloud.node_ids()[TYPED]) == {}

    status, output = terminal.typing({"[y/n]": "y\n"}, "firmware", "install", name)
    assert status == 0, output
    assert "\r\x1b[K" in output
    assert " 50 %" in output
    assert output.count("\x1b") == output.count("\x1b[K")
    assert "Verified: " in output
    assert "Support code TW-" in output
    assert terminal.accepted(TYPED) == 1


def test_each_verdict_has_its_exit_status_when_scripts_run_side_by_side(terminal: Terminal) -> None:
    """No worker, one lease: whichever command holds it works for all of them."""
    running: dict[int, subprocess.Popen[str]] = {}
    for hub, (scenario, params, *_) in VERDICTS.items():
        terminal.cloud.set_scenario(hub, scenario, **params)
        name = name_of(terminal.cloud, hub)
        running[hub] = terminal.start("firmware", "install", name, "--yes", "--json")
    for hub, process in running.items():
        out, err = process.communicate(timeout=150)
        _, _, status, state, outcome, pushes = VERDICTS[hub]
        last = parsed(out)[-1]
        assert (process.returncode, last["event"], last["state"]) == (status, "verdict", state), err
        assert last["exit_status"] == status
        assert outcome in (None, last["outcome"])
        assert "Traceback" not in err
        assert terminal.accepted(hub) == pushes


def test_ctrl_c_leaves_the_install_going_and_says_how_to_watch_it(terminal: Terminal) -> None:
    name = name_of(terminal.cloud, SLOW)
    terminal.cloud.set_scenario(SLOW, "slow", factor=3)
    process = terminal.start("firmware", "install", name, "--yes", "--json")
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("state") == "running":
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED, err
    last = parsed(out)[-1]
    assert last["event"] == "interrupted"
    assert "The install goes on." in err
    assert f"manage.py firmware watch {last['id']}" in err
    assert "Traceback" not in err
    assert terminal.rows("SELECT name FROM devices_beat WHERE holder != ''") == []

    again = terminal.lines("firmware", "install", name, "--yes", status=Exit.REFUSED)
    assert [reason["code"] for reason in again[-1]["reasons"]] == ["job_running"]
    number = str(last["id"])
    late = terminal.lines("firmware", "watch", number, "--timeout", "0.5", status=Exit.GOES_ON)
    assert late[-1]["event"] == "timeout"
    assert terminal.lines("firmware", "watch", number)[-1]["state"] == "verified"
    assert terminal.accepted(SLOW) == 1


def test_ctrl_c_at_the_question_sends_nothing(terminal: Terminal) -> None:
    name = name_of(terminal.cloud, DECLINED)
    status, output = terminal.typing({"[y/n]": CTRL_C}, "firmware", "install", name)
    assert status == Exit.INTERRUPTED, output
    assert "Interrupted. Nothing was sent." in output
    assert terminal.cloud.pushes(terminal.cloud.node_ids()[DECLINED]) == {}


def test_an_unknown_hub_is_answered_with_those_there_are(terminal: Terminal) -> None:
    done = terminal.run("firmware", "install", "nowhere", "--yes", "--json")
    assert done.returncode == Exit.NOT_UNDERSTOOD
    assert "No hub is called nowhere. There are:" in done.stderr
    error = parsed(done.stdout)[-1]
    assert error["event"] == "error"
    assert len(error["candidates"]) == HUBS
    assert terminal.run("firmware", "polish", "it").returncode == Exit.NOT_UNDERSTOOD
    assert terminal.run("firmware", "list", "--as", "x@y.z").returncode == Exit.NOT_UNDERSTOOD


def test_hostile_hub_names_do_not_reach_the_terminal_raw(terminal: Terminal) -> None:
    odd = "Porch\x1b[2J\x1b]0;owned\x07\nroot# \u202e"
    for hub in (ODD, TWIN):
        terminal.cloud.set_params(hub, Name=odd)
    terminal.ok("cloud_account", "link", "--email", "garden@example.com", typed="quiet-evening\n")
    table = terminal.ok("firmware", "list")
    assert len(table.splitlines()) == HUBS + 1
    assert "\x1b" not in table
    assert "\x07" not in table
    assert "\u202e" not in table
    done = terminal.run("firmware", "install", "Porch [2J ]0;owned root#", "--yes")
    assert done.returncode == Exit.NOT_UNDERSTOOD
    assert "More than one hub is called" in done.stderr
    assert "\x1b" not in done.stderr
    serial = terminal.cloud.hubs()[ODD]["serial"]
    done = terminal.run("firmware", "install", serial, typed="n\n")
    assert done.returncode == Exit.NOT_CONFIRMED
    assert "\x1b" not in done.stdout + done.stderr


def test_an_offline_hub_is_refused_with_the_reason(terminal: Terminal) -> None:
    name = name_of(terminal.cloud, OFFLINE)
    terminal.cloud.set_online(OFFLINE, False)
    terminal.ok("cloud_account", "link", "--email", "garden@example.com", typed="quiet-evening\n")
    done = terminal.run("firmware", "install", name, "--yes")
    assert done.returncode == Exit.REFUSED
    assert "Nothing was sent. The hub is offline." in done.stderr
    assert (OWNER, "owner", "terminal", "refused") in terminal.trail("install.request_refused")
    words = ("firmware", "install", name, "--yes", "--when")
    assert terminal.run(*words, "soon").returncode == Exit.NOT_UNDERSTOOD
    [offer, plan] = terminal.lines(*words, "online")
    assert (offer["event"], plan["event"], plan["state"]) == ("offer", "plan", "waiting")
    assert (plan["when"], plan["planned_by"], plan["exit_status"]) == ("online", OWNER, 0)
    [listed] = terminal.lines("firmware", "plans")
    assert (listed["id"], listed["hub_name"]) == (plan["id"], name)
    assert "when it is back online" in terminal.ok("firmware", "plans")
    terminal.ok("firmware", "cancel-plan", name)
    assert terminal.run("firmware", "cancel-plan", name).returncode == Exit.NOTHING_NEW
    assert terminal.lines("firmware", "plans") == []
    assert terminal.cloud.pushes(terminal.cloud.node_ids()[OFFLINE]) == {}


def test_a_cloud_that_cannot_be_asked_is_said_so_and_nothing_is_sent(terminal: Terminal) -> None:
    node_id = terminal.cloud.node_ids()[FAULTY]
    fault = terminal.cloud.fault("423", path="*/ota_update", node_id=node_id)
    try:
        lines = terminal.lines("firmware", "check", node_id, status=Exit.NO_ANSWER)
        assert lines[0]["trouble"]["code"] == "busy"
        assert lines[-1] == {"event": "checked", "hubs": 1, "troubled": 1, "exit_status": 14}
        done = terminal.run("firmware", "install", node_id, "--yes")
        assert done.returncode == Exit.NO_ANSWER
        assert "Nothing was sent." in done.stderr
    finally:
        terminal.cloud.clear_faults(fault)
    assert terminal.cloud.pushes(node_id) == {}


def test_a_reader_that_leaves_early_is_no_accident(terminal: Terminal) -> None:
    command = " ".join(terminal.words("firmware", "list", "--json"))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 1"],
        cwd=ROOT,
        env=terminal.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
