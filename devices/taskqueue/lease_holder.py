"""Name the holder of a lease so that other processes can see whether it is alive."""

import hashlib
import os
import socket
import uuid
from functools import cache
from pathlib import Path

import psutil
from django.conf import settings

from devices.models.parsing import parse_int


def new_holder_id() -> str:
    """Return a fresh name for this process: machine, process number, something unique, place."""
    return f"{machine()}:{os.getpid()}:{uuid.uuid4().hex[:12]}:{place()}"


def is_dead(holder: str) -> bool:
    """Is that process surely gone? False for one on another machine, which cannot be seen.

    A process number that another process has by now counts as alive: then the lease expires.
    """
    number = parse_int(holder.split(":")[1] if ":" in holder else "", largest=2**31 - 1)
    if machine_of(holder) != machine() or number is None:
        return False
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def is_elsewhere(holder: str) -> bool:
    """Is that process on another machine, or of another start here, as far as its name says?"""
    return bool(holder) and place_of(holder) not in {place(), machine()}


def machine_of(holder: str) -> str:
    """Return the machine that a holder's name begins with."""
    return holder.partition(":")[0]


def place_of(holder: str) -> str:
    """Return the place that a holder's name ends with; earlier versions named the machine only."""
    return holder.rpartition(":")[2] if holder.count(":") == 3 else machine_of(holder)


@cache
def machine() -> str:
    """Return an id shared by processes that can see each other; two containers cannot."""
    seen = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            seen.append(os.readlink(path) if "/ns/" in path else Path(path).read_text())
        except OSError:  # only Linux has them
            continue
    return _short(*seen)


def place() -> str:
    """Return an id of this machine and its data folder: two starts beside each other, each with a
    folder of its own, are two.
    """
    return _short(machine(), str(Path(settings.DATA_DIR).resolve()))


def _short(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]
