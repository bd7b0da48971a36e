"""An installation whose processes live by another clock: nothing in them is patched.

    with House(folder, zone="Europe/Berlin") as house:
        house.clock_is(datetime(2027, 3, 27, 21, 50))
        house.plan(0, "tonight")
        house.clock_is(datetime(2027, 3, 27, 21, 59, 50))
        house.on()
        house.wait_until(lambda: house.plan_of(0).state == "started")

moved_clock.c moves the wall clock of web server, worker, terminal and simulated cloud by the same
amount; they go on at the usual pace. It is compiled here: Linux and a C compiler are needed.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from unittest import mock
from zoneinfo import ZoneInfo

import psutil

from tests.conftest import leave_out
from tests.support import prepared
from tests.support.simcloud_process import SimCloud
from tests.support.started import Started, eventually
from tests.support.terminal import CLOUD_EMAIL, CLOUD_PASSWORD, OWNER, PASSWORD, Terminal

MEMBER = "member@example.com"
SOURCE = Path(__file__).with_name("moved_clock.c")
LIMIT_S = 120
HUBS, PACE = 3, 30
NO_PLAN = ("", "", "", None, None)


def library(folder: Path) -> Path:
    """Compile the library that moves the clock, or leave the test out."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        leave_out("Nothing lived by a moved clock: that takes Linux and a C compiler.")
    made = folder / "moved_clock.so"
    subprocess.run(
        [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", SOURCE, "-o", made], check=True
    )
    return made


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What stands in the database about the newest plan of a hub."""

    state: str
    drop_reason: str
    waits_for: str
    requested_at: datetime | None
    """When its install was started, None without one."""
    install: str
    """The state of that install."""


class House:
    """One household with three hubs, all online and idle, on SQLite.

    offers: the share of the hubs that are offered something from the start.
    """

    def __init__(self, folder: Path, *, zone: str, offers: float = 1) -> None:
        self.zone = ZoneInfo(zone)
        self.moved = timedelta()
        folder.mkdir(parents=True, exist_ok=True)
        self._preload = str(library(folder))
        self._started: Started | None = None
        self._folder, self._offers = folder / "data", offers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.off()
        if hasattr(self, "cloud"):
            self.cloud.stop()

    def move_in(self, at: datetime) -> None:
        """Set everything up at this time on the household's clock."""
        self._move(at)
        with mock.patch.dict(os.environ, self._clock):
            users = [f"{CLOUD_EMAIL}:{CLOUD_PASSWORD}"]
            self.cloud = SimCloud(hubs=HUBS, speed=PACE, offers=self._offers, users=users)
        for hub in range(HUBS):
            self.cloud.set_online(hub, True)
            self.cloud.set_repellent(hub, False)
        self.terminal = Terminal(self.cloud, self._folder)
        self.terminal.environment |= self._clock | {"ENGINE_PACE": str(PACE)}
        prepared.lay(self.terminal.environment)
        create = ("household", "create", "Garden", "--owner", OWNER, "--time-zone", str(self.zone))
        self.terminal.ok(*create, typed=f"{PASSWORD}\n")
        add = ("household", "add", "Garden", "--email", MEMBER, "--role", "member")
        self.terminal.ok(*add, typed=f"{PASSWORD}\n")
        link = ("cloud_account", "link", "--email", CLOUD_EMAIL)
        self.terminal.ok(*link, typed=f"{CLOUD_PASSWORD}\n")
        self.terminal.ok("firmware", "check")

    def clock_is(self, at: datetime) -> None:
        """Set all clocks to this time of the household's; what runs starts again."""
        was_on = self._started is not None
        self.off()
        self._move(at)
        self.terminal.environment |= self._clock
        with mock.patch.dict(os.environ, self._clock):
            self.cloud.restart()
        if was_on:
            self.on()

    def on(self) -> None:
        """Start the product."""
        self._started = Started(self._folder, demo=False)
        self._started.environment |= self.terminal.environment
        self._started.start()

    def off(self) -> None:
        """Stop the product as a person does."""
        if self._started is not None:
            self._started.stop()
            self._started = None

    def cut_the_power(self) -> None:
        """End all of the product's processes at once, without a word."""
        assert self._started is not None
        # the start first: it would start again what it sees die
        start = psutil.Process(self._started.process.pid)
        for process in (start, *self._started.processes()):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self._started.kill()
        self._started = None

    def now(self) -> datetime:
        """Return what the household's clock shows, with its zone."""
        return (datetime.now(UTC) + self.moved).astimezone(self.zone)

    def name(self, hub: int) -> str:
        return str(self.cloud.hubs()[hub]["name"])

    def plan(self, hub: int, when: str, *, by: str = OWNER, status: int = 0) -> str:
        """Plan an install from the terminal; return what it printed."""
        words = ("firmware", "install", self.name(hub), "--when", when, "--yes", "--as", by)
        done = self.terminal.run(*words)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def runs(self, code: str) -> str:
        """Run this in the product's own shell; return what it printed."""
        return self.terminal.ok("shell", "--no-imports", "-c", code)

    def plan_of(self, hub: int) -> PlanRow:
        sql = (
            "SELECT plan.state, plan.drop_reason, plan.waits_for, job.requested_at, job.state "
            "FROM devices_plan plan JOIN devices_node node ON node.id = plan.node_id "
            "LEFT JOIN devices_otajob job ON job.id = plan.job_id "
            "WHERE node.node_id = ? ORDER BY plan.id DESC LIMIT 1"
        )
        rows = self.terminal.rows(sql, self.cloud.node_ids()[hub])
        state, dropped, waits, requested, install = rows[0] if rows else NO_PLAN
        at = datetime.fromisoformat(requested).replace(tzinfo=UTC) if requested else None
        return PlanRow(state, dropped, waits, at and at.astimezone(self.zone), install or "")

    def policy_looks_at(self) -> str:
        """Return when the household's update policy is looked at next, in UTC."""
        return str(self.terminal.rows("SELECT next_look_at FROM devices_updatepolicy")[0][0])

    def wait_until(self, is_true: Callable[[], object], limit_s: float = LIMIT_S) -> None:
        eventually(is_true, limit_s, lambda: "\n".join(str(self.plan_of(n)) for n in self.planned))

    @property
    def planned(self) -> list[int]:
        """Return the hubs that have a plan."""
        sql = "SELECT node_id FROM devices_node WHERE id IN (SELECT node_id FROM devices_plan)"
        have = {node_id for (node_id,) in self.terminal.rows(sql)}
        return [n for n, node_id in enumerate(self.cloud.node_ids()) if node_id in have]

    def pushes(self, hub: int) -> int:
        """Return how many pushes the cloud accepted for this hub."""
        return self.terminal.accepted(hub)

    @property
    def _clock(self) -> dict[str, str]:
        moved_s = round(self.moved.total_seconds())
        return {"LD_PRELOAD": self._preload, "MOVED_CLOCK_S": str(moved_s)}

    def _move(self, at: datetime) -> None:
        self.moved = at.replace(tzinfo=self.zone).astimezone(UTC) - datetime.now(UTC)
        assert self.moved > timedelta(), "the stories play in days to come"


def next_change(zone: str, *, forwards: bool) -> datetime:
    """Return midnight of the next day, at least two days from now, on which this zone's clock is
    set forwards or back.
    """
    there = ZoneInfo(zone)
    day = datetime.now(there).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for ahead in range(2, 800):
        begins = day + timedelta(days=ahead)
        before, after = (
            (begins + timedelta(hours=hour)).replace(tzinfo=there).utcoffset() for hour in (0, 12)
        )
        assert before is not None
        assert after is not None
        if after != before and (after > before) == forwards:
            return begins
    raise AssertionError(f"the clocks of {zone} do not change")
