"""Starting, staying up and stopping, with real processes as a person meets them."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from devices.launch import CannotStart, demo, leftovers
from devices.launch.ports import read_port, require_free
from devices.launch.supervisor import Program, Supervisor
from devices.management.commands.start import NAMES
from tests.product import ROOT, Product, free_port

# Long enough that a Unix socket no longer fits, and with what shells and configurations trip over.
AWKWARD = "a place with spaces, 'quotes' and a very long name " + "x" * 60


class Started(Product):
    """A start whose processes can be counted and killed."""

    def begin(self) -> subprocess.CompletedProcess[str]:
        """Run a start that is expected to end by itself."""
        words = ["--demo", "--data-dir", str(self.data_dir)] if self.demo else []
        return subprocess.run(
            [sys.executable, "manage.py", "start", "--port", str(self.port), *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def text(self) -> str:
        return "".join(self.said)

    def processes(self, program: str = "") -> list[psutil.Process]:
        return leftovers.find(self.data_dir.resolve() / "run", program)

    def main_process(self, program: str) -> psutil.Process:
        """Return the process of a program that supervisord itself started."""
        of_program = self.processes(program)
        pids = {process.pid for process in of_program}
        return next(process for process in of_program if process.ppid() not in pids)

    def supervisor(self) -> psutil.Process:
        return next(one for one in self.processes() if one.ppid() == self.process.pid)

    def answer(self, path: str, port: int = 0) -> int:
        """Return the status the web server, or what is at the port, answers; 0 for none."""
        with closing(HTTPConnection("127.0.0.1", port or self.port, timeout=5)) as connection:
            try:
                connection.request("GET", path)
                return connection.getresponse().status
            except OSError:
                return 0

    def kill(self) -> None:
        """End the start itself without warning, and nothing else."""
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def clean(self) -> None:
        leftovers.sweep(self.data_dir.resolve() / "run")


def eventually(
    is_true: Callable[[], object], limit_s: float = 30, says: Callable[[], str] = str
) -> None:
    """Return as soon as it is true; fail when it does not come true in time."""
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, f"not true within {limit_s} s\n{says()}"
        time.sleep(0.05)


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


@pytest.mark.processes
def test_every_program_answers_once_the_start_says_so(running: Started) -> None:
    assert running.answer("/healthz") == 200
    assert running.answer("/apiversions", running.cloud_port) == 200
    assert running.main_process("worker").is_running()


@pytest.mark.processes
def test_its_data_is_nobody_elses_to_read(running: Started) -> None:
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
    mains = [one for one in running.processes(program) if one.ppid() == running.supervisor().pid]
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
    stopped.said = []
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
    stopped.said = []
    stopped.start()
    assert stopped.answer("/healthz") == 200
    assert stopped.stop() == 0
    assert not stopped.processes()


@pytest.mark.processes
def test_orphans_of_a_killed_supervisor_are_ended_by_the_next_start(stopped: Started) -> None:
    stopped.start()
    stopped.supervisor().suspend()  # it cannot even notice that it is alone
    orphans = stopped.processes()
    stopped.kill()
    orphans[0].kill()
    assert len(stopped.processes()) > 3
    stopped.said = []
    stopped.start()
    assert "Stopped what an earlier start had left behind." in stopped.text
    assert not any(one.is_running() for one in orphans)
    stopped.stop()


@pytest.mark.processes
def test_a_start_under_make_ends_with_make(stopped: Started) -> None:
    # make itself is killed: whoever it had started would else hold the port for ever
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


@pytest.mark.parametrize("text", ["", "abc", "0", "65536", "-1", "80.5", "８０"])
def test_a_port_is_a_number(text: str) -> None:
    with pytest.raises(CannotStart, match=r"^PORT must be a whole number from 1 to 65535, not "):
        read_port(text, "PORT")


def test_a_port_held_on_every_address_is_taken_here_too() -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))  # noqa: S104 - that is the point
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotStart, match="is taken by"):
            require_free("127.0.0.1", port, name="PORT", example="make run PORT={port}")


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CannotStart, match="BIND must be an address of this machine"):
        require_free("192.0.2.1", free_port(), name="PORT", example="make run PORT={port}")


def test_a_foreign_process_is_never_found(tmp_path: Path) -> None:
    other = {**os.environ, leftovers.MARK: str(tmp_path / "other")}
    with subprocess.Popen(["sleep", "60"], env=other) as foreign:
        eventually(lambda: leftovers.find(tmp_path / "other"))
        assert leftovers.sweep(tmp_path / "run") == 0
        assert foreign.poll() is None
        assert leftovers.sweep(tmp_path / "other") == 1


def demo_environment(around: dict[str, str]) -> dict[str, str]:
    return demo.environment(
        around,
        data_dir=Path("/somewhere/demo"),
        port=8000,
        cloud_port=8001,
        example=ROOT / ".env.example",
    )


def test_nothing_of_the_real_installation_reaches_the_demo() -> None:
    real = {
        "PATH": "/bin",
        "SECRET_KEY": "real",
        "DATABASE_URL": "postgres://real",
        "ENV_FILE": "/etc/real.env",
        "PUBLIC_URL": "https://real.example.org",
        "DEFAULT_CLOUD_URL": "https://api.iot.thermacell.com",
        "EMAIL_URL": "smtp://real",
        "DATA_DIR": "/srv/real",
    }
    environment = demo_environment(real)
    assert environment["PATH"] == "/bin"
    assert not [name for name, value in environment.items() if "real" in value]
    assert environment["DEFAULT_CLOUD_URL"] == "http://127.0.0.1:8001"
    assert demo_environment(environment) == environment


def supervisor(folder: Path, *programs: Program) -> Supervisor:
    return Supervisor(folder / "run", folder / "log", folder, programs)


def test_only_a_programs_main_process_is_asked_to_stop(tmp_path: Path) -> None:
    program = Program("worker", ["sleep", "1"], rank=1, stop_wait_s=3)
    text = supervisor(tmp_path, program).configuration()
    assert "stopasgroup = false" in text
    assert "killasgroup = true" in text
    assert "autorestart = true" in text


@pytest.mark.parametrize("name", ["number #1", "100%", "a ;b"])
def test_a_path_the_configuration_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CannotStart, match="cannot work in a folder whose path holds"):
        supervisor(tmp_path / name).configuration()
