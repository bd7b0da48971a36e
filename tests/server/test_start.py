"""Starting, staying up and stopping, with real processes as a person meets them."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devices.server import demo
from devices.server.start import NAMES
from tests.support.product import ROOT, Browser, free_port
from tests.support.started import Started, eventually

# Long enough that a Unix socket no longer fits, and with what shells and configurations trip over.
AWKWARD = "a place with spaces, 'quotes' and a very long name " + "x" * 60


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    product = Started(tmp_path_factory.mktemp("demo") / AWKWARD, has_tables=False)
    with product:
        yield product
    product.clean()


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Started]:
    product = Started(tmp_path / "demo")
    yield product
    product.clean()


@pytest.mark.processes
def test_a_demo_says_where_it_is_and_who_may_sign_in(running: Started) -> None:
    assert f"Thermacell Web is running: {running.url}/" in running.text
    for person in demo.RESIDENTS:
        assert re.search(rf"{person.email} +{person.role} of {person.household}", running.text)
    for staff in demo.STAFF:
        assert re.search(rf"{staff.email} +{staff.words}: \d{{8}}, \d{{8}}, \d{{8}}", running.text)
    assert demo.PASSWORD in running.text
    page = Browser(running.url).get("/account/login/").text
    assert all(person.email in page for person in demo.RESIDENTS)


@pytest.mark.processes
def test_every_program_answers_once_the_start_says_so(running: Started) -> None:
    assert running.answer("/healthz") == 200
    assert running.answer("/apiversions", running.cloud_port) == 200
    assert running.main_process("worker").is_running()


@pytest.mark.processes
def test_other_users_cannot_read_its_data(running: Started) -> None:
    assert running.data_dir.stat().st_mode & 0o777 == 0o700
    assert (running.data_dir / "keys.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.processes
def test_children_are_out_of_reach_of_ctrl_c(running: Started) -> None:
    group = os.getpgid(running.process.pid)
    assert all(os.getpgid(process.pid) != group for process in running.processes())


@pytest.mark.processes
@pytest.mark.parametrize("program", ["web", "worker", "cloud"])
def test_what_is_killed_comes_back_alone(running: Started, program: str) -> None:
    before = running.processes(program)
    running.main_process(program).kill()
    eventually(lambda: not any(one.is_running() for one in before))
    eventually(lambda: running.processes(program))
    eventually(lambda: running.answer("/healthz") == 200)
    eventually(lambda: running.answer("/apiversions", running.cloud_port) == 200)
    again = f"{NAMES[program]} had stopped and was started again"
    eventually(lambda: again in running.text, says=lambda: running.text)
    mains = [one for one in running.processes(program) if one.ppid() == running.process.pid]
    assert len(mains) == 1


@pytest.mark.processes
def test_a_taken_port_is_named_with_the_way_out(running: Started, tmp_path: Path) -> None:
    second = Started(tmp_path / "second", port=running.port)
    ended = second.begin()
    assert ended.returncode == 1
    assert f"Port {running.port} is taken by" in ended.stderr
    assert re.search(
        r"choose another port with PORT=, for example make demo PORT=\d+", ended.stderr
    )
    assert "Traceback" not in ended.stderr
    assert not second.processes()


@pytest.mark.processes
def test_one_start_at_a_time_in_a_folder(running: Started) -> None:
    second = Started(running.data_dir)
    ended = second.begin()
    assert ended.returncode == 1
    assert f"already runs from {running.data_dir}, at {running.url}" in ended.stderr
    assert running.answer("/healthz") == 200


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_leaves_nothing_behind(stopped: Started, number: signal.Signals) -> None:
    stopped.start()
    began = time.monotonic()
    stopped.process.send_signal(number)
    assert stopped.stop() == 0  # which presses Ctrl-C once more
    took_s = time.monotonic() - began
    assert not stopped.processes()
    assert not stopped.answer("/healthz")
    assert "Everything has stopped." in stopped.text
    left = {path.name for path in (stopped.data_dir / "run").iterdir()}
    assert left == {"start.lock", "start.env"}
    print(f"stopped in {took_s:.1f} s")
    assert took_s < 15


@pytest.mark.processes
def test_a_second_start_is_quick_and_keeps_what_there_was(stopped: Started) -> None:
    stopped.start()
    stopped.stop()
    keys = (stopped.data_dir / "keys.json").read_bytes()
    stopped.lines = []
    began = time.monotonic()
    stopped.start()
    print(f"second start: {time.monotonic() - began:.1f} s")
    stopped.stop()
    assert (stopped.data_dir / "keys.json").read_bytes() == keys


@pytest.mark.processes
def test_a_killed_start_takes_everything_with_it(stopped: Started) -> None:
    stopped.start()
    stopped.kill()
    eventually(lambda: not stopped.processes())


@pytest.mark.processes
def test_a_killed_start_can_be_started_again_at_once(stopped: Started) -> None:
    stopped.start()
    stopped.kill()
    stopped.lines = []
    stopped.start()
    assert stopped.answer("/healthz") == 200
    assert stopped.stop() == 0
    assert not stopped.processes()


@pytest.mark.processes
def test_orphans_of_a_killed_start_are_ended_by_the_next_start(stopped: Started) -> None:
    stopped.start()
    orphans = stopped.processes()
    for orphan in orphans:
        orphan.suspend()  # it cannot even notice that it is alone
    stopped.kill()
    assert len(stopped.processes()) == len(orphans) > 3
    stopped.lines = []
    stopped.start()
    assert "Stopped what an earlier start had left behind." in stopped.text
    assert not any(one.is_running() for one in orphans)
    stopped.stop()


@pytest.mark.processes
def test_a_start_under_make_ends_with_make(stopped: Started) -> None:
    # make itself is killed: what it had started would else keep the port
    command = [sys.executable, "manage.py", "start", "--demo", "--stop-with-parent"]
    command += ["--port", str(stopped.port), "--cloud-port", str(stopped.cloud_port)]
    command += ["--data-dir", str(stopped.data_dir)]
    caller = subprocess.Popen(
        ["sh", "-c", '"$@"; exit 3', "sh", *command],
        cwd=ROOT,
        env=stopped.environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    eventually(lambda: stopped.answer("/healthz") == 200, 60)
    starter = psutil.Process(caller.pid).children()[0]
    caller.kill()
    caller.wait()
    eventually(lambda: not starter.is_running() or starter.status() == psutil.STATUS_ZOMBIE)
    eventually(lambda: not stopped.processes())


@pytest.mark.processes
def test_a_first_start_for_real_hubs_prints_the_way_in(tmp_path: Path) -> None:
    product = Started(tmp_path / "home", demo=False, has_tables=False)
    with product:
        found = re.search(rf"{product.url}/welcome/(\S+)/", product.text)
        assert found
        assert product.answer(f"/welcome/{found[1]}/") == 200
        assert demo.PASSWORD not in Browser(product.url).get("/account/login/").text
        assert not product.processes("cloud")
    assert not product.processes()


@pytest.mark.processes
def test_a_database_that_is_away_is_one_sentence(tmp_path: Path) -> None:
    product = Started(tmp_path / "home", demo=False)
    product.environment["DATABASE_URL"] = f"postgres://nobody@127.0.0.1:{free_port()}/nothing"
    ended = product.begin()
    assert ended.returncode == 1
    assert ended.stderr.startswith("The database does not answer (")
    assert "Traceback" not in ended.stderr
    assert not product.processes()


@pytest.mark.processes
def test_a_redis_that_is_away_is_one_sentence(tmp_path: Path) -> None:
    product = Started(tmp_path / "home", demo=False)
    product.environment["REDIS_URL"] = f"redis://127.0.0.1:{free_port()}/0"
    ended = product.begin()
    assert ended.returncode == 1
    assert ended.stderr.startswith("Redis does not answer (")
    assert "Traceback" not in ended.stderr
