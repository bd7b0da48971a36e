"""Fixtures for tests of the simulated cloud: one for each file, and people in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.simcloud_api import OTHER, Api
from tests.support.simcloud_process import SimCloud


@pytest.fixture(scope="module")
def cloud() -> Iterator[SimCloud]:
    users = ["me@example.com:fireflies:40", f"{OTHER[0]}:{OTHER[1]}:2"]
    with SimCloud(hubs=42, offers=1, users=users, state=False) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def me(cloud: SimCloud) -> Api:
    return Api(cloud.url, "me@example.com", "fireflies")


@pytest.fixture(scope="module")
def other(cloud: SimCloud) -> Api:
    return Api(cloud.url, *OTHER)


@pytest.fixture(scope="module")
def spare(cloud: SimCloud) -> Iterator[str]:
    """Hubs nobody has touched yet, connected and with an offer: take one with next()."""
    return iter([hub["node_id"] for hub in cloud.hubs()[5:40] if hub["online"] and hub["offer"]])
