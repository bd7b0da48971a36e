"""A real HTTP server on this machine that misbehaves as configured, and counts its requests.

    with HostileServer() as server:
        server.on("GET /v1/user", reply(500), reply(200, json={...}))

The behaviours of a route are used in order and the last one goes on for ever. A route that was not
set up answers 404. No behaviour sleeps longer than it has to, and close() ends them all.
"""

from __future__ import annotations

import contextlib
import json as json_text
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection_number: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def json(self) -> Any:
        return json_text.loads(self.body)


@dataclass
class Line:
    """The wire of one connection, from the server's end."""

    sock: socket.socket
    closing: threading.Event

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait, and return whether the server is being closed."""
        return self.closing.wait(seconds)


# Acts on one request; returns whether the connection stays open.
Behaviour = Callable[[Line, Seen], bool]


def reply(
    status: int = 200,
    *,
    json: object = None,
    body: bytes | str | None = None,
    headers: dict[str, str] | None = None,
    length: int | None = None,
) -> Behaviour:
    """Answer properly; `length` overrides Content-Length."""
    if body is None:
        body = b"" if json is None else json_text.dumps(json).encode()
    data = body.encode() if isinstance(body, str) else body

    def act(line: Line, seen: Seen) -> bool:
        lines = [f"HTTP/1.1 {status} Whatever", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if status != 204:
            lines.append(f"Content-Length: {len(data) if length is None else length}")
        line.send("\r\n".join([*lines, "", ""]).encode() + data)
        return True

    return act


def failure(
    status: int, code: int | None = None, description: str = "No.", **headers: str
) -> Behaviour:
    """Answer with the cloud's own form of an error."""
    body: dict[str, object] = {"status": "failure", "description": description}
    if code is not None:
        body["error_code"] = code
    return reply(
        status, json=body, headers={name.replace("_", "-"): v for name, v in headers.items()}
    )


def raw(data: bytes) -> Behaviour:
    """Send these bytes and cut the connection."""

    def act(line: Line, seen: Seen) -> bool:
        line.send(data)
        return False

    return act


def cut() -> Behaviour:
    """Take the request and hang up."""
    return raw(b"")


def cut_mid_body(status: int = 200, promised: int = 100) -> Behaviour:
    """Promise a body of that length and hang up after a few bytes."""
    return raw(f'HTTP/1.1 {status} OK\r\nContent-Length: {promised}\r\n\r\n{{"sta'.encode())


def silence() -> Behaviour:
    """Take the request and never say anything."""

    def act(line: Line, seen: Seen) -> bool:
        line.wait()
        return False

    return act


def drip(first: bytes, drop: bytes = b" ", every_s: float = 0.02) -> Behaviour:
    """Send `first`, then a drop every few milliseconds without end."""

    def act(line: Line, seen: Seen) -> bool:
        line.send(first)
        while not line.wait(every_s):
            line.send(drop)
        return False

    return act


def flood(first: bytes, piece: bytes) -> Behaviour:
    """Send `first`, then the piece over and over as fast as it is taken."""

    def act(line: Line, seen: Seen) -> bool:
        line.send(first)
        while not line.closing.is_set():
            line.send(piece)
        return False

    return act


def together(parties: int, then: Behaviour, wait_s: float = 5) -> Behaviour:
    """Hold every request until that many have come, then answer them all."""
    barrier = threading.Barrier(parties)

    def act(line: Line, seen: Seen) -> bool:
        barrier.wait(wait_s)
        return then(line, seen)

    return act


def calling(notice: Callable[[Seen], object], then: Behaviour) -> Behaviour:
    """Call `notice` with the request, then behave."""

    def act(line: Line, seen: Seen) -> bool:
        notice(seen)
        return then(line, seen)

    return act


@dataclass
class _Route:
    behaviours: list[Behaviour] = field(default_factory=list)
    used: int = 0


class HostileServer:
    """See the module. With a TLS context it speaks https."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Seen] = []
        self.connections = 0
        self._tls = tls
        self._routes: dict[str, _Route] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def on(self, route: str, *behaviours: Behaviour) -> None:
        """Set how "METHOD /path" is answered."""
        self._routes[route] = _Route(list(behaviours))

    def seen(self, route: str) -> list[Seen]:
        return [one for one in self.requests if f"{one.method} {one.path}" == route]

    def __enter__(self) -> HostileServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        with self._lock:
            still_open = list(self._open)
        for sock in still_open:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join(5)

    def serve(self, sock: socket.socket) -> None:
        """Serve one connection until either end hangs up."""
        with self._lock:
            self.connections += 1
            number = self.connections
            self._open.add(sock)
        wire = sock
        try:
            if self._tls:
                wire = self._tls.wrap_socket(sock, server_side=True)
                with self._lock:
                    self._open.add(wire)
            self._converse(wire, number)
        except OSError:
            # The client hung up, or did not like the certificate: what the test is about.
            pass
        finally:
            with self._lock:
                self._open -= {sock, wire}
            wire.close()

    def _converse(self, wire: socket.socket, number: int) -> None:
        line = Line(wire, self._closing)
        with wire.makefile("rb") as incoming:
            while not self._closing.is_set():
                seen = _read_request(incoming, number)
                if seen is None:
                    return
                with self._lock:
                    self.requests.append(seen)
                    route = self._routes.get(f"{seen.method} {seen.path}")
                    behaviour = failure(404, None, "no such route")
                    if route:
                        behaviour = route.behaviours[min(route.used, len(route.behaviours) - 1)]
                        route.used += 1
                if not behaviour(line, seen):
                    return


def _read_request(incoming: Any, number: int) -> Seen | None:
    first = incoming.readline(65_536)
    if not first.strip():
        return None
    method, target, _ = first.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (header := incoming.readline(65_536).decode("latin-1").strip()) != "":
        name, _, value = header.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = incoming.read(int(headers.get("content-length", 0)))
    return Seen(method, target, headers, body, number)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False
    request_queue_size = 128
    owner: HostileServer


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.server.owner.serve(self.request)


def chunked(pieces: Iterable[bytes]) -> bytes:
    """Return a whole chunked answer of status 200."""
    text = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + text + b"0\r\n\r\n"
