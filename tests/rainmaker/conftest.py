"""Fixtures for tests of the cloud client: a server that misbehaves, and clients of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from devices.rainmaker.client import RainmakerClient
from tests.support.hostile_server import HostileServer
from tests.support.rainmaker import NOW, TOKENS, Connect


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Open clients that are closed after the test."""
    clients: list[RainmakerClient] = []

    def open_client(base_url: str, **changes: Any) -> RainmakerClient:
        settings: dict[str, Any] = {
            "tokens": TOKENS,
            "connect_timeout_s": 5,
            "read_timeout_s": 5,
            "clock": lambda: NOW,
        }
        clients.append(RainmakerClient(base_url, **(settings | changes)))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()
