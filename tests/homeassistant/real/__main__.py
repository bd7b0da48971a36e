"""Judge the product by a real Home Assistant: `make homeassistant`, a quarter of an hour.

Starts a Mosquitto, a Home Assistant Core in an environment of its own and a demo of the product,
and looks at what Home Assistant then has: states, registries, log. Pictures of its device page and
update dialog go to var/homeassistant/pictures. Ends with 1 when anything is wrong.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
import yaml

from devices.server import orphans
from tests.homeassistant.real import pictures
from tests.homeassistant.real.core import HomeAssistant, Secret, install
from tests.support.mosquitto import Mosquitto
from tests.support.product import ROOT, Product

FOLDER = ROOT / "var" / "homeassistant"
BLUEPRINTS = ROOT / "docs" / "blueprints"
HOUSEHOLD = (
    "from devices.models import Household; house = Household.objects.get(name='Garden house')"
)
ALLOW = f"""
{HOUSEHOLD}
link = house.home_assistant
link.may_install, link.revision = "{{}}", link.revision + 1
link.save()
"""
CANCEL = """
from django.utils import timezone
from devices.models import Actor, Plan
from devices.planning import planner
for plan in Plan.objects.waiting().loaded():
    user = plan.requested_by
    actor = Actor.person(user, role="owner", via="terminal")
    planner.cancel(plan, user=user, actor=actor, now=timezone.now())
