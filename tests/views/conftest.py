"""Fixtures for tests of the pages."""

from collections.abc import Callable

import pytest

from devices.models import User
from tests.support.client import Client
from tests.support.factories import sign_in
from tests.support.pages import Home


@pytest.fixture
def home() -> Home:
    return Home()


@pytest.fixture
def enter() -> Callable[[User], Client]:
    def enter(user: User) -> Client:
        return sign_in(Client(), user)

    return enter
