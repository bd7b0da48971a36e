"""The programs of a running installation, and how to tell that each of them answers."""

from collections.abc import Container
from functools import partial
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from pathlib import Path

from django.core.management import call_command

from devices.server import web_server
from devices.server.child import Program
from devices.server.ports import reachable_host

WEB, WORKER, CLOUD = "web", "worker", "cloud"
BRIDGE, WATCHDOG, DEMO_DATA = "homeassistant", "watchdog", "demo_data"
WORKER_STOP_WAIT_S = 6
# What each program loads by itself once it runs, by the name of its module.
LOADED = {
    WEB: ("thermacell_web.wsgi", "devices.server.web_worker"),
    WORKER: ("devices.tasks", "devices.management.commands.worker"),
    WATCHDOG: ("devices.management.commands.watchdog",),
}


def load(names: Container[str]) -> None:
    """Load the modules of these programs."""
    for name, modules in LOADED.items():
        if name in names:
            for module in modules:
                import_module(module)
    if WEB in names:
        web_server.load_pages()


def web(bind: str, port: int) -> Program:
    """Return the web server: see web_worker for what a slow connection may take of it."""
    return Program(WEB, partial(web_server.serve, bind, port), rank=300, stop_wait_s=5)


def worker() -> Program:
    """Return the worker. What it cannot finish in time is found again by the next one.

    Started once a simulated cloud that is wanted is there: it would ask it at once.
    """
    run = partial(call_command, "worker")
    return Program(WORKER, run, rank=200, stop_wait_s=WORKER_STOP_WAIT_S, starts_last=True)


def bridge() -> Program:
    """Return the bridge to Home Assistant: nothing else waits for it, or for its broker."""
    run = partial(call_command, "homeassistant")
    return Program(BRIDGE, run, rank=400, stop_wait_s=5, starts_last=True)


def watchdog() -> Program:
    """Return the one that notices a worker which is there and does nothing."""
    run = partial(call_command, "watchdog")
    return Program(WATCHDOG, run, rank=500, stop_wait_s=2, starts_last=True)


def cloud(port: int, state: Path, *options: str, starts_last: bool = False) -> Program:
    """Return the simulated cloud: of the demo, or one to start once it is asked for."""
    where = ("--host", "127.0.0.1", "--port", str(port), "--state", str(state))
    run = partial(call_command, "simcloud", *where, *options)
    return Program(CLOUD, run, rank=100, stop_wait_s=3, starts_last=starts_last)


def demo_data() -> Program:
    """Return what fills the demo, and ends."""
    return Program(DEMO_DATA, partial(call_command, "demo_data", verbosity=0), 0, stop_wait_s=5)


def answers(bind: str, port: int, path: str) -> bool:
    """Does the server there answer this path with success? Never through a proxy."""
    connection = HTTPConnection(reachable_host(bind), port, timeout=2)
    try:
        connection.request("GET", path, headers={"Host": "localhost"})
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
