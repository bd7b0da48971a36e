"""Connections that know which exchange they serve, so that it can be timed and cut as a whole,
and that reach only machines which may be called.

A socket's own time-out restarts with every byte that arrives, and so never ends a slow drip.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import socket
import threading
from collections.abc import Iterator
from itertools import count
from time import monotonic
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError

from devices.rainmaker.address_guard import ForbiddenAddress, checked_addresses


class Exchange:
    """What has become of one request so far, and the means to end it from another thread."""

    def __init__(self, *, is_here: bool, is_named: bool = False) -> None:
        self.is_here = is_here
        """Whether it goes to this very machine, and so to no other; else to no machine inside."""
        self.is_named = is_named
        """Whether the administrator named the host, wherever it is."""
        self.has_sent = False
        self.is_overdue = False
        self.connection: _WatchedConnection | None = None
        self.sock: object = None

    def hang_up(self) -> None:
        """Shut the socket, so that a thread waiting on it wakes up at once."""
        self.is_overdue = True
        sock = self.sock
        is_still_ours = self.connection is not None and self.connection.exchange is self
        if is_still_ours and isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which would take the TLS state from under the reader.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Watch:
    """Hangs up exchanges whose time is over, in one thread for all: a timer for each would cost as
    much CPU as sending the request does.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start over, in a forked process: the thread stayed behind, and may have held the lock."""
        self._changed = threading.Condition()
        self._number = count()
        # (when it is over, a number, the exchange); emptied once the exchange has ended
        self._waiting: list[tuple[float, int, list[Exchange]]] = []
        self._is_running = False

    def begin(self, exchange: Exchange, total_timeout_s: float) -> list[Exchange]:
        """Watch an exchange from now on; return what to clear when it has ended."""
        place, over_at = [exchange], monotonic() + total_timeout_s
        with self._changed:
            if not self._is_running:
                threading.Thread(target=self._run, name="deadlines", daemon=True).start()
                self._is_running = True
            heapq.heappush(self._waiting, (over_at, next(self._number), place))
            if self._waiting[0][2] is place:
                self._changed.notify()
        return place

    def _run(self) -> None:
        while True:
            with self._changed:
                wait_s = self._waiting[0][0] - monotonic() if self._waiting else None
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                over = heapq.heappop(self._waiting)[2]
            for exchange in over:
                exchange.hang_up()


_current = threading.local()
_watch = _Watch()
os.register_at_fork(after_in_child=_watch.forget)


@contextlib.contextmanager
def watched(total_timeout_s: float, *, is_here: bool, is_named: bool = False) -> Iterator[Exchange]:
    """Yield an exchange that is hung up when its time is over."""
    exchange = Exchange(is_here=is_here, is_named=is_named)
    _current.exchange = exchange
    place = _watch.begin(exchange, total_timeout_s)
    try:
        yield exchange
    finally:
        place.clear()
        _current.exchange = None


class _WatchedConnection(HTTPConnection):
    """A connection that reports to its thread's exchange when the request goes out, and on what."""

    exchange: Exchange | None = None
    is_connecting = False

    def connect(self) -> None:
        self.is_connecting = True
        try:
            super().connect()
        finally:
            self.is_connecting = False

    def _new_conn(self) -> socket.socket:
        """Connect to an address that was checked; TLS and the Host header keep the name."""
        exchange: Exchange | None = getattr(_current, "exchange", None)
        if self.proxy is not None:  # which the administrator chose, and which looks names up itself
            return super()._new_conn()
        if exchange is None:
            raise ForbiddenAddress("only a watched exchange may connect")
        name = self._dns_host
        try:
            addresses = checked_addresses(
                self.host, self.port, is_here=exchange.is_here, is_named=exchange.is_named
            )
        except socket.gaierror as problem:
            raise NameResolutionError(self.host, self, problem) from problem
        last: HTTPError | None = None
        for address in addresses:
            self._dns_host = address
            try:
                return super()._new_conn()
            except HTTPError as problem:
                last = problem
            finally:
                self._dns_host = name
        raise last or NewConnectionError(self, "the name has no address")

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange: Exchange | None = getattr(_current, "exchange", None)
        self.exchange = exchange
        if exchange is not None:
            exchange.connection, exchange.sock = self, self.sock
            if exchange.is_overdue:
                raise TimeoutError("no time left to send the request")
            # What is sent while connecting is only a request to a proxy.
            exchange.has_sent = exchange.has_sent or not self.is_connecting
        super().send(data)


class _WatchedTLSConnection(_WatchedConnection, HTTPSConnection):
    pass


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLSConnection


_POOLS = {"http": _WatchedPool, "https": _WatchedTLSPool}


class WatchedAdapter(HTTPAdapter):
    """Makes a session's connections watched ones."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager
