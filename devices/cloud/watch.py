"""Connections that know which exchange they serve, so that it can be timed and cut as a whole,
and that reach only machines which may be called.

A socket's own time-out starts anew with every byte that arrives, and so never ends a slow drip.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError

from devices.cloud.reach import ForbiddenAddress, checked_addresses


class Exchange:
    """What has become of one request so far, and the means to end it from another thread."""

    def __init__(self, *, is_here: bool) -> None:
        self.is_here = is_here
        """Whether it goes to this very machine, and so to no other; else to no machine inside."""
        self.has_sent = False
        self.is_overdue = False
        self.connection: _WatchedConnection | None = None
        self.sock: object = None

    def hang_up(self) -> None:
        """Shut the socket, so that whoever waits on it wakes up at once."""
        self.is_overdue = True
        sock = self.sock
        is_still_ours = self.connection is not None and self.connection.exchange is self
        if is_still_ours and isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which would take the TLS state from under the reader.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


_current = threading.local()


@contextlib.contextmanager
def watched(total_timeout_s: float, *, is_here: bool) -> Iterator[Exchange]:
    """Yield an exchange that is hung up when its time is over."""
    exchange = Exchange(is_here=is_here)
    timer = threading.Timer(total_timeout_s, exchange.hang_up)
    timer.daemon = True
    _current.exchange = exchange
    timer.start()
    try:
        yield exchange
    finally:
        timer.cancel()
        _current.exchange = None


class _WatchedConnection(HTTPConnection):
    """A connection that tells the exchange of its thread when the request goes out, and on what."""

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
            addresses = checked_addresses(self.host, self.port, is_here=exchange.is_here)
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
