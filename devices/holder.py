"""How the holder of a lease is named, so that its neighbours can see whether it lives."""

import hashlib
import os
import socket
import uuid
from functools import cache
from pathlib import Path

import psutil


def here() -> str:
    """Return a fresh name for this process: machine, process number, and something unique."""
    return f"{_machine()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"


def is_gone(holder: str) -> bool:
    """Is that process surely gone? False for one of another machine, which cannot be seen.

    A process number that somebody else has by now counts as alive: then the lease runs out.
    """
    machine, _, rest = holder.partition(":")
    number = rest.partition(":")[0]
    if machine != _machine() or not number.isdigit():
        return False
    try:
        return psutil.Process(int(number)).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


@cache
def _machine() -> str:
    """Return what is the same for processes that see each other: two containers do not."""
    seen = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            seen.append(os.readlink(path) if "/ns/" in path else Path(path).read_text())
        except OSError:  # only Linux has them
            continue
    return hashlib.sha256(" ".join(seen).encode()).hexdigest()[:12]
