"""A server that is set up and driven by its commands alone, beside a real simulated cloud."""

import fcntl
import json
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from tests.support import prepared
from tests.support.simcloud_process import SimCloud

ROOT = Path(__file__).resolve().parents[2]
PACE = 30
KEPT = ("PATH", "HOME", "LANG")
PASSWORD, CLOUD_PASSWORD = "mosquito-free-evening", "quiet-evening"
OWNER, VIEWER, CLOUD_EMAIL = "owner@example.com", "viewer@example.com", "garden@example.com"
LIMIT_S = 150
CTRL_C, PRESS_AGAIN_S = "\x03", 15.0
Lines = list[dict[str, Any]]
Done = subprocess.CompletedProcess[str]


@dataclass
class Terminal:
    """One installation in a folder of its own; no worker unless a test starts one."""

    cloud: SimCloud
    data_dir: Path
    environment: dict[str, str] = field(default_factory=dict)
    root: Path = ROOT
    """Where the program is that its commands run."""

    def __post_init__(self) -> None:
        self.environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.environment |= {
            "DATA_DIR": str(self.data_dir),
            "ENV_FILE": "",
            "ENGINE_PACE": str(PACE),
            "LOG_LEVEL": "WARNING",
            "DEFAULT_CLOUD_URL": self.cloud.url,
        }

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-W", "error", "manage.py", *words]

    def run(self, *words: str, typed: str = "") -> Done:
        """Run one command to its end; typed is its standard input."""
        return subprocess.run(
            self.words(*words),
            cwd=self.root,
            env=self.environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    def ok(self, *words: str, typed: str = "") -> str:
        """Run one command that must end well; return its output."""
        done = self.run(*words, typed=typed)
        assert done.returncode == 0, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        return done.stdout

    def lines(self, *words: str, typed: str = "", status: int = 0) -> Lines:
        """Run one command with --json; return its objects."""
        done = self.run(*words, "--json", typed=typed)
        assert done.returncode == status, done.stderr + done.stdout
        return parsed(done.stdout)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start one command and leave it running, in a process group of its own."""
        return subprocess.Popen(
            self.words(*words),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def typing(self, answers: dict[str, str], *words: str) -> tuple[int, str]:
        """Run one command at a real terminal; type each answer once its question is there."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            self.words(*words),
            cwd=ROOT,
            env=self.environment | {"TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_the_terminal,
        )
        os.close(theirs)
        until = monotonic() + LIMIT_S
        shown, waiting, interrupts = "", dict(answers), False
        while True:
            limit_s = min(PRESS_AGAIN_S if interrupts else LIMIT_S, until - monotonic())
            if not select.select([ours], [], [], max(0.0, limit_s))[0]:
                if monotonic() >= until:
                    process.kill()
                else:
                    # as people do: Python hears no signal between its prompt and its read
                    os.write(ours, CTRL_C.encode())
                continue
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            shown += piece.decode(errors="replace")
            for question in [question for question in waiting if question in shown]:
                typed = waiting.pop(question)
                interrupts |= typed == CTRL_C
                os.write(ours, typed.encode())
        os.close(ours)
        return process.wait(LIMIT_S), shown

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what stands in the database."""
        with closing(sqlite3.connect(self.data_dir / "db.sqlite3")) as database:
            return database.execute(sql, values).fetchall()

    def trail(self, action: str) -> list[tuple[str, str, str, str]]:
        """Return (who, role, by which way, outcome) of each such event, oldest first."""
        sql = (
            "SELECT actor_name, actor_role, via, outcome FROM devices_auditevent "
            "WHERE action = ? ORDER BY sequence"
        )
        return [(str(a), str(b), str(c), str(d)) for a, b, c, d in self.rows(sql, action)]

    def set_up(self) -> None:
        """Make the tables, a household with an owner and a viewer, and link the account."""
        prepared.lay(self.environment)
        self.ok("household", "create", "Garden", "--owner", OWNER, typed=f"{PASSWORD}\n")
        add = ("household", "add", "Garden", "--email", VIEWER, "--role", "viewer")
        self.ok(*add, typed=f"{PASSWORD}\n")
        self.ok("cloud_account", "link", "--email", CLOUD_EMAIL, typed=f"{CLOUD_PASSWORD}\n")

    def accepted(self, hub: int) -> int:
        """Return how many pushes the cloud accepted for that hub."""
        return self.cloud.pushes(self.cloud.node_ids()[hub]).get("accepted", 0)


def _take_the_terminal() -> None:
    """Let Ctrl-C come from the terminal, also when the tests run where it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def parsed(output: str) -> Lines:
    found: Lines = [json.loads(line) for line in output.splitlines()]
    assert all("event" in line for line in found)
    return found


@contextmanager
def a_terminal(data_dir: Path, *, hubs: int, is_set_up: bool = True) -> Iterator[Terminal]:
    """Give a server whose hubs are all online and all have an offer."""
    users = [f"{CLOUD_EMAIL}:{CLOUD_PASSWORD}"]
    with SimCloud(hubs=hubs, speed=PACE, offers=1, users=users) as cloud:
        for hub in range(hubs):
            cloud.set_online(hub, True)
        terminal = Terminal(cloud, data_dir)
        if is_set_up:
            terminal.set_up()
        yield terminal


CONFIRM = f"""
import os, sys, time
from django.utils import timezone
from devices.rainmaker.client import RainmakerClient
from devices.models import Node, OtaJob, User
from devices.installs.push import check_before_push, claim_for_push, send
from devices.accounts.sessions import tokens_of
from tests.support.engine import confirm, run_until
owner = User.objects.get(email="{OWNER}")
def install(node_id):
    return confirm(owner, Node.objects.get(node_id=node_id))
def client_of(job):
    account = job.node.account
    return RainmakerClient(account.base_url, tokens=tokens_of(account))
"""
