"""A real worker is stalled, frozen and killed; it is replaced, and installs end verified."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from devices.models.message import Message, MessageCode
from devices.server.worker_process import LocalCluster
from tests.support.product import ROOT
from tests.support.started import Started, eventually

pytestmark = pytest.mark.processes
LIMIT_S = 150
CONFIRM = """
from devices.models import Node, User
from tests.support.engine import confirm
for node in Node.objects.select_related("account__household").filter(is_online=True, is_on=False):
    if node.offer is None or node.jobs.exists():
        continue
    owner = User.objects.filter(memberships__household=node.account.household,
                                memberships__role="owner").first()
    print("job", confirm(owner, node).pk)
    break
"""


class Watched(Started):
    """A demo whose watchdog is joined by a quicker one."""

    def __init__(self, data_dir: Path, processes: str) -> None:
        super().__init__(data_dir)
        self.environment["WORKER_PROCESSES"] = processes
        self.harms, self.family_size = HARMS[processes]
        self.cluster = LocalCluster(data_dir.resolve() / "run")

    def inside(self) -> dict[str, str]:
        """Return the environment of the demo's own programs."""
        return self.main_process("web").environ()

    @contextmanager
    def quick_watchdog(self) -> Iterator[None]:
        command = [sys.executable, "manage.py", "watchdog", "--ask-after", "3", "--patience", "12"]
        with subprocess.Popen(command, cwd=ROOT, env=self.inside()) as process:
            try:
                yield
            finally:
                process.terminate()

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.data_dir / "db.sqlite3", timeout=20)) as database:
            return database.execute(sql, values).fetchall()

    def confirm(self) -> int:
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", CONFIRM],
            cwd=ROOT,
            env=self.inside(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.startswith("job "), done.stdout + done.stderr
        return int(done.stdout.split()[1])

    def state(self, job: int) -> str:
        return str(self.rows("SELECT state FROM devices_otajob WHERE id = ?", job)[0][0])

    def restarts(self) -> int:
        sql = "SELECT count(*) FROM devices_auditevent WHERE action = 'worker.restarted'"
        return int(self.rows(sql)[0][0])

    def family(self) -> list[psutil.Process]:
        """Return the worker's processes: the main one; of a cluster also its sentinel, then its
        workers, monitor and pusher.
        """
        pid = self.cluster.main_pid()
        if pid is None:
            return []
        main = psutil.Process(pid)
        return [main, *main.children(recursive=True)]


@pytest.fixture(scope="module", params=["1", "3"], ids=["one process", "a cluster"])
def product(tmp_path_factory: pytest.TempPathFactory, request: Any) -> Iterator[Watched]:
    watched = Watched(tmp_path_factory.mktemp("watched") / "demo", request.param)
    with watched:
        yield watched
    watched.clean()


def freeze_everything(family: list[psutil.Process]) -> None:
    for process in family:
        process.suspend()


def kill_all_idle_workers(family: list[psutil.Process]) -> None:
    # one of them holds the lock of the queue's pipe: no later one will ever read from it
    for process in family[2:]:
        process.kill()


def freeze_whoever_takes_tasks(family: list[psutil.Process]) -> None:
    family[-1].suspend()


def kill_the_sentinel(family: list[psutil.Process]) -> None:
    family[1].kill()


def kill_the_main_process(family: list[psutil.Process]) -> None:
    family[0].kill()


# What is done to a worker of so many processes, and how many processes that are with all.
HARMS: dict[str, tuple[list[Callable[[list[psutil.Process]], None]], int]] = {
    "1": ([freeze_everything, kill_the_main_process], 1),
    "3": (
        [
            kill_the_main_process,
            kill_all_idle_workers,
            kill_the_sentinel,
            freeze_whoever_takes_tasks,
        ],
        7,
    ),
}


def replaced_after_s(product: Watched, harm: Callable[[list[psutil.Process]], None]) -> float:
    """Do harm to the worker; return how long it took until a whole new one was there."""
    before, family = product.restarts(), product.family()
    began = time.monotonic()
    harm(family)
    eventually(lambda: product.restarts() > before, LIMIT_S)
    eventually(lambda: not any(one.is_running() for one in family), LIMIT_S)
    eventually(lambda: len(product.family()) >= product.family_size, LIMIT_S)
    return time.monotonic() - began


def test_a_harmed_worker_is_replaced_each_time_and_the_installs_end_verified(
    product: Watched,
) -> None:
    jobs = [product.confirm()]
    with product.quick_watchdog():
        for harm in product.harms:
            print(f"{harm.__name__}: replaced after {replaced_after_s(product, harm):.1f} s")
            if harm is kill_the_main_process:
                jobs.append(product.confirm())
        eventually(lambda: all(product.state(job) == "verified" for job in jobs), LIMIT_S)
    assert product.rows("SELECT DISTINCT pushes FROM devices_otajob") == [(1,)]


def test_a_watchdog_that_dies_comes_back(product: Watched) -> None:
    before = product.main_process("watchdog")
    before.send_signal(signal.SIGKILL)
    eventually(lambda: any(one.pid != before.pid for one in product.processes("watchdog")))


def test_the_page_says_that_the_worker_was_restarted(product: Watched) -> None:
    assert product.restarts() > 0
    found = product.rows("SELECT restart_reason FROM devices_beat WHERE name = 'worker'")
    reasons = [Message.of(MessageCode.WORKER_STOPPED), Message.of(MessageCode.WORKER_SILENT)]
    assert Message.read(found[0][0]) in reasons


def test_a_later_process_with_the_number_and_the_command_is_not_the_worker(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path)
    cluster.sign_in()
    assert cluster.main_pid() == os.getpid()
    _, signs = json.loads(cluster.note.read_text())
    command = [sys.executable, "-c", "input()"]
    pipe: Any = {"stdin": subprocess.PIPE}
    with subprocess.Popen(command, **pipe) as later:
        try:
            process = psutil.Process(later.pid)
            as_before = [process.name(), process.cmdline(), signs[2]]
            cluster.note.write_text(json.dumps([later.pid, as_before]))
            assert cluster.main_pid() is None
        finally:
            later.communicate(b"\n")
