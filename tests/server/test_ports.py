"""Ports and addresses: what is a port, and whether it is free here."""

import socket

import pytest

from devices.server import CannotStart
from devices.server.ports import read_port, require_free
from tests.support.product import free_port


@pytest.mark.parametrize("text", ["", "abc", "0", "65536", "-1", "80.5", "８０"])
def test_a_port_is_a_number(text: str) -> None:
    with pytest.raises(CannotStart, match=r"^PORT must be a whole number from 1 to 65535, not "):
        read_port(text, "PORT")


def test_a_port_held_on_every_address_is_taken_here_too() -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))  # noqa: S104 - that is the point
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotStart, match="is taken by"):
            require_free("127.0.0.1", port, name="PORT", example="make run PORT={port}")


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CannotStart, match="BIND must be an address of this machine"):
        require_free("192.0.2.1", free_port(), name="PORT", example="make run PORT={port}")
