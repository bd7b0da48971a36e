"""Fixtures for tests of the bridge: it, a second client, and a household."""

from collections.abc import Iterator
from typing import Any

import pytest

from devices.homeassistant.bridge import Bridge
from tests.support.homeassistant import World
from tests.support.mosquitto import Listener, Mosquitto


@pytest.fixture
def bridge(broker: Mosquitto, settings: Any) -> Iterator[Bridge]:
    """Yield a bridge to the server's broker; the test gives it its turns."""
    settings.MQTT_URL = broker.url
    settings.PUBLIC_URL = "https://hubs.example.org"
    made = Bridge()
    yield made
    made.close()


@pytest.fixture
def ear(broker: Mosquitto) -> Iterator[Listener]:
    with Listener(broker.port) as listener:
        yield listener


@pytest.fixture
def world(bridge: Bridge, ear: Listener) -> World:
    return World(bridge, ear)
