"""Programs are started again when they die, and stopped with all that they started."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import sleep

import psutil
import pytest

from devices.server import log_files, orphans
from devices.server.child import Program
from devices.server.supervisor import News, Supervisor
from tests.support.started import eventually

# forks beside the threads of a runner
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Start = Callable[..., Supervisor]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts a program, by what it does, and stops it at the end."""
    made: list[Supervisor] = []
    for name in ("run", "log"):
        (tmp_path / name).mkdir()

    def begin(run: Callable[[], object], stop_wait_s: float = 5) -> Supervisor:
        program = Program("one", run, rank=1, stop_wait_s=stop_wait_s)
        made.append(Supervisor(tmp_path / "run", tmp_path / "log", tmp_path, [program]))
        made[-1].start()
        return made[-1]

    yield begin
    for one in made:
        one.stop()


def pid(of: Supervisor) -> int:
    return of.children["one"].pid


def lives(process: psutil.Process) -> bool:
    # what lost its parent may stay a zombie here for a while
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_what_dies_is_there_again_and_that_is_said_once(start: Start) -> None:
    one = start(partial(sleep, 60))
    before, news = pid(one), list[News]()
    os.kill(before, signal.SIGKILL)
    one.children["one"].began -= 10  # it had lived for a while

    def look() -> bool:
        news.extend(one.look())
        return bool(news)

    eventually(look)
    assert news == [News("one", is_back=True)]
    assert pid(one) != before
    assert one.look() == []


def test_what_does_not_stay_up_is_tried_less_and_less_often(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("devices.server.supervisor.time.monotonic", lambda: now)
    one, news, waits = start(partial(sys.exit, 3)), list[News](), []
    for _ in range(8):
        os.waitid(os.P_PID, pid(one), os.WEXITED | os.WNOWAIT)
        news += one.look()  # finds it dead
        waits.append(one.children["one"].not_before - now)
        now += waits[-1]
        news += one.look()
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert [one for one in news if not one.is_back] == [News("one", is_back=False)]
    assert one.does_not_stay_up("one")


def test_a_stop_leaves_nothing_of_a_program_that_hangs_with_what_it_started(start: Start) -> None:
    def run() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not os.fork():
            sleep(60)
        sleep(60)

    one = start(run, stop_wait_s=0.2)
    eventually(lambda: len(orphans.find(one.run_folder)) == 2)
    found = orphans.find(one.run_folder)
    os.kill(found[0].pid, signal.SIGSTOP)
    one.stop()
    eventually(lambda: not any(lives(process) for process in found))
    assert list(one.run_folder.iterdir()) == []


def test_what_a_dead_program_left_behind_does_not_work_beside_the_next(start: Start) -> None:
    def run() -> None:
        if not os.fork():
            sleep(60)
        sleep(60)

    one = start(run)
    eventually(lambda: len(orphans.find(one.run_folder)) == 2)
    before = orphans.find(one.run_folder)
    os.kill(pid(one), signal.SIGKILL)
    eventually(one.look)
    eventually(lambda: not any(lives(process) for process in before))


def test_marks_are_found_on_what_was_forked_and_on_other_commands(start: Start) -> None:
    def run() -> None:
        with subprocess.Popen(["sleep", "60"], start_new_session=True):
            sleep(60)

    one = start(run)
    eventually(lambda: len(orphans.find(one.run_folder, "one")) == 2)
    assert orphans.find(one.run_folder, "another") == []
    assert orphans.find(one.run_folder.parent) == []


def test_what_it_writes_is_in_its_log(start: Start) -> None:
    def run() -> None:
        os.write(1, b"out\n")
        sys.exit("It cannot go on.")

    one = start(run)
    eventually(lambda: "It cannot go on." in one.last_words("one.log"))
    assert one.last_words("one.log").splitlines()[:2] == ["out", "It cannot go on."]


def test_a_long_log_moves_on_while_its_program_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "LONGEST_BYTES", 10)
    with (tmp_path / "web.log").open("a") as log:
        for number in range(6):
            log.write(f"a long line, number {number}\n")
            log.flush()
            log_files.rotate(tmp_path, ["web", "worker"])
        log.write("short")
        log.flush()
        log_files.rotate(tmp_path, ["web"])
    kept = {path.name: path.read_text()[-2:] for path in tmp_path.iterdir()}
    assert kept == {"web.log": "rt", "web.log.1": "5\n", "web.log.2": "4\n", "web.log.3": "3\n"}


def test_no_room_for_a_process_stops_nothing_else(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = start(partial(sleep, 60))
    os.kill(pid(one), signal.SIGKILL)

    def no_room(*_: object) -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    with monkeypatch.context() as full:
        full.setattr(Supervisor, "_fork", no_room)
        eventually(lambda: one.look() is not None and one.children["one"].failures)
        assert pid(one) == 0
    one.children["one"].not_before = 0
    eventually(lambda: one.look() is not None and pid(one))


def test_a_stop_leaves_no_file_open(tmp_path: Path) -> None:
    for name in ("run", "log"):
        (tmp_path / name).mkdir()
    program = Program("one", partial(sleep, 60), rank=1, stop_wait_s=5)
    one = Supervisor(tmp_path / "run", tmp_path / "log", tmp_path, [program])
    before = os.listdir("/proc/self/fd")
    for _ in range(2):
        one.start()
        one.stop()
        one.stop()
    assert os.listdir("/proc/self/fd") == before
