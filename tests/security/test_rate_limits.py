"""How often something may be done."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import RequestFactory
from django.utils import timezone

from devices.security.rate_limits import address_of, spend


def test_what_is_left_comes_back_when_the_window_ends() -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        assert [spend("test", 3, 3600) for _ in range(5)] == [0, 0, 0, 3600, 3600]
        clock.shift(timedelta(minutes=30))
        assert spend("test", 3, 3600) == 1800
        assert spend("another", 3, 3600) == 0
        clock.shift(timedelta(minutes=30, seconds=1))
        assert spend("test", 3, 3600) == 0


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("a socket", "a socket"),
    ],
)
def test_a_home_has_many_addresses_of_the_new_kind_and_counts_once(
    address: str, counted: str, rf: RequestFactory
) -> None:
    request: Any = rf.get("/", REMOTE_ADDR=address)
    assert address_of(request) == counted
