"""A real Home Assistant Core: installs it, starts it, signs in, calls its API.

It lives in an environment and a folder of its own and never in the product's. The versions that
its default integrations would fetch at run time are those of its own constraints.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import requests
import yaml

from tests.support.product import free_port

VERSION = os.environ.get("HOMEASSISTANT_VERSION", "2025.4.4")
# What it would fetch when it starts: the requirements of these integrations, of all that they need,
# and of its sign-in. pycares 5 breaks its DNS.
INTEGRATIONS = ("api", "automation", "config", "frontend", "history", "logger", "mqtt", "rest")
ALSO = ("pycares<5", *("PyTurboJPEG", "hassil", "home-assistant-intents", "numpy"))
REQUIREMENTS = """
import json, sys
from pathlib import Path
import homeassistant
from homeassistant import bootstrap
from homeassistant.auth.mfa_modules import totp
from homeassistant.scripts import check_config
found, waiting = {}, {*sys.argv[1:], *bootstrap.CORE_INTEGRATIONS, *bootstrap.DEFAULT_INTEGRATIONS}
while waiting:
    name = waiting.pop()
    path = Path(homeassistant.__file__).parent / "components" / name / "manifest.json"
    found[name] = json.loads(path.read_text()) if path.exists() else {}
    needed = found[name].get("dependencies", []) + found[name].get("after_dependencies", [])
    waiting |= {*needed} - found.keys() if name not in {"cloud", "stream"} else set()
wanted = {r for one in found.values() for r in one.get("requirements", [])}
print(json.dumps(sorted(wanted | {*totp.REQUIREMENTS, *check_config.REQUIREMENTS})))
"""
USER, PASSWORD = "porch", "fireflies-at-dusk"
START_LIMIT_S = 240
ASK = """
import asyncio, json, os, sys, aiohttp

async def main(url, command):
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url + "/api/websocket", max_msg_size=0) as socket:
            await socket.receive_json()
            await socket.send_json({"type": "auth", "access_token": os.environ["TOKEN"]})
            assert (await socket.receive_json())["type"] == "auth_ok"
            await socket.send_json(command)
            answer = await socket.receive_json()
            assert answer["success"], answer
            print(json.dumps(answer["result"]))

asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
"""
CONFIGURATION: dict[str, Any] = {
    "homeassistant": {
        "name": "Garden house",
        "unit_system": "metric",
        "time_zone": "Europe/Berlin",
        "country": "DE",
    },
    "api": None,
    "config": None,
    "frontend": None,
    "history": None,
    "recorder": None,
    "logger": {"default": "warning", "logs": {"homeassistant.components.mqtt": "info"}},
}


class Secret(str):
    """A value that stands in secrets.yaml."""


def _keep_secret(_loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Secret:
    return Secret(node.value)


yaml.SafeLoader.add_constructor("!secret", _keep_secret)


def find_python() -> str:
    """Return a Python that this version of Home Assistant accepts; exits with a sentence."""
    names = [os.environ.get("HOMEASSISTANT_PYTHON", ""), "python3.13"]
    pyenv = Path("~/.pyenv/versions").expanduser().glob("3.13.*/bin/python")
    for candidate in [*filter(None, map(shutil.which, names)), *map(str, sorted(pyenv))]:
        if _is_313(candidate):
            return candidate
    sys.exit(
        f"Home Assistant {VERSION} needs Python 3.13: install it, or name it in "
        "HOMEASSISTANT_PYTHON."
    )


def _is_313(python: str) -> bool:
    asked = [python, "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 13))"]
    return subprocess.run(asked, check=False, capture_output=True).returncode == 0


def install(folder: Path) -> Path:
    """Return the environment with Home Assistant in it; made when it is missing (minutes)."""
    environment = folder / f"homeassistant-{VERSION}"
    done = environment / ".installed"
    if done.exists():
        return environment
    print(f"Installing Home Assistant {VERSION} (a few minutes)…", flush=True)
    shutil.rmtree(environment, ignore_errors=True)
    subprocess.run([find_python(), "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"homeassistant=={VERSION}", "pycares<5"], check=True)
    constraints = next(
        environment.glob("lib/*/site-packages/homeassistant/package_constraints.txt")
    )
    python = str(environment / "bin" / "python")
    found = subprocess.run(
        [python, "-c", REQUIREMENTS, *INTEGRATIONS], check=True, capture_output=True, text=True
    )
    subprocess.run([*pip, "-c", str(constraints), *json.loads(found.stdout), *ALSO], check=True)
    done.touch()
    return environment


class HomeAssistant:
    """A running Home Assistant, signed in; a context manager."""

    def __init__(self, environment: Path, folder: Path, **configuration: Any) -> None:
        self.environment, self.folder = environment, folder
        self.port = free_port()
        self.configuration = CONFIGURATION | configuration
        self.configuration["http"] = {"server_host": "127.0.0.1", "server_port": self.port}
        self.session = requests.Session()
        self.session.trust_env = False
        self.process: subprocess.Popen[bytes] | None = None
        self.tokens: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write(self, **more: Any) -> None:
        """Write configuration.yaml with these sections too."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configuration |= more
        text = yaml.safe_dump(self.configuration, sort_keys=False, allow_unicode=True)
        (self.folder / "configuration.yaml").write_text(text)

    def check_config(self) -> str:
        """Return what Home Assistant's own check says about the configuration."""
        command = [self._bin("hass"), "--script", "check_config", "-c", str(self.folder)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=240, check=False, env=self._around()
        )
        return done.stdout + done.stderr

    def start(self) -> None:
        """Start it and return once it answers."""
        command = [self._bin("hass"), "-c", str(self.folder), "--skip-pip-packages", "x"]
        with (self.folder / "stdout.log").open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=self._around())
        until = time.monotonic() + START_LIMIT_S
        while True:
            assert self.process.poll() is None, (self.folder / "stdout.log").read_text()[-3000:]
            try:
                if self.session.get(f"{self.url}/api/onboarding", timeout=5).status_code < 500:
                    return
            except requests.RequestException:
                pass
            log = (self.folder / "stdout.log").read_text()
            assert "failed to initialize" not in log, log[-3000:]
            assert time.monotonic() < until, "Home Assistant did not start in time"
            time.sleep(0.5)

    def onboard(self) -> None:
        """Make the first user through the onboarding API, and sign in."""
        client_id = f"{self.url}/"
        code = self._post(
            "/api/onboarding/users",
            {
                "client_id": client_id,
                "name": "Porch",
                "username": USER,
                "password": PASSWORD,
                "language": "en",
            },
        )["auth_code"]
        self.tokens = self.session.post(
            f"{self.url}/auth/token",
            {"grant_type": "authorization_code", "code": code, "client_id": client_id},
            timeout=30,
        ).json()
        self.session.headers["Authorization"] = f"Bearer {self.tokens['access_token']}"
        self._post("/api/onboarding/core_config", {})
        self._post("/api/onboarding/analytics", {})
        self._post(
            "/api/onboarding/integration", {"client_id": client_id, "redirect_uri": client_id}
        )

    def add_mqtt(self, port: int) -> None:
        """Add the MQTT integration for a broker on this machine, by its config flow."""
        flow = self._post("/api/config/config_entries/flow", {"handler": "mqtt"})
        done = self._post(
            f"/api/config/config_entries/flow/{flow['flow_id']}",
            {"broker": "127.0.0.1", "port": port},
        )
        assert done["type"] == "create_entry", done

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()
        client_id = f"{self.url}/"
        refreshed = self.session.post(
            f"{self.url}/auth/token",
            {
                "grant_type": "refresh_token",
                "refresh_token": self.tokens["refresh_token"],
                "client_id": client_id,
            },
            timeout=30,
        ).json()
        self.tokens |= refreshed
        self.session.headers["Authorization"] = f"Bearer {self.tokens['access_token']}"

    # Its API

    def states(self) -> dict[str, Any]:
        """Return {entity id: state with attributes}."""
        answer = self.session.get(f"{self.url}/api/states", timeout=30)
        answer.raise_for_status()
        return {state["entity_id"]: state for state in answer.json()}

    def call(self, service: str, **data: Any) -> requests.Response:
        """Call a service, such as update.install."""
        domain, name = service.split(".")
        return self.session.post(f"{self.url}/api/services/{domain}/{name}", json=data, timeout=60)

    def ask(self, kind: str, **values: Any) -> Any:
        """Return the result of one command over the websocket, which its own Python speaks."""
        values |= {"id": 1, "type": kind}
        found = [self._bin("python"), "-c", ASK, self.url, json.dumps(values)]
        around = self._around() | {"TOKEN": self.tokens["access_token"]}
        done = subprocess.run(found, capture_output=True, text=True, check=False, env=around)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def devices(self) -> list[dict[str, Any]]:
        return cast(list[dict[str, Any]], self.ask("config/device_registry/list"))

    def entities(self) -> list[dict[str, Any]]:
        return cast(list[dict[str, Any]], self.ask("config/entity_registry/list"))

    def complaints(self) -> list[str]:
        """Return the lines of its log about our topics and entities that are warnings or errors."""
        log = (self.folder / "home-assistant.log").read_text()
        # a traceback belongs to the line above it
        entries = re.split(r"(?m)^(?=\d{4}-\d\d-\d\d \d\d:)", log)
        ours = re.compile(r"thermacell|mqtt|rest\b|hub_\d+|blueprint|automation", re.IGNORECASE)
        return [
            entry.strip()
            for entry in entries
            if re.search(r" (WARNING|ERROR|CRITICAL) ", entry) and ours.search(entry)
        ]

    def wait(
        self, is_true: Callable[[dict[str, Any]], object], what: str, limit_s: float = 60
    ) -> Any:
        """Return what is true of its states, once it is."""
        until = time.monotonic() + limit_s
        while True:
            found = is_true(self.states())
            if found:
                return found
            assert time.monotonic() < until, f"not within {limit_s:.0f} s: {what}"
            time.sleep(0.3)

    def _post(self, path: str, values: Any) -> Any:
        answer = self.session.post(f"{self.url}{path}", json=values, timeout=60)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def _bin(self, name: str) -> str:
        return str(self.environment / "bin" / name)

    def _around(self) -> dict[str, str]:
        path = f"{self.environment / 'bin'}:{os.environ.get('PATH', '')}"
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return kept | {"PATH": path, "NO_PROXY": "127.0.0.1,localhost"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _it: BaseException | None,
        _at: TracebackType | None,
    ) -> None:
        self.stop()
