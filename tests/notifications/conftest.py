"""Fixtures for tests of notifications."""

import pytest

from tests.support.notifications import Home


@pytest.fixture
def home() -> Home:
    return Home()
