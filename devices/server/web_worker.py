"""A gunicorn worker that no slow connection can hold up.

gunicorn keeps the processes; waitress reads requests and writes answers in one loop, for as many
connections as there are. A thread is only taken by a request that has arrived as a whole, and is
free again as soon as its answer is written into a buffer. So a connection that sends nothing, or a
byte at a time, or does not read, costs a file descriptor and no thread.
"""

import json
import logging
import os
import socket
import time
from collections import Counter
from typing import Any

from django.conf import settings
from django.urls import reverse
from gunicorn.workers.base import Worker
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import Error

from devices.security.password_hashing import MAY_WAIT

log = logging.getLogger(__name__)
# Pages that may be made at once, besides those that wait for a password to be checked.
PAGE_THREADS = 5
THREADS = PAGE_THREADS + MAY_WAIT
# Signing in has threads of its own: one checks a password, the others make pages. So many sign-ins
# may wait for them; what comes beyond that is refused before it costs anything.
SIGN_IN_THREADS, SIGN_INS_WAITING = 3, 16
# From the first byte of a request to its last: headers, then the body as well.
HEADERS_WITHIN_S, REQUEST_WITHIN_S = 10, 60
# For an answer that is not read, and for a connection between two requests. Who reads an answer
# takes at least so many bytes of it in that time.
UNREAD_FOR_S, IDLE_FOR_S = 60, 20
LEAST_READ_BYTES = 30_000
# Beyond this many, one of the address with the most connections makes room: the one that has waited
# longest without a request, else the one whose answer has been unread longest.
MOST_CONNECTIONS = 400
MOST_HEADER_BYTES = 32 * 1024
# An answer that is read slowly waits in a file; up to this much of it holds no thread.
MOST_UNREAD_BYTES = 64 * 1024 * 1024
STOP_WITHIN_S = 3
WARN_EVERY_S = 60
# Django refuses a form at DATA_UPLOAD_MAX_MEMORY_SIZE, with a page; beyond twice that much nothing
# is even kept.
BODY_FACTOR = 2
SENTENCES = {
    413: "This is too large. Nothing was changed or sent.",
    431: "The address or the headers are too long. Nothing was changed or sent.",
    500: "Something went wrong on our side. The error was logged.",
    503: "Too many sign-ins at once. Nothing was tried. Go back and try again in a few seconds.",
}
NOT_UNDERSTOOD = "This request was not valid. Nothing was changed or sent."


class Connection(HTTPChannel):  # type: ignore[misc]
    """One connection and what it is waiting for."""

    waits_since: float
    """Since when a request is awaited, or is arriving."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.waits_since = time.time()
        self.bytes_read = 0
        self.looked_at: tuple[float, int] | None = None
        super().__init__(*args, **options)

    def send(self, *args: Any, **options: Any) -> int:
        sent = int(super().send(*args, **options))
        self.bytes_read += max(0, sent)
        return sent

    def received(self, data: bytes) -> bool:
        if self.request is None:
            self.waits_since = time.time()
        return bool(super().received(data))

    def is_too_slow(self, now: float) -> bool:
        """Is this connection to be closed? Never while its request is being answered."""
        since: float = self.last_activity
        if self.total_outbufs_len:
            return self._reads_too_little(now)
        self.looked_at = None
        if self.requests:
            return False
        if self.request is None:
            return now - max(self.waits_since, since) > IDLE_FOR_S
        limit_s = REQUEST_WITHIN_S if self.request.headers_finished else HEADERS_WITHIN_S
        return now - self.waits_since > limit_s

    def _reads_too_little(self, now: float) -> bool:
        began, bytes_then = self.looked_at or (now, self.bytes_read)
        if now - began > UNREAD_FOR_S:
            if self.bytes_read - bytes_then < LEAST_READ_BYTES:
                return True
            began, bytes_then = now, self.bytes_read
        self.looked_at = (began, bytes_then)
        return False

    @property
    def is_unread(self) -> bool:
        """Is an answer waiting to be read?"""
        return bool(self.total_outbufs_len)

    @property
    def is_waiting(self) -> bool:
        """Is there no request to answer, and no answer under way?"""
        return not self.requests and not self.total_outbufs_len


class Answer(WSGITask):  # type: ignore[misc]
    """An answer of the product's."""

    def set_close_on_finish(self) -> None:
        """Keep the connection after an answer without a body: a poll mostly gets one."""
        is_asked = self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or is_asked or self.version != "1.1" or self.request.connection_close:
            super().set_close_on_finish()


class Refusal(ErrorTask):  # type: ignore[misc]
    """An answer to what never reached the product: one sentence, as JSON for the API."""

    def execute(self) -> None:
        error = self.request.error
        sentence = SENTENCES.get(error.code, NOT_UNDERSTOOD)
        is_api = str(getattr(self.request, "path", "")).startswith("/api/")
        if is_api:
            code = "too_large" if error.code == 413 else "bad_request"
            problem = {"code": code, "sentence": sentence, "reasons": []}
            body = json.dumps({"error": problem}).encode()
        else:
            body = f"<!doctype html><title>Thermacell Web</title><p>{sentence}</p>\n".encode()
        kind = "application/json" if is_api else "text/html; charset=utf-8"
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [
            ("Content-Type", kind),
            ("Content-Security-Policy", "default-src 'none'"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ]
        if error.code == 503:
            self.response_headers.append(("Retry-After", "5"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


Connection.task_class, Connection.error_task_class = Answer, Refusal


class TooManySignIns(Error):  # type: ignore[misc]
    """This sign-in would wait for too long."""

    code, reason = 503, "Service Unavailable"


class Lanes:
    """Threads for the pages, a few for signing in, so that many wrong passwords leave room for the
    pages of others, and one for the question whether the server is there.
    """

    def __init__(self) -> None:
        self.pages, self.sign_ins, self.alive = (ThreadedTaskDispatcher() for _ in range(3))
        self.pages.set_thread_count(THREADS)
        self.sign_ins.set_thread_count(SIGN_IN_THREADS)
        self.alive.set_thread_count(1)
        self.count = 0
        self.alive_path = reverse("healthz")
        self.sign_in_paths = (reverse("account_login"), reverse("account_reset_password"))

    def add_task(self, connection: Connection) -> None:
        self.count += 1
        self._lane_of(connection.requests[0]).add_task(connection)

    def _lane_of(self, request: HTTPRequestParser) -> ThreadedTaskDispatcher:
        path = str(request.path)
        if request.error or (path == self.alive_path and request.command in {"GET", "HEAD"}):
            return self.alive
        if not path.startswith(self.sign_in_paths):
            return self.pages
        if len(self.sign_ins.queue) < SIGN_INS_WAITING:
            return self.sign_ins
        request.error = TooManySignIns("")
        return self.alive

    def shutdown(self) -> None:
        self.pages.shutdown(timeout=STOP_WITHIN_S)
        self.sign_ins.shutdown(timeout=STOP_WITHIN_S)
        self.alive.shutdown(timeout=0)


def _host(connection: Connection) -> str:
    address = connection.addr
    return str(address[0]) if isinstance(address, tuple) else ""


class Server(TcpWSGIServer):  # type: ignore[misc]
    """Accepts connections, and closes those that are too slow."""

    channel_class = Connection
    warned_at = -60.0

    def handle_accept(self) -> None:
        super().handle_accept()
        if len(self.active_channels) > MOST_CONNECTIONS:
            self._make_room()

    def _make_room(self) -> None:
        """Close one connection, never the newest nor one whose request is being answered."""
        *others, _newest = self.active_channels.values()
        shares = Counter(_host(one) for one in others)
        spare = [one for one in others if one.is_waiting or one.is_unread]
        if spare:
            min(
                spare, key=lambda one: (-shares[_host(one)], one.is_unread, one.waits_since)
            ).handle_close()
        if (now := time.monotonic()) - self.warned_at > WARN_EVERY_S:
            self.warned_at = now
            log.warning(
                "more than %s connections, %s of them from %s: the longest idle are closed",
                MOST_CONNECTIONS,
                *reversed(shares.most_common(1)[0]),
            )

    def maintenance(self, now: float) -> None:
        for connection in list(self.active_channels.values()):
            if connection.is_too_slow(now):
                connection.handle_close()


class BufferedWorker(Worker):  # type: ignore[misc]
    """gunicorn's worker around waitress' loop."""

    def run(self) -> None:
        sockets: dict[int, Any] = {}
        lanes = Lanes()
        adjustments = Adjustments(
            ident=None,
            threads=THREADS,
            # what a proxy says is judged in the settings alone
            clear_untrusted_proxy_headers=False,
            connection_limit=MOST_CONNECTIONS + 100,  # never reached: see handle_accept
            cleanup_interval=1,
            max_request_header_size=MOST_HEADER_BYTES,
            max_request_body_size=BODY_FACTOR * settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
            inbuf_overflow=64 * 1024,
            outbuf_overflow=256 * 1024,
            outbuf_high_watermark=MOST_UNREAD_BYTES,
            log_socket_errors=False,
        )
        servers = [
            _server(self.wsgi, one.sock, sockets, adjustments, lanes) for one in self.sockets
        ]
        noted_at = 0.0
        while self.alive:
            if time.monotonic() - noted_at > 1:
                noted_at = time.monotonic()
                self.notify()
                if self.ppid != os.getppid() or lanes.count >= self.max_requests:
                    break
            wasyncore.loop(timeout=0.5, use_poll=True, map=sockets, count=1)
        self._finish(servers, sockets, lanes)

    def _finish(self, servers: list[Server], sockets: dict[int, Any], lanes: Lanes) -> None:
        """Take no more connections, and let what is under way be answered and sent."""
        for server in servers:
            server.accepting = False
            sockets.pop(server._fileno, None)
        deadline = time.monotonic() + STOP_WITHIN_S
        while time.monotonic() < deadline:
            busy = [
                one
                for server in servers
                for one in server.active_channels.values()
                if not one.is_waiting
            ]
            if not busy:
                break
            self.notify()
            wasyncore.loop(timeout=0.1, use_poll=True, map=sockets, count=1)
        lanes.shutdown()
        wasyncore.close_all(sockets)


def _server(
    application: Any,
    listener: socket.socket,
    sockets: dict[int, Any],
    adj: Adjustments,
    lanes: Lanes,
) -> Server:
    # as waitress.create_server does, which makes no other class
    listener.setblocking(False)
    return Server(
        application,
        sockets,
        _sock=listener,
        dispatcher=lanes,
        adj=adj,
        bind_socket=False,
        sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
    )
