"""HTTP/1.1 on a socket and nothing else: parse a request, hand it on, send the answer.

asyncio streams, one task a connection, keep-alive, a long listen backlog: the clients open several
connections for each hub and all hubs at once. asyncio sets TCP_NODELAY itself. The application is
called between two awaits, so no two requests ever interleave in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

from devices.simcloud import control
from devices.simcloud.app import App
from devices.simcloud.wire import Answer, Refusal, Request

BACKLOG = 4096
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
_PIECES = 20  # a dripping body comes in this many


class BadRequest(Exception):
    """Not HTTP/1.x as this server reads it; the connection ends."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Server:
    def __init__(self, app: App, *, latency_s: float = 0.0) -> None:
        self._app, self._latency_s = app, latency_s
        self._connections: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError when it cannot be had."""
        self._listening = await asyncio.start_server(
            self._serve, host, port, backlog=BACKLOG, limit=MAX_HEAD_BYTES
        )
        return int(self._listening.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._listening:
            self._listening.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in one
        self._connections.add(task)
        peer = str(writer.get_extra_info("peername")[0])
        try:
            while await self._one(reader, writer, peer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side left, or the server stops
        except BadRequest as error:
            refusal = Refusal(100006, str(error), error.status).answer()
            writer.write(_head(refusal, keep_alive=False) + refusal.body)
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str
    ) -> bool:
        """Serve one request; whether the connection stays open."""
        request, keep_alive = await _read(reader, writer, peer)
        if _is_control(request):
            answer = control.handle(self._app, request)
        else:
            if self._latency_s:
                await asyncio.sleep(self._latency_s)
            answer = self._app.handle(request)
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        if answer.cut:
            writer.transport.abort()
            return False
        writer.write(_head(answer, keep_alive))
        if request.method != "HEAD":
            await _send(writer, answer)
        await writer.drain()
        return keep_alive


def _is_control(request: Request) -> bool:
    """Whether it is for the control endpoint: from this machine, and not from a web page on it."""
    if not request.path.startswith(control.PREFIX + "/") or "origin" in request.headers:
        return False
    return ipaddress.ip_address(request.peer.partition("%")[0]).is_loopback


async def _read(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str
) -> tuple[Request, bool]:
    """(the next request, whether the client wants to keep the connection)."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise BadRequest(431, "Request head is too long") from error
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    try:
        method, target, version = first.split(" ")
        split = urlsplit(target)
    except ValueError as error:
        raise BadRequest(400, "Malformed request line") from error
    if not version.startswith("HTTP/1."):
        raise BadRequest(505, "HTTP version not supported")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest(400, "Malformed header")
        headers[name.strip().lower()] = value.strip()
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await _read_body(reader, headers)
    query = dict(parse_qsl(split.query, keep_blank_values=True))
    wish = headers.get("connection", "").lower()
    keep_alive = wish != "close" and (version != "HTTP/1.0" or wish == "keep-alive")
    path = unquote(split.path) or "/"
    return Request(method, path, query, headers, body, peer), keep_alive


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _read_chunks(reader)
    length = headers.get("content-length", "0")
    if not length.isdigit():
        raise BadRequest(400, "Malformed Content-Length")
    if int(length) > MAX_BODY_BYTES:
        raise BadRequest(413, "Request body is too large")
    return await reader.readexactly(int(length))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError as error:
            raise BadRequest(400, "Malformed chunk") from error
        if len(body) + size > MAX_BODY_BYTES:
            raise BadRequest(413, "Request body is too large")
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass  # trailers
            return bytes(body)
        body += await reader.readexactly(size)
        await reader.readexactly(2)


def _head(answer: Answer, keep_alive: bool) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    lines += [f"Content-Length: {len(answer.body)}"]
    lines += ["Connection: " + ("keep-alive" if keep_alive else "close"), "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    if not answer.drip_s:
        writer.write(answer.body)
        return
    size = max(1, len(answer.body) // _PIECES)
    for start in range(0, len(answer.body), size):
        await asyncio.sleep(answer.drip_s / _PIECES)
        writer.write(answer.body[start : start + size])
        await writer.drain()
