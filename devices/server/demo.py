"""The demo: its environment and its people. Nothing of the real installation reaches into it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thermacell_web.environment import known_names

PASSWORD = "mosquito-free-evening"  # noqa: S105 - printed at every start of the demo
PACE = 4
# What the shell says that concerns no data.
KEPT = (
    *("BIND", "LOG_LEVEL", "LOG_LEVELS", "LOG_FORMAT", "LOG_TO", "API_ASKS_A_MINUTE"),
    *("WEB_PROCESSES", "WORKER_PROCESSES"),
)


@dataclass(frozen=True, slots=True)
class Resident:
    """A sample sign-in."""

    email: str
    name: str
    role: str
    household: str


@dataclass(frozen=True, slots=True)
class Staff:
    """A sample sign-in of a member of staff; it asks for a second factor."""

    email: str
    name: str
    role: str
    words: str


@dataclass(frozen=True, slots=True)
class Home:
    """A sample household and its sign-in to the simulated cloud."""

    name: str
    cloud_email: str
    hubs: int


HOMES = (Home("Garden house", "garden@example.com", 7), Home("Lake cabin", "cabin@example.com", 3))
RESIDENTS = (
    Resident("owner@example.com", "Olivia Garden", "owner", "Garden house"),
    Resident("member@example.com", "Milo Garden", "member", "Garden house"),
    Resident("viewer@example.com", "Vera Garden", "viewer", "Garden house"),
    Resident("cabin@example.com", "Casper Lake", "owner", "Lake cabin"),
)
STAFF = (
    Staff("support@example.com", "Sam Support", "support", "support, sees every household"),
    Staff("auditor@example.com", "Ada Auditor", "auditor", "auditor, reads the trail only"),
    Staff("admin@example.com", "Alan Admin", "administrator", "administrator of the server"),
)


def sign_ins() -> dict[str, object]:
    """Return what the sign-in page of a demo offers: the sample people and their password. Staff
    need a code, which the start prints.
    """
    return {"people": RESIDENTS, "password": PASSWORD}


def environment(
    around: Mapping[str, str], *, data_dir: Path, port: int, cloud_port: int, mqtt_url: str = ""
) -> dict[str, str]:
    """Return the environment of a demo: every variable of the product is its own.

    What the shell or .env says about the real installation (keys, database, hosts) is left out.
    Given its own result it returns the same again.
    """
    ours = known_names()
    without_proxy = [host for host in around.get("NO_PROXY", "").split(",") if host]
    for host in ("127.0.0.1", "localhost"):
        if host not in without_proxy:
            without_proxy.append(host)
    return {
        **{name: value for name, value in around.items() if name not in ours},
        **{name: around[name] for name in KEPT if name in around},
        "ENV_FILE": "",
        "DATA_DIR": str(data_dir),
        "PORT": str(port),
        "CLOUD_PORT": str(cloud_port),
        "PUBLIC_URL": f"http://localhost:{port}",
        "DEFAULT_CLOUD_URL": f"http://127.0.0.1:{cloud_port}",
        "CLUSTER_NAME": "thermacell-web-demo",
        "MQTT_URL": mqtt_url,
        "SUPPORT_SEES_ALL_HOUSEHOLDS": "true",
        "ENGINE_PACE": str(PACE),
        "NO_PROXY": ",".join(without_proxy),
        "no_proxy": ",".join(without_proxy),
    }
