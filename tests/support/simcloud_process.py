"""The simulated cloud as a real process, for tests that want real HTTP.

    with SimCloud(hubs=5, users=["a@example.com:pw"]) as cloud:
        cloud.set_scenario(0, "percent", step=10)
        ...point a client at cloud.url...
        cloud.advance(300)
        assert cloud.pushes(node_id) == {"accepted": 1}

Hubs are named by node id, index or name wherever one is asked for. The whole control API is
described in devices/simcloud/control.py.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

REPOSITORY = Path(__file__).resolve().parents[2]
EMAIL, PASSWORD = "porch@example.com", "fireflies"
_START_LIMIT_S = 30.0


class SimCloud:
    """Starts on construction, on a port of its own; stop with `stop()` or a `with` block."""

    def __init__(
        self,
        *,
        hubs: int = 8,
        seed: int = 1,
        users: Sequence[str] = (),
        offers: float | None = None,
        speed: float = 1.0,
        token_life_s: float | None = None,
        latency_ms: float = 0,
        dialect: str = "real",
        scenarios: Sequence[str] = (),
        state: bool = True,
        arguments: Sequence[str] = (),
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="simcloud-")
        self.state_file = Path(self._directory.name) / "state.sqlite3"
        self._arguments = [f"--hubs={hubs}", f"--seed={seed}", f"--speed={speed}"]
        self._arguments += [f"--latency-ms={latency_ms}", f"--dialect={dialect}"]
        self._arguments += [f"--user={user}" for user in users]
        self._arguments += [f"--scenario={scenario}" for scenario in scenarios]
        if offers is not None:
            self._arguments.append(f"--offers={offers}")
        if token_life_s is not None:
            self._arguments.append(f"--token-life-s={token_life_s}")
        if state:
            self._arguments.append(f"--state={self.state_file}")
        self._arguments += arguments
        self.email, self.password = (users[0] if users else f"{EMAIL}:{PASSWORD}").split(":")[:2]
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.start()

    # The process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; on the port it had, if it had one."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "devices.simcloud", f"--port={self.port}", *self._arguments],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self._first_line()
        found = re.search(r"http://\S+:(\d+)", line)
        if found is None:
            self.process.kill()
            _, errors = self.process.communicate()
            raise RuntimeError(f"the simulated cloud did not start: {line!r} {errors}")
        self.port = int(found[1])

    def _first_line(self) -> str:
        assert self.process
        assert self.process.stdout
        lines: queue.Queue[str] = queue.Queue()
        out = self.process.stdout
        threading.Thread(target=lambda: lines.put(out.readline()), daemon=True).start()
        try:
            return lines.get(timeout=_START_LIMIT_S)
        except queue.Empty:
            return ""

    def stop(self) -> int:
        """Ask it to end, wait, and clear up; its exit code."""
        code = self._end(signal.SIGTERM)
        self._directory.cleanup()
        return code

    def kill(self) -> None:
        """kill -9; `start()` brings it back with what it had saved."""
        self._end(signal.SIGKILL)

    def restart(self, *, hard: bool = False) -> None:
        """End it (kill -9 if `hard`) and start it again on the same port and state."""
        self._end(signal.SIGKILL if hard else signal.SIGTERM)
        self.start()

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        code, self.process = self.process.returncode, None
        return code

    def __enter__(self) -> SimCloud:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    # Control

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """One control request; raises ValueError with the problem that the cloud reports."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/control/{path.removeprefix('/control/').lstrip('/')}",
            data,
            {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(error.read().decode()) from error

    def _on_hub(self, method: str, hub: str | int, action: str, body: Any = None) -> Any:
        return self.control(method, f"hubs/{quote(str(hub))}/{action}".rstrip("/"), body)

    def hubs(self) -> list[dict[str, Any]]:
        """Every hub with the truth about it, in order of index."""
        return list(self.control("GET", "hubs")["hubs"])

    def hub(self, hub: str | int) -> dict[str, Any]:
        """One hub, with its timeline so far."""
        return dict(self._on_hub("GET", hub, ""))

    def node_ids(self) -> list[str]:
        return [hub["node_id"] for hub in self.hubs()]

    def set_scenario(self, hub: str | int, name: str, **params: Any) -> Any:
        return self._on_hub("PUT", hub, "scenario", {"name": name, **params})

    def set_online(self, hub: str | int, online: bool) -> Any:
        return self._on_hub("PUT", hub, "online", {"online": online})

    def set_repellent(self, hub: str | int, on: bool) -> Any:
        return self._on_hub("PUT", hub, "repellent", {"on": on})

    def set_params(self, hub: str | int, **params: Any) -> Any:
        """Params of the LIV Hub device, unchecked and read-only ones too."""
        return self._on_hub("PUT", hub, "params", {"LIV Hub": params})

    def publish_offer(self, hub: str | int, **offer: Any) -> dict[str, Any]:
        """Publish a job; returns the offer as the cloud now makes it."""
        return dict(self._on_hub("POST", hub, "offer", offer)["offer"])

    def swap_offer(self, hub: str | int, **offer: Any) -> dict[str, Any]:
        return dict(self._on_hub("PUT", hub, "offer", offer)["offer"])

    def withdraw_offer(self, hub: str | int) -> None:
        self._on_hub("DELETE", hub, "offer")

    def share(self, hub: str | int, email: str) -> None:
        self._on_hub("POST", hub, "share", {"email": email})

    def unshare(self, hub: str | int, email: str) -> None:
        self._on_hub("DELETE", hub, "share", {"email": email})

    def add_account(self, email: str, password: str, nodes: Sequence[str | int] = ()) -> Any:
        body = {"email": email, "password": password, "nodes": [str(node) for node in nodes]}
        return self.control("POST", "accounts", body)

    def revoke_tokens(self, email: str | None = None) -> None:
        self.control("POST", "tokens/revoke", {"email": email} if email else {})

    def fault(self, kind: str, **fault: Any) -> int:
        """Set a fault (devices/simcloud/faults.py); returns its id for `clear_faults`."""
        return int(self.control("POST", "faults", {"kind": kind, **fault})["id"])

    def clear_faults(self, fault_id: int | None = None) -> None:
        self.control("DELETE", "faults" + (f"?id={fault_id}" if fault_id else ""))

    def counters(self) -> dict[str, Any]:
        """{"requests", "answers", "nodes", "pushes", "starts", "courses"}."""
        return dict(self.control("GET", "counters"))

    def reset_counters(self) -> None:
        self.control("DELETE", "counters")

    def pushes(self, node_id: str, job_id: str | None = None) -> dict[str, int]:
        """{outcome: how often} of the pushes of a job, or of all jobs, to a node."""
        jobs = self.counters()["pushes"].get(node_id, {})
        chosen = [jobs.get(job_id, {})] if job_id else list(jobs.values())
        totals: dict[str, int] = {}
        for outcomes in chosen:
            for outcome, count in outcomes.items():
                totals[outcome] = totals.get(outcome, 0) + count
        return totals

    def starts(self, node_id: str, job_id: str | None = None) -> int:
        """How often the hub itself began an install."""
        jobs = self.counters()["starts"].get(node_id, {})
        return jobs.get(job_id, 0) if job_id else sum(jobs.values())

    def advance(self, seconds: float) -> None:
        """Jump ahead: hubs, timestamps and tokens alike."""
        self.control("POST", "clock", {"advance_s": seconds})

    def set_speed(self, speed: float) -> None:
        self.control("POST", "clock", {"speed": speed})
