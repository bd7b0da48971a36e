"""One installation under attack: the product's real processes, beside a simulated cloud of its own.

Everything runs as `manage.py start` runs it. Whatever dies is brought back by the product itself;
only a whole power cut, and the cloud, which is not ours, are started again from here.
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
from typing import Any

import psutil
import requests

from devices.launch import leftovers
from devices.launch.cluster import LocalCluster
from tests import prepared
from tests.chaos.tables import Tables
from tests.product import ROOT, Product
from tests.simcloud_process import SimCloud
from tests.terminal import CLOUD_PASSWORD, PASSWORD

DISK_MB = 192
CLOCK = Path(__file__).parent / "clock"


class Installation(Product):
    """Households with hubs, ready to be attacked. A context manager."""

    def __init__(
        self, folder: Path, *, homes: int, hubs: int, pace: float, database_url: str, broken: str
    ) -> None:
        super().__init__(folder / "data", demo=False)
        self.homes, self.hubs = homes, hubs
        self.lock = threading.RLock()  # of starting and stopping
        self.clock_file = folder / "clock"
        self.off_s = 0.0
        self.data_dir.mkdir()
        self.is_small_disk = _mount(self.data_dir)
        users = [f"{self.cloud_email(home)}:{CLOUD_PASSWORD}:{hubs}" for home in range(homes)]
        self.cloud = SimCloud(hubs=homes * hubs, speed=pace, offers=0, users=users)
        self.environment |= {
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "PYTHONPATH": os.pathsep.join([str(CLOCK), str(ROOT)]),
            "CHAOS_CLOCK": str(self.clock_file),
            "CHAOS_BROKEN": broken,
            "DEFAULT_CLOUD_URL": self.cloud.url,
            "ALLOWED_CLOUDS": "loopback",
            "ENGINE_PACE": str(pace),
            "DATABASE_URL": database_url,
            "CLUSTER_NAME": f"chaos-{os.getpid()}",
            # hours pass at a stroke when the clock is set: people stay signed in all the same
            "SESSION_IDLE_HOURS": "2000",
            "SESSION_DAYS": "365",
        }
        if not database_url:
            del self.environment["DATABASE_URL"]
        self.tables = Tables(database_url or str(self.data_dir / "db.sqlite3"))
        self.cluster = LocalCluster(self.run_folder)

    @property
    def run_folder(self) -> Path:
        return self.data_dir.resolve() / "run"

    def cloud_email(self, home: int) -> str:
        return f"garden{home}@example.com"

    def owner(self, home: int) -> str:
        return f"owner{home}@example.com"

    def manage(self, *words: str, typed: str = "") -> str:
        """Run a command of the product to its end; return what it says."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def set_up(self) -> None:
        """Make the tables, the households, their people and their accounts, and start."""
        prepared.lay(self.environment)
        for home in range(self.homes):
            name = f"House {home}"
            create = ("household", "create", name, "--owner", self.owner(home))
            self.manage(*create, typed=f"{PASSWORD}\n")
            link = ("cloud_account", "link", "--email", self.cloud_email(home))
            acting = ("--as", self.owner(home), "--household", name)
            self.manage(*link, *acting, typed=f"{CLOUD_PASSWORD}\n")
        self.start()

    # Processes

    def family(self) -> list[psutil.Process]:
        """Return the cluster's processes: main, sentinel, then workers, monitor and pusher."""
        with suppress(psutil.Error):
            if (pid := self.cluster.main_pid()) is not None:
                main = psutil.Process(pid)
                return [main, *main.children(recursive=True)]
        return []

    def of(self, program: str = "") -> list[psutil.Process]:
        return leftovers.find(self.run_folder, program)

    def cut_power(self) -> int:
        """kill -9 everything at once, as a power cut does; return how many processes that were."""
        with self.lock:
            everything = [psutil.Process(self.process.pid), *self.of()]
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
                self.said.clear()
                self.start()

    # Time and disk

    def set_clock(self, off_s: float) -> None:
        self.off_s = off_s
        draft = self.clock_file.with_suffix(".new")
        draft.write_text(str(off_s))
        draft.replace(self.clock_file)

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Hold every process of the product, as a laptop's sleep does."""
        held = [psutil.Process(self.process.pid), *self.of()]
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

    # Life

    def __enter__(self) -> "Installation":
        self.set_up()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):
            self.stop()
        leftovers.sweep(self.run_folder)
        self.cloud.stop()
        if self.is_small_disk:
            subprocess.run(["umount", "--lazy", str(self.data_dir)], check=False)

    def readiness(self) -> tuple[int, Any]:
        """Return the status and the body of /readyz; (0, None) while nobody answers."""
        try:
            answer = requests.get(f"{self.url}/readyz", timeout=10)
            return answer.status_code, answer.text
        except requests.RequestException:
            return 0, None

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
