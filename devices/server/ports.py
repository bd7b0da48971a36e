"""Ports: is one free, who holds it, which other would do."""

import errno
import socket
from collections.abc import Collection

import psutil

from devices.models.parsing import parse_int
from devices.server import CannotStart


def read_port(text: str, name: str) -> int:
    """Return the port; raises CannotStart naming the variable it came from."""
    port = parse_int(text, largest=65535)
    if port:
        return port
    raise CannotStart(f"{name} must be a whole number from 1 to 65535, not {text!r}.")


def reachable_host(bind: str) -> str:
    """Return the address under which this machine reaches a server bound to it."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(bind, bind)  # noqa: S104


def require_free(bind: str, port: int, *, name: str, example: str) -> None:
    """Raise CannotStart unless a server can listen there; `example` shows how to say another."""
    try:
        _bind(bind, port)
    except PermissionError as problem:
        raise CannotStart(
            f"Port {port} may not be opened by this user: choose one above 1023, for example "
            f"{example.format(port=8000)}."
        ) from problem
    except OSError as problem:
        if problem.errno != errno.EADDRINUSE:
            raise CannotStart(
                f"The address {bind}:{port} cannot be opened here ({problem.strerror}): BIND must "
                "be an address of this machine."
            ) from problem
        raise CannotStart(_taken(bind, port, name, example)) from problem
    # Bound elsewhere: http://localhost may lead a browser to ::1 first.
    if bind in {"127.0.0.1", "localhost"} and _answers("::1", port):
        raise CannotStart(_taken(bind, port, name, example))


def free_port(bind: str, after: int, avoid: Collection[int] = ()) -> int:
    """Return the next port that could be opened now."""
    for port in range(max(after + 1, 1024), 65536):
        if port in avoid:
            continue
        try:
            _bind(bind, port)
        except OSError:
            continue
        return port
    raise CannotStart("No port is free on this machine.")


def _taken(bind: str, port: int, name: str, example: str) -> str:
    other = free_port(bind, port + 9)
    return (
        f"Port {port} is taken by {_holder(port)}: stop it, or choose another port with {name}=, "
        f"for example {example.format(port=other)}."
    )


def _bind(bind: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        bind or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.3):
            return True
    except OSError:
        return False


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            is_listening = connection.status == psutil.CONN_LISTEN
            is_it = is_listening and getattr(connection.laddr, "port", 0) == port
            if is_it and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass  # not every system shows other people's sockets
    return "another program"
