"""From a press in Home Assistant to proof, through the product's real processes: web server,
worker, bridge, simulated cloud, a Mosquitto broker, and a second client that presses.
"""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from devices.server import orphans
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.product import ROOT, Product

pytestmark = pytest.mark.processes


@pytest.fixture
def product(tmp_path: Path, broker: Mosquitto) -> Iterator[Product]:
    with Product(tmp_path / "demo", mqtt_url=broker.url) as started:
        yield started


NAME_A_BROKER = """
from devices.homeassistant.settings import set_broker_url
from devices.models import HomeAssistantLink, Household
link = HomeAssistantLink(household=Household.objects.get(name="Garden house"), is_on=True)
set_broker_url(link, "{url}")
link.save()
"""


def test_the_bridge_starts_once_a_household_names_a_broker(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with Product(tmp_path / "demo") as started, Listener(broker.port) as ear:
        run_folder = started.data_dir.resolve() / "run"
        assert not orphans.find(run_folder, "homeassistant")
        inside = orphans.find(run_folder, "web")[0].environ()
        command = [sys.executable, "manage.py", "shell", "--no-imports", "-c"]
        code = NAME_A_BROKER.format(url=broker.url)
        subprocess.run([*command, code], cwd=ROOT, env=inside, check=True, timeout=60)
        ear.wait(lambda: len(ear.hubs()) == 7, limit_s=60)
        assert orphans.find(run_folder, "homeassistant")


class Seen:
    """What the second client knows, by hub."""

    def __init__(self, ear: Listener) -> None:
        self.ear = ear

    def configs(self) -> dict[str, Any]:
        topics = self.ear.hubs()
        return {
            topic: self.ear.read(topic) for topic in topics if topic.startswith("homeassistant/")
        }

    def offered(self) -> list[dict[str, Any]]:
        """Return the update components of hubs with something to install."""
        parts = [config["components"]["update"] for config in self.configs().values()]
        states = [(part, self.ear.read(part["state_topic"])) for part in parts]
        return [
            part
            for part, state in states
            if state
            and state.get("latest_version") != state.get("installed_version")
            and not state["in_progress"]
        ]

    def read(self, part: dict[str, Any], name: str) -> Any:
        return self.ear.read(part["state_topic"].replace("/update", f"/{name}"))


def test_a_press_in_home_assistant_ends_verified(product: Product, broker: Mosquitto) -> None:
    with Listener(broker.port) as ear:
        seen = Seen(ear)
        ear.wait(lambda: len(seen.configs()) == 7 and seen.offered(), limit_s=90)
        part = next(one for one in seen.offered() if _is_calm(product, seen, one))
        before = ear.read(part["state_topic"])
        ear.say(part["command_topic"], part["payload_install"])
        ear.wait(lambda: ear.read(part["state_topic"])["in_progress"])
        ear.wait(lambda: ear.read(part["state_topic"])["update_percentage"], limit_s=120)
        ear.wait(
            lambda: seen.read(part, "verdict")["about"].get("state") == "verified", limit_s=240
        )
        after = ear.read(part["state_topic"])
        assert after["installed_version"] == before["latest_version"]
        assert not after["in_progress"]
        assert seen.read(part, "verdict")["state"] == "Verified"
        assert seen.read(part, "facts")["available"] == "OFF"
        # the same press again is refused, and says so
        ear.say(part["command_topic"], part["payload_install"])
        ear.wait(lambda: seen.read(part, "refusal")["about"]["code"] == "already_used")

        _kill_the_bridge(product, seen)


def _is_calm(product: Product, seen: Seen, part: dict[str, Any]) -> bool:
    """Is the hub behind the entity online and unused? Then let it install without trouble."""
    name = next(
        config["device"]["name"]
        for config in seen.configs().values()
        if config["components"]["update"] == part
    )
    name = name.removesuffix(" (simulated)")
    hub = _control(product, "GET", quote(name))
    if not hub["online"] or hub["running_repellent"]:
        return False
    _control(product, "PUT", f"{quote(name)}/scenario", {"name": "percent", "step": 10})
    return True


def _control(product: Product, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        f"{product.cloud_url}/control/hubs/{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def _kill_the_bridge(product: Product, seen: Seen) -> None:
    """kill -9: Home Assistant sees it go and come back, and the start says so."""
    status = next(topic for topic in seen.ear.topics("/status"))
    bridge = orphans.find(product.data_dir.resolve() / "run", "homeassistant")
    assert len(bridge) == 1
    bridge[0].send_signal(signal.SIGKILL)
    psutil.wait_procs(bridge, timeout=10)
    seen.ear.wait(lambda: seen.ear.heard[status] == b"offline")
    seen.ear.wait(lambda: seen.ear.heard[status] == b"online", limit_s=60)
    words = "bridge to Home Assistant had stopped"
    seen.ear.wait(lambda: any(re.search(words, line) for line in product.lines), limit_s=30)
