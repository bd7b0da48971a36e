"""A start whose processes can be counted and killed."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection

import psutil

from devices.server import orphans as server_orphans
from tests.support.product import ROOT, Product


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
        return "".join(self.lines)

    def processes(self, program: str = "") -> list[psutil.Process]:
        return server_orphans.find(self.data_dir.resolve() / "run", program)

    def main_process(self, program: str) -> psutil.Process:
        """Return the process of a program that the start itself forked."""
        of_program = self.processes(program)
        pids = {process.pid for process in of_program}
        return next(process for process in of_program if process.ppid() not in pids)

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
        server_orphans.sweep(self.data_dir.resolve() / "run")


def under_host_name(name: str) -> tuple[str, ...]:
    """Return what a start runs under to have a host name of its own; nothing without unshare."""
    if shutil.which("unshare") is None:
        return ()
    rights = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ("unshare", "--uts", *rights, "sh", "-c", f'hostname {name} && exec "$@"', "sh")


def eventually(
    is_true: Callable[[], object], limit_s: float = 30, says: Callable[[], str] = str
) -> None:
    """Return as soon as it is true; fail when it does not come true in time."""
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, f"not true within {limit_s} s\n{says()}"
        time.sleep(0.05)
