"""The time zone that is offered first."""

from typing import Any

import pytest

from devices.forms.households import HouseholdForm

pytestmark = pytest.mark.django_db


def test_the_servers_own_time_zone_is_offered_to_a_new_household(settings: Any) -> None:
    settings.TIME_ZONE = "Etc/GMT+3"
    text = str(HouseholdForm()["time_zone"])
    assert '<option value="Etc/GMT+3" selected>' in text
    assert "Etc/GMT+4" not in text
