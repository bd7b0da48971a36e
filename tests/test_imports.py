"""The import table: arrows only point down."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "devices"

# Layer of each module; a module may import from lower layers and, where listed, beside itself.
LAYERS: dict[str, int] = {
    "cloud": 0,
    "simcloud": 0,
    "broker": 0,
    "models": 1,
    "policies": 2,
    "hubwords": 2,
    "stored": 2,
    "catalogue": 2,
    "troubles": 2,
    "explain": 2,
    "timing": 2,
    "confirm": 2,
    "welcome": 2,
    "wake": 2,
    "holder": 2,
    "poison": 2,
    "readiness": 2,
    "guards": 2,
    "chain": 2,
    "clouds": 2,
    "accounts": 3,
    "sync": 3,
    "installs": 3,
    "homelink": 3,
    "services": 2,
    "channels": 3,
    "notices": 3,
    "channel_forms": 4,
    "tokens": 3,
    "people": 3,
    "staff": 3,
    "batches": 3,
    "proposals": 3,
    "push": 3,
    "follow": 3,
    "verdict": 3,
    "rotation": 3,
    "unattended": 3,
    "images": 3,
    "upkeep": 3,
    "review": 3,
    "exports": 3,
    "loop": 4,
    "watchdog": 4,
    "tasks": 4,
    "forms": 4,
    "widgets": 0,
    "homelink_forms": 4,
    "middleware": 4,
    "unchanged": 4,
    "signals": 4,
    "logs": 4,
    "adapter": 4,
    "mail": 4,
    "backup": 4,
    "clock": 3,
    "context": 5,
    "api": 5,
    "homeassistant": 5,
    "launch": 5,
    "trial": 4,
    "terminal": 5,
    "templatetags": 5,
    "views": 5,
    "management": 5,
    "migrations": 5,
    "apps": 5,
    "urls": 5,
}
# Inside a layer the arrows have a direction too.
BESIDE = {
    "explain": {"catalogue", "hubwords", "troubles"},
    "catalogue": {"hubwords"},
    "troubles": {"catalogue", "hubwords"},
    "staff": {"people"},
    "installs": {"sync"},
    "sync": {"accounts"},
    "exports": {"review"},
    "batches": {"installs"},
    "proposals": {"installs"},
    "push": {"accounts", "sync"},
    "unattended": {"accounts"},
    "images": {"accounts", "sync"},
    "verdict": set(),
    "follow": {"accounts", "installs", "push", "sync", "verdict"},
    "tasks": {"loop"},
    "watchdog": {"loop"},
    "adapter": {"middleware"},
    "signals": {"middleware", "tasks"},
    "views": {"context", "templatetags"},
    "homeassistant": {"templatetags", "views"},
    "management": {"homeassistant", "launch", "templatetags", "terminal", "views"},
    "terminal": {"templatetags", "views"},
    "urls": {"api", "views"},
    "apps": {"signals"},
}
# Layers that talk to the outside know nothing of Django or of each other.
ALONE = {"cloud": {"requests", "urllib3"}, "simcloud": set()}
BOUND = {
    "audit": {"household"},  # for types only
    "household": set(),
    "notice": {"account", "household", "node", "ota"},
    "invitation": {"household"},
    "batch": {"household", "node", "ota"},
    "beat": set(),
    "suspect": set(),
    "homeassistant": {"account", "household", "node"},
    "account": {"household"},
    "node": {"account", "ota"},  # ota only inside functions and for types
    "ota": {"audit", "household", "node", "notice"},  # notice only inside a function
    "report": {"ota"},
    "token": {"household"},
    "image": {"account", "node"},
    "version": {"audit", "node", "ota"},
    "unknown": set(),
}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)


def imported(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts(path: Path) -> tuple[str, ...]:
    return path.relative_to(PACKAGE).with_suffix("").parts


def area(path: Path) -> str:
    return parts(path)[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: "/".join(parts(path)))
def test_arrows_only_point_down(path: Path) -> None:
    mine = area(path)
    if mine == "__init__":
        return
    assert mine in LAYERS, f"{mine} has no place in the table"
    for name in imported(path):
        if not name.startswith("devices."):
            continue
        theirs = name.split(".")[1]
        if theirs == mine or theirs not in LAYERS:
            continue
        allowed = LAYERS[theirs] < LAYERS[mine] or theirs in BESIDE.get(mine, set())
        assert allowed, f"{mine} must not import {theirs}"


@pytest.mark.parametrize("name", sorted(ALONE))
def test_the_cloud_and_its_pretender_stand_alone(name: str) -> None:
    for path in (PACKAGE / name).rglob("*.py"):
        for module in imported(path):
            top = module.split(".")[0]
            if top == "devices":
                assert module.split(".")[1:2] in ([], [name]), f"{path} imports {module}"
            assert top not in {"django", "thermacell_web"}, f"{path} imports {module}"


@pytest.mark.parametrize("name", sorted(BOUND))
def test_models_know_only_what_they_rest_on(name: str) -> None:
    for module in imported(PACKAGE / "models" / f"{name}.py"):
        if module.startswith("devices.models."):
            theirs = module.split(".")[2]
            assert theirs in BOUND[name] | {name} or theirs not in BOUND, module


def test_pages_do_not_build_clients() -> None:
    """Only the loop and linking talk to a cloud."""
    makers = {
        area(path)
        for path in modules()
        if "devices.cloud.client" in imported(path) and area(path) != "cloud"
    }
    assert makers <= {"loop", "accounts", "push", "follow", "unattended", "images"}
