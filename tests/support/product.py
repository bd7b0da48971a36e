"""The whole product as real processes: web server, worker, and the demo's simulated cloud."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Self

import requests

from tests.support import prepared

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 90
KEPT = ("PATH", "HOME", "LANG", "CI", "WEB_PROCESSES")
LOWEST_PORT, PORTS_PER_RUNNER = 20000, 1500
RUNNER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8
_turn = count(random.randrange(PORTS_PER_RUNNER))


def free_port() -> int:
    """Return a free port that the system gives to no other program: below those that Linux
    gives to outgoing connections, and another one for each runner.
    """
    first = LOWEST_PORT + RUNNER * PORTS_PER_RUNNER
    while True:
        port = first + next(_turn) % PORTS_PER_RUNNER
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Product:
    """`manage.py start --demo` in a folder of its own; a context manager.

    Unless has_tables is false, a first start finds a new SQLite database with tables.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        demo: bool = True,
        mqtt_url: str = "",
        only: str = "",
        has_tables: bool = True,
    ) -> None:
        self.data_dir = data_dir
        self.has_tables = has_tables
        self.port = port or free_port()
        self.cloud_port = free_port()
        self.demo = demo
        self.mqtt_url = mqtt_url
        self.only = only
        self.root = ROOT
        """The folder of the program."""
        self.python = sys.executable
        self.lines: list[str] = []
        self.under: tuple[str, ...] = ()
        """What the start runs under, such as a machine of another name."""
        self.environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.environment |= {"ENV_FILE": ""}
        if not demo:
            self.environment |= {"DATA_DIR": str(data_dir)}

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def cloud_url(self) -> str:
        return f"http://127.0.0.1:{self.cloud_port}"

    def start(self) -> Self:
        """Start it and return once it says that it is running; raises AssertionError with what
        it printed instead.
        """
        is_new = not (self.data_dir / prepared.SQLITE).exists()
        if self.has_tables and is_new and not self.environment.get("DATABASE_URL"):
            prepared.lay({"DATA_DIR": str(self.data_dir)})
        words = ["--demo", "--data-dir", str(self.data_dir)] if self.demo else []
        if self.demo:
            words += ["--cloud-port", str(self.cloud_port)]
            words += ["--mqtt", self.mqtt_url] if self.mqtt_url else []
        words += ["--only", self.only] if self.only else []
        self.process = subprocess.Popen(
            [*self.under, self.python, "manage.py", "start", "--port", str(self.port), *words],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        running = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(running,), daemon=True)
        self._reader.start()
        running.wait(START_LIMIT_S)
        assert any("Ctrl-C stops everything" in line for line in self.lines), "".join(self.lines)
        return self

    def _read(self, running: threading.Event) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if "Ctrl-C stops everything" in line:
                running.set()
        running.set()

    def stop(self) -> int:
        """Press Ctrl-C; return the exit status."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        status = self.process.wait(60)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Browser:
    """A person's browser without scripts: cookies, and the token of each form."""

    def __init__(self, url: str) -> None:
        self.url, self.session = url, requests.Session()
        self.session.trust_env = False

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=60, **options)

    def post(self, path: str, page: str = "", **fields: str) -> requests.Response:
        """Open the page, fill in its form and send it; the page itself when that is refused."""
        opened = self.get(page or path)
        if opened.status_code == 503:
            return opened
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', opened.text)
        agreed = re.search(r'name="agreed" value="([^"]+)"', opened.text)
        fields |= {"csrfmiddlewaretoken": token[1] if token else ""}
        fields |= {"agreed": agreed[1]} if agreed and "agreed" not in fields else {}
        return self.session.post(self.url + path, fields, timeout=60)

    @property
    def session_seal(self) -> str:
        """Return the part of the session's cookie that is nowhere else."""
        return (self.session.cookies.get("sessionid", "") or "").rpartition(":")[2]
