"""The programs of a running installation, and how to tell that each of them answers."""

import os
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from devices.launch.ports import reachable_host
from devices.launch.supervisor import Program

WEB, WORKER, CLOUD = "web", "worker", "cloud"
BRIDGE, WATCHDOG = "homeassistant", "watchdog"
WORKER_STOP_WAIT_S = 6
# All of them one after the other, and supervisord's own second of rest between them.
STOP_WAIT_S = 23


def web(bind: str, port: int) -> Program:
    """Return the web server: threads, because a few pages wait for a slow browser or the cloud."""
    address = f"[{bind}]:{port}" if ":" in bind else f"{bind}:{port}"
    command = [
        *(sys.executable, "-m", "gunicorn", "thermacell_web.wsgi", "--bind", address),
        *("--worker-class", "gthread", "--workers", "2", "--threads", "4"),
        *("--graceful-timeout", "3", "--keep-alive", "15", "--max-requests", "20000"),
        *("--max-requests-jitter", "2000", "--no-control-socket", "--log-level", "warning"),
        "--preload",  # read once for both workers, and a new one is there at once
        # whom to believe about https and addresses is decided in the settings alone
        *("--forwarded-allow-ips", ""),
    ]
    if os.access("/dev/shm", os.W_OK):  # noqa: S108 - a slow disk would look like a dead worker
        command += ["--worker-tmp-dir", "/dev/shm"]  # noqa: S108
    return Program(WEB, command, rank=300, stop_wait_s=4)


def worker() -> Program:
    """Return the task cluster. What it cannot finish in time is found again by the next one.

    Started once a simulated cloud that is wanted is there: it would ask it at once.
    """
    return Program(
        WORKER,
        [sys.executable, "manage.py", "worker"],
        rank=200,
        stop_wait_s=WORKER_STOP_WAIT_S,
        leaves_orphans=True,
        starts_last=True,
    )


def bridge() -> Program:
    """Return the bridge to Home Assistant: nothing else waits for it, or for its broker."""
    command = [sys.executable, "manage.py", "homeassistant"]
    return Program(BRIDGE, command, rank=400, stop_wait_s=5, starts_last=True)


def watchdog() -> Program:
    """Return the one that notices a worker which is there and does nothing."""
    command = [sys.executable, "manage.py", "watchdog"]
    return Program(WATCHDOG, command, rank=500, stop_wait_s=2, starts_last=True)


def cloud(port: int, state: Path, *options: str, starts_last: bool = False) -> Program:
    """Return the simulated cloud: of the demo, or one to start once it is asked for."""
    return Program(
        CLOUD,
        [
            *(sys.executable, "-m", "devices.simcloud", "--host", "127.0.0.1"),
            *("--port", str(port), "--state", str(state), *options),
        ],
        rank=100,
        stop_wait_s=3,
        starts_last=starts_last,
    )


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
