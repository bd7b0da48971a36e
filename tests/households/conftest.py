"""Fixtures for tests of households: one, and its owner."""

import pytest

from devices.models import Household, Role, User
from tests.support.factories import make_household, make_user


@pytest.fixture
def household() -> Household:
    return make_household("Garden house", time_zone="Europe/Berlin")


@pytest.fixture
def owner(household: Household) -> User:
    return make_user("olivia@example.com", role=Role.OWNER, household=household, name="Olivia")
