"""One host of the installation under attack: a start of its own in a data folder of its own.

Everything runs as `manage.py start` runs it. Whatever dies is brought back by the product itself;
only a host that lost its power is started again from here.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import psutil
import requests

from devices.server import orphans
from devices.server.worker_process import LocalCluster
from tests.support.line import Line
from tests.support.product import ROOT, Product
from tests.support.started import under_host_name

DISK_MB = 192
CLOCK = Path(__file__).parent / "clock"


class Host(Product):
    """Its clock, disk, processes and database connection may be harmed.

    name: its host name, for one of several; "" leaves it the name that the machine has.
    """

    def __init__(
        self, folder: Path, shared: dict[str, str], *, name: str = "", line: Line | None = None
    ) -> None:
        super().__init__(folder / "data", demo=False)
        self.name = name
        self.line = line
        self.lock = threading.RLock()  # of starting and stopping
        self.clock_file = folder / "clock"
        self.off_s = 0.0
        self.data_dir.mkdir(parents=True)
        self.is_small_disk = _mount(self.data_dir)
        self.environment |= shared | {"CHAOS_CLOCK": str(self.clock_file)}
        self.under = under_host_name(name) if name else ()
        self.runs(ROOT)
        self.cluster = LocalCluster(self.run_folder)

    def runs(self, root: Path, python: str = sys.executable) -> None:
        """Let it run the program in this folder from its next start on, by this Python."""
        self.root, self.python = root, python
        self.environment["PYTHONPATH"] = os.pathsep.join([str(CLOCK), str(root)])

    @property
    def run_folder(self) -> Path:
        return self.data_dir.resolve() / "run"

    def manage(self, *words: str, typed: str = "") -> str:
        """Run a command of the product to its end; return what it says."""
        done = self.try_to_manage(*words, typed=typed)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def try_to_manage(
        self, *words: str, typed: str = "", **other: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of the product to its end, with other settings if given."""
        return subprocess.run(
            [self.python, "manage.py", *words],
            cwd=self.root,
            env=self.environment | other,
            input=typed,
            capture_output=True,
            text=True,
            timeout=300,
        )

    # Processes

    def family(self) -> list[psutil.Process]:
        """Return the worker's processes: the main one; of a cluster also its sentinel, then its
        workers, monitor and pusher.
        """
        with suppress(psutil.Error):
            if (pid := self.cluster.main_pid()) is not None:
                main = psutil.Process(pid)
                return [main, *main.children(recursive=True)]
        return []

    def of(self, program: str = "") -> list[psutil.Process]:
        return orphans.find(self.run_folder, program)

    def everything(self) -> list[psutil.Process]:
        """Return the start itself and all that it started."""
        return [psutil.Process(self.process.pid), *self.of()]

    def cut_power(self) -> int:
        """kill -9 everything at once, as a power cut does; return how many processes that were."""
        with self.lock:
            everything = self.everything()
            for process in everything:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(everything, timeout=10)
            self._forget()
        return len(everything)

    def kill_the_start(self) -> int:
        """kill -9 `manage.py start` alone: what it started must not outlive it for long."""
        with self.lock:
            self.process.kill()
            self._forget()
        return 1

    def _forget(self) -> None:
        self.process.wait(10)
        self._reader.join(20)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def start_again(self) -> None:
        with self.lock:
            if self.process.poll() is not None:
                self.lines.clear()
                self.start()

    def clear(self) -> None:
        """Stop it, and leave nothing behind."""
        with suppress(Exception):
            self.stop()
        orphans.sweep(self.run_folder)
        if self.is_small_disk:
            subprocess.run(["umount", "--lazy", str(self.data_dir)], check=False)

    # Time and disk

    def set_clock(self, off_s: float) -> None:
        self.off_s = off_s
        draft = self.clock_file.with_suffix(".new")
        draft.write_text(str(off_s))
        draft.replace(self.clock_file)

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Hold every process of the product, as a laptop's sleep does."""
        held = self.everything()
        for process in held:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in held:
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Leave no room where the product keeps its data."""
        ballast = self.data_dir / "ballast"
        try:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(65_536))
            yield
        finally:
            ballast.unlink(missing_ok=True)

    # What it says of itself

    def readiness(self) -> tuple[int, str]:
        """Return the status and the body of /readyz; (0, "") while the server does not answer."""
        try:
            answer = requests.get(f"{self.url}/readyz", timeout=10)
            return answer.status_code, answer.text
        except requests.RequestException:
            return 0, ""

    def wait_until_ready(self, limit_s: float) -> bool:
        until = monotonic() + limit_s
        while self.readiness()[0] != 200:
            if monotonic() > until:
                return False
            sleep(0.5)
        return True


def _mount(folder: Path) -> bool:
    """Give the folder a small file system of its own, where that is allowed (Linux, root)."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    size = ["-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=700", "chaos"]
    return subprocess.run(["mount", *size, str(folder)], capture_output=True).returncode == 0
