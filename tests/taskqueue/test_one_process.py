"""A worker of one process: all of the cluster in threads."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from devices.taskqueue.one_process import Flag
from tests.support import prepared
from tests.support.product import ROOT
from tests.support.started import eventually

OVERRUN = """
import threading, django
django.setup()
from devices.taskqueue.one_process import OneProcess
worker = OneProcess(lambda: None)
worker.spawn_worker()
worker.pool[0].timer.value = 0
worker.reincarnate(worker.pool[0])
"""


def environment(data_dir: Path) -> dict[str, str]:
    here = {"DATA_DIR": str(data_dir), "ENV_FILE": "", "PYTHONPATH": str(ROOT)}
    return {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "thermacell_web.settings"} | here


def test_a_flag_that_a_signal_sets_ends_a_wait_at_once() -> None:
    flag = Flag()
    assert not flag.wait(0)
    before = signal.signal(signal.SIGALRM, lambda *_: flag.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert flag.wait(60)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.processes
def test_both_loops_run_in_it_and_it_stops_in_order(tmp_path: Path) -> None:
    where = environment(tmp_path)
    prepared.lay(where)
    beats = "SELECT count(*) FROM devices_beat WHERE name IN ('installs', 'chores') AND rounds >= 0"
    held = "SELECT count(*) FROM devices_beat WHERE holder != ''"

    def count(sql: str) -> int:
        with closing(sqlite3.connect(tmp_path / "db.sqlite3", timeout=20)) as database:
            return int(database.execute(sql).fetchone()[0])

    wake = "from devices.taskqueue import wakeups as w; w.wake_installs(); w.wake_sync()"
    shell = [sys.executable, "manage.py", "shell", "--no-imports", "-c", wake]
    subprocess.run(shell, cwd=ROOT, env=where, check=True)
    with subprocess.Popen([sys.executable, "manage.py", "worker"], cwd=ROOT, env=where) as worker:
        try:
            eventually(lambda: count(beats) == 2)
            assert psutil.Process(worker.pid).children() == []
            worker.terminate()
            assert worker.wait(20) == 0
        finally:
            worker.kill()
    assert count(held) == 0, "the leases were given back"


@pytest.mark.processes
def test_a_task_that_overruns_its_time_ends_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OVERRUN],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "took more than 180 s" in done.stderr