"""
PASTE = f"""
{HOUSEHOLD}
import json
from devices.households import api_tokens
from devices.models import Actor, Node, Role
from devices.models.api_token import Scope
from devices.views.homeassistant_yaml import configuration
owner = house.members.filter(memberships__role=Role.OWNER).first()
nodes = Node.objects.present().filter(account__household=house).order_by("name", "pk")
_, token = api_tokens.make(
    house,
    user=owner,
    name="Home Assistant",
    scope=Scope.INSTALL,
    actor=Actor(name=owner.email, role="owner"),
)
print("PASTE" + json.dumps([configuration(nodes), token]))
"""


class Judge:
    """The product beside Home Assistant, and what was found wrong."""

    def __init__(self, product: Product, broker: Mosquitto, core: HomeAssistant) -> None:
        self.product, self.broker, self.core = product, broker, core
        self.faults: list[str] = []
        self.update = self.token = ""

    def check(self, what: str, check: Callable[[], None]) -> None:
        began = time.monotonic()
        try:
            check()
        except Exception as problem:
            self.faults.append(what)
            print(f"FAULT  {what}: {type(problem).__name__}: {problem}", flush=True)
        else:
            print(f"right  {what} ({time.monotonic() - began:.0f} s)", flush=True)

    # The product

    def shell(self, code: str) -> str:
        """Return what this code prints in the product's own environment."""
        inside = orphans.find(self.product.data_dir.resolve() / "run", "web")[0].environ()
        command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", code]
        done = subprocess.run(
            command, cwd=ROOT, env=inside, check=False, timeout=60, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the simulated cloud's control."""
        request = urllib.request.Request(
            f"{self.product.cloud_url}/control/hubs/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    # Home Assistant

    def state(self, entity_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.core.states()[entity_id]
        return found

    def sibling(self, entity_id: str, component: str) -> str:
        """Return the entity of the same hub for another component."""
        entities = self.core.entities()
        unique = next(one["unique_id"] for one in entities if one["entity_id"] == entity_id)
        wanted = f"{unique.rpartition('_')[0]}_{component}"
        return next(str(one["entity_id"]) for one in entities if one["unique_id"] == wanted)

    def texts(self, entity_id: str) -> None:
        """Raise unless the update entity has title, notes and link."""
        about = self.state(entity_id)["attributes"]
        missing = [
            name for name in ("title", "release_summary", "release_url") if not about.get(name)
        ]
        assert not missing, f"{entity_id} lost {missing}: {about}"

    def offered(self, states: dict[str, Any]) -> list[str]:
        return sorted(
            name
            for name, state in states.items()
            if name.startswith("update.")
            and state["state"] == "on"
            and not state["attributes"].get("in_progress")
        )

    # What is judged

    def hubs_appear(self) -> None:
        self.core.wait(self.offered, "hubs with new firmware", 120)
        devices = [one for one in self.core.devices() if one["manufacturer"] == "Thermacell"]
        assert len(devices) >= 5, [one["name"] for one in devices]
        bridges = [one for one in self.core.devices() if one["manufacturer"] == "Thermacell Web"]
        assert len(bridges) == 1
        assert {one["via_device_id"] for one in devices} == {bridges[0]["id"]}
        assert {one["model"] for one in devices} == {"LIV Hub"}
        assert all(one["name"].endswith("(simulated)") for one in devices)

    def entities_are_apart(self) -> None:
        """Nothing that installs is on an automatic dashboard; what few need is off at first."""
        ours = [one for one in self.core.entities() if one["platform"] == "mqtt"]
        by_part = {one["unique_id"].rpartition("_")[2]: one for one in ours}
        for part in ("install", "update", "when"):
            assert by_part[part]["entity_category"] == "config", part
        off = {one["unique_id"] for one in ours if one["disabled_by"] == "integration"}
        assert {one.rpartition("_")[2] for one in off} == {"use", "signal", "refill"}

    def texts_stay(self) -> None:
        """Title, notes and link survive every announcement."""
        for name in self.offered(self.core.states()):
            self.texts(name)
        name = self.offered(self.core.states())[0]
        for may in ("no", "all"):
            self.shell(ALLOW.format(may))
            self.core.wait(partial(_can_install, name, may == "all"), f"installing is set to {may}")
            self.texts(name)

    def calm(self) -> str:
        """Return an offered update entity of a hub that is online and unused."""
        for name in self.offered(self.core.states()):
            hub = self.state(name)["attributes"]["friendly_name"]
            hub = re.sub(r" \(simulated\).*", "", hub)
            facts = self.control("GET", quote(hub))
            if facts["online"] and not facts["running_repellent"]:
                self.control("PUT", f"{quote(hub)}/scenario", {"name": "percent", "step": 10})
                return name
        raise AssertionError("no hub can be installed on")

    def press_ends_verified(self) -> None:
        self.update = name = self.calm()
        wanted = self.state(name)["attributes"]["latest_version"]
        button = self.sibling(name, "install")
        verdict, events = self.sibling(name, "verdict"), self.sibling(name, "events")
        assert self.state(button)["state"] != "unavailable"
        others = {
            one: state["last_updated"]
            for one, state in self.core.states().items()
            if one in {self.sibling(name, "connectivity"), self.sibling(name, "checked")}
        }
        assert self.core.call("update.install", entity_id=name).ok
        self.core.wait(lambda s: s[name]["attributes"]["in_progress"], "it installs")
        self.texts(name)
        assert self.core.states().keys() >= others.keys()
        self.core.wait(lambda s: s[button]["state"] == "unavailable", "the button is unavailable")
        self.core.wait(lambda s: s[verdict]["state"] == "Verified", "verified", 300)
        after = self.core.wait(
            lambda s: s[name] if s[name]["state"] == "off" else None, "no longer offered"
        )
        assert after["attributes"]["installed_version"] == wanted
        assert self.state(verdict)["attributes"]["options"]
        assert self.state(events)["attributes"]["event_type"] == "verified"

    def press_for_tonight_is_planned(self) -> None:
        """The same press makes a plan when the select says so, and the hub shows it."""
        name = self.calm()
        when, planned = self.sibling(name, "when"), self.sibling(name, "planned")
        assert self.state(when)["state"] == "Now"
        assert self.core.call("select.select_option", entity_id=when, option="Tonight").ok
        self.core.wait(lambda s: s[when]["state"] == "Tonight", "the moment is chosen")
        assert self.core.call("update.install", entity_id=name).ok
        # at night it starts at once
        self.core.wait(
            lambda s: (
                s[planned]["attributes"].get("when") == "tonight"
                or s[name]["attributes"]["in_progress"]
            ),
            "it is planned",
        )
        self.texts(name)
        self.shell(CANCEL)
        self.core.wait(lambda s: s[planned]["state"] == "unknown", "nothing is planned", 300)
        assert self.core.call("select.select_option", entity_id=when, option="Now").ok
        self.core.wait(lambda s: s[when]["state"] == "Now", "a press installs again")

    def refusal_is_seen(self) -> None:
        """A press that is refused fires an event with a reason."""
        name = self.offered(self.core.states())[0]
        hub = re.sub(r" \(simulated\).*", "", self.state(name)["attributes"]["friendly_name"])
        entities = {part: self.sibling(name, part) for part in ("events", "refusal", "install")}
        self.control("PUT", f"{quote(hub)}/online", {"online": False})
        self.core.wait(
            lambda s: s[entities["install"]]["state"] == "unavailable", "offline: no button", 240
        )
        assert self.core.call("update.install", entity_id=name).ok
        self.core.wait(
            lambda s: s[entities["events"]]["attributes"].get("code") == "hub_offline",
            "the event of the refusal",
        )
        assert "offline" in self.state(entities["refusal"])["state"]
        self.texts(name)
        self.control("PUT", f"{quote(hub)}/online", {"online": True})

    def language_follows(self) -> None:
        """A German household reads German."""
        set_language = f"{HOUSEHOLD}\nhouse.language = '{{}}'\nhouse.save()\n"
        name = self.sibling(self.update, "available")
        self.shell(set_language.format("de"))
        self.core.wait(
            lambda s: "verfügbar" in s[name]["attributes"]["friendly_name"], "German names"
        )
        self.texts(self.offered(self.core.states())[0])
        self.shell(set_language.format(""))
        self.core.wait(lambda s: "available" in s[name]["attributes"]["friendly_name"], "English")

    def restart_changes_nothing(self) -> None:
        before = {name: state["state"] for name, state in self.core.states().items()}
        self.core.restart()
        steady = [name for name in before if name.startswith(("update.", "binary_sensor."))]
        self.core.wait(
            lambda states: all(
                states.get(name, {}).get("state") == before[name] for name in steady
            ),
            "the states before the restart",
            120,
        )
        self.texts(self.offered(self.core.states())[0])

    def broker_comes_back(self) -> None:
        name = self.offered(self.core.states())[0]
        self.broker.stop()
        self.core.wait(lambda s: s[name]["state"] == "unavailable", "the broker is missed")
        self.broker.start()
        self.core.wait(lambda s: s[name]["state"] == "on", "the broker is back", 120)
        self.texts(name)

    def yaml_is_accepted(self) -> None:
        """What the page offers to paste is valid, works, and leaves the user's own alone."""
        text, token = self.pasted()
        self.token = token
        ours = yaml.safe_load(text)
        assert isinstance(ours["rest"][0]["headers"]["authorization"], Secret)
        (self.core.folder / "secrets.yaml").write_text(f'thermacell_web: "Bearer {token}"\n')
        # as a person pastes it: beside an entry of their own
        (self.core.folder / "pasted.yaml").write_text(text)
        rain = {"resource": f"{self.product.url}/healthz", "sensor": [{"name": "Rain barrel"}]}
        own = yaml.safe_dump(rain, sort_keys=False)
        item = "  - " + own.replace("\n", "\n    ").rstrip() + "\n"
        self.core.write()
        with (self.core.folder / "configuration.yaml").open("a") as configuration:
            configuration.write(text.replace("rest:\n", "rest:\n" + item, 1))
            configuration.write(self.automations())
        output = self.core.check_config()
        assert not re.search(r"(?i)failed|invalid|error", output), output
        self.core.restart()
        number = re.search(r"/hubs/(\d+)/", text)
        assert number is not None
        sensor = f"sensor.hub_{number[1]}_firmware"
        self.core.wait(lambda s: s.get(sensor, {}).get("attributes", {}).get("node_id"), sensor)
        about = self.state(sensor)["attributes"]
        assert {"available_version", "description", "file_size"} <= about.keys(), about
        assert "sensor.rain_barrel" in self.core.states()

    def automations(self) -> str:
        """Put the blueprints in place; return automations that use them."""
        folder = self.core.folder / "blueprints" / "automation" / "thermacell"
        shutil.copytree(BLUEPRINTS, folder, dirs_exist_ok=True)
        button = self.sibling(self.update, "install")
        inputs: dict[str, dict[str, Any]] = {
            "ask_and_install": {"firmware": self.update, "notify_service": "notify.notify"},
            "only_at_night": {"firmware": self.update, "button": button},
            "one_at_a_time": {"hubs": [self.update]},
        }
        assert inputs.keys() == {path.stem for path in BLUEPRINTS.glob("*.yaml")}
        automations = [
            {
                "id": name,
                "alias": name,
                "use_blueprint": {"path": f"thermacell/{name}.yaml", "input": values},
            }
            for name, values in inputs.items()
        ]
        return yaml.safe_dump({"automation": automations}, sort_keys=False)

    def blueprints_work(self) -> None:
        states = self.core.states()
        for path in BLUEPRINTS.glob("*.yaml"):
            assert states[f"automation.{path.stem}"]["state"] == "on", path.stem

    def script_installs(self) -> None:
        """The script of the pasted YAML installs what its sensor shows."""
        states = self.core.states()
        for name, state in states.items():
            found = re.fullmatch(r"binary_sensor\.hub_(\d+)_firmware_update", name)
            about = states.get(f"sensor.hub_{found[1]}_firmware", {}) if found else {}
            if not found or state["state"] != "on" or "attributes" not in about:
                continue
            values = about["attributes"]
            if not isinstance(values["offer"], dict):
                continue
            sensor, job = f"sensor.hub_{found[1]}_firmware", values["offer"]["ota_job_id"]
            now = requests.get(
                f"{self.product.url}/api/v1/hubs/{found[1]}/",
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=30,
            ).json()
            if not now["why_not_now"] and now["offer"]["ota_job_id"] == job:
                assert self.core.call(f"script.install_firmware_hub_{found[1]}").ok
                self.core.wait(partial(_has_install, sensor, job), "the script's install", 180)
                return
        raise AssertionError("no hub can be installed on by a script")

    def pasted(self) -> tuple[str, str]:
        """Return the YAML of the page and a token for it."""
        line = next(one for one in self.shell(PASTE).splitlines() if one.startswith("PASTE"))
        text, token = json.loads(line.removeprefix("PASTE"))
        return text, token

    def log_is_clean(self) -> None:
        complaints = self.core.complaints()
        # the broker was stopped on purpose
        expected = re.compile(r"connection was lost|not currently connected")
        wrong = [one for one in complaints if not expected.search(one)]
        assert not wrong, "\n".join(wrong[:10])


def _can_install(name: str, wanted: bool, states: dict[str, Any]) -> bool:
    features = states[name]["attributes"]["supported_features"]
    return bool(features & 1) is wanted  # UpdateEntityFeature.INSTALL


def _has_install(sensor: str, ota_job_id: str, states: dict[str, Any]) -> bool:
    install = states[sensor]["attributes"]["install"]
    return bool(install) and install["ota_job_id"] == ota_job_id


def main() -> int:
    environment = install(FOLDER)
    with (
        tempfile.TemporaryDirectory(prefix="homeassistant-") as name,
        Mosquitto("allow_anonymous true", "max_queued_messages 0") as broker,
        HomeAssistant(environment, Path(name) / "config") as core,
    ):
        core.write()
        core.start()
        core.onboard()
        core.add_mqtt(broker.port)
        with Product(Path(name) / "demo", mqtt_url=broker.url) as product:
            judge = Judge(product, broker, core)
            for what, check in (
                ("hubs appear as devices behind a bridge", judge.hubs_appear),
                ("entities have categories", judge.entities_are_apart),
                ("title, notes and link stay", judge.texts_stay),
                ("a press ends verified", judge.press_ends_verified),
                ("pictures", lambda: pictures.take(core, judge, FOLDER / "pictures")),
                ("a press for tonight makes a plan", judge.press_for_tonight_is_planned),
                ("a refusal is an event", judge.refusal_is_seen),
                ("names follow the household's language", judge.language_follows),
                ("a restart changes nothing", judge.restart_changes_nothing),
                ("the broker may restart", judge.broker_comes_back),
                ("the YAML to paste is accepted", judge.yaml_is_accepted),
                ("the blueprints are accepted", judge.blueprints_work),
                ("the script installs", judge.script_installs),
                ("its log has no complaint about us", judge.log_is_clean),
            ):
                judge.check(what, check)
            (FOLDER / "home-assistant.log").write_text(
                (core.folder / "home-assistant.log").read_text()
            )
    print(f"{len(judge.faults)} faults" if judge.faults else "All right.")
    return 1 if judge.faults else 0


if __name__ == "__main__":
    sys.exit(main())
