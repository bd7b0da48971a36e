"""The simulated cloud as a real process for tests."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import requests

ROOT = Path(__file__).resolve().parent.parent


class SimCloud:
    """`python -m devices.simcloud` on a free port; a context manager."""

    def __init__(self, *args: str, port: int = 0) -> None:
        self.args, self.port = args, port
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "devices.simcloud", "--port", str(self.port), *self.args],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.url = line.split(" on ")[1].split()[0]
        self.port = int(self.url.rsplit(":", 1)[1])

    def control(self, method: str, path: str, json: Any = None) -> Any:
        answer = requests.request(method, f"{self.url}/control{path}", json=json, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def counters(self) -> Any:
        return self.control("GET", "/counters")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
