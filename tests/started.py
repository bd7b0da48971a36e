"""The product started as a person starts it: `manage.py start` as a real process."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

import psutil

from devices.launch import leftovers
from tests.services import ROOT

UP = "Ctrl-C stops everything."
LIMIT_S = 90


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def eventually(is_true: Callable[[], object], what: str, limit_s: float = 30) -> None:
    """Return as soon as it is true; fail when it does not come true in time."""
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, f"{what} did not come true within {limit_s} s"
        time.sleep(0.05)


class Started:
    """One `manage.py start`; what it prints is in `output`."""

    def __init__(
        self, data_dir: Path, *options: str, is_demo: bool = True, **variables: str
    ) -> None:
        self.data_dir = data_dir
        self.is_demo = is_demo
        self.port, self.cloud_port = free_ports(2)
        self.options = list(options)
        self.variables = variables
        self.output: list[str] = []
        self.process: subprocess.Popen[str] | None = None

    @property
    def run_folder(self) -> Path:
        return self.data_dir.resolve() / "run"

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def text(self) -> str:
        return "".join(self.output)

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def command(self) -> Sequence[str]:
        command = [sys.executable, "manage.py", "start", "--port", str(self.port)]
        if self.is_demo:
            command += ["--demo", "--data-dir", str(self.data_dir)]
            command += ["--cloud-port", str(self.cloud_port)]
        return [*command, *self.options]

    def environment(self) -> dict[str, str]:
        around = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DJANGO_SETTINGS_MODULE", "DATABASE_URL", "PORT", "BIND", "CLOUD_PORT"}
        }
        return around | {"ENV_FILE": "", "DATA_DIR": str(self.data_dir)} | self.variables

    def begin(self) -> Self:
        """Start it, in a process group of its own, without waiting for it to be up."""
        self.output = []
        self.process = subprocess.Popen(
            self.command(),
            cwd=ROOT,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self

    def up(self) -> Self:
        """Start it and wait until it says that it is up."""
        self.begin()
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        deadline = time.monotonic() + LIMIT_S
        while UP not in self.text:
            try:
                self.output.append(lines.get(timeout=max(0.1, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"not up within {LIMIT_S} s: {self.text}") from None
            assert self.output[-1], f"it ended: {self.text}"
        return self

    def _read(self, lines: "queue.Queue[str]") -> None:
        assert self.process
        assert self.process.stdout
        for line in self.process.stdout:
            lines.put(line)
            if UP in self.text:
                self.output.append(line)
        lines.put("")

    def end(self, number: signal.Signals = signal.SIGINT, *, whole_group: bool = False) -> int:
        """Signal it as a terminal does, wait until it is gone, and return its exit code."""
        assert self.process
        if self.process.poll() is None:
            if whole_group:
                os.killpg(self.pid, number)
            else:
                self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        assert self.process
        code = self.process.wait(LIMIT_S)
        assert self.process.stdout
        return code

    def processes(self, program: str = "") -> list[psutil.Process]:
        """Return what was started from its folder and still runs."""
        return leftovers.find(self.run_folder, program)

    def main_process(self, program: str) -> psutil.Process:
        """Return a program's main process: the one that supervisord started."""
        of_program = self.processes(program)
        pids = {process.pid for process in of_program}
        return next(process for process in of_program if process.ppid() not in pids)

    def get(self, path: str, port: int = 0) -> int:
        """Return the status that the web server (or what is at the port) answers, 0 for none."""
        connection = HTTPConnection("127.0.0.1", port or self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(self, *_: object) -> None:
        self.clean()

    def clean(self) -> None:
        """End everything, whatever state it is in."""
        if self.process is not None:
            if self.process.poll() is None:
                self.end()
            if self.process.stdout:
                self.process.stdout.close()
        leftovers.sweep(self.run_folder)
