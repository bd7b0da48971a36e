"""A Redis of its own that a test may kill: nothing is kept when it ends."""

import shutil
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep

import redis

from tests.support.product import free_port

START_LIMIT_S = 10


class RedisServer:
    """Starts on construction, on a port of its own; `stop()` ends it for good."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.start()

    @staticmethod
    def is_installed() -> bool:
        return shutil.which("redis-server") is not None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, on the port it had; return once it answers."""
        words = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        self.process = subprocess.Popen(
            ["redis-server", *words], cwd=self.folder, stdout=subprocess.DEVNULL
        )
        until = monotonic() + START_LIMIT_S
        while not self._answers():
            assert monotonic() < until, "redis-server did not start"
            sleep(0.05)

    def kill(self) -> None:
        """kill -9: what it knew is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(10)

    def _answers(self) -> bool:
        try:
            with redis.from_url(self.url, socket_connect_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
