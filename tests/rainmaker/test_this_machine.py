"""One answer to whether an address can only be this machine, wherever it matters."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from devices.households import setup_link
from devices.models import CloudAccount
from devices.rainmaker.address_guard import is_this_machine
from devices.rainmaker.errors import NotTrusted
from devices.rainmaker.http import checked_base_url
from thermacell_web.issuer import read_issuer

HERE = [
    "127.0.0.1",
    "127.0.0.53",
    "127.255.255.254",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "localhost",
    "LocalHost",
    "LOCALHOST.",
    "hubs.localhost",
    "a.b.localhost.",
]
ELSEWHERE = [
    "",
    "0.0.0.0",  # noqa: S104 - asked about, never bound to
    "::",
    "128.0.0.1",
    "192.168.1.20",
    "::ffff:192.168.1.20",
    "64:ff9b::127.0.0.1",  # a translator's address, not ours
    "2002:7f00:1::",
    "localhost.example.com",
    "notlocalhost",
    "127.0.0.1.example.com",
    "127.1",
    "2130706433",
    "example.com",
]


@pytest.mark.parametrize("host", HERE)
def test_these_are_this_machine(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_these_are_not(host: str) -> None:
    assert not is_this_machine(host)


@pytest.mark.parametrize("host", HERE + ELSEWHERE[1:])
def test_everything_that_asks_gets_that_answer(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://[{host}]:8001" if ":" in host else f"http://{host}:8001"
    is_here = is_this_machine(host)
    assert CloudAccount(base_url=address).is_simulated is is_here
    assert setup_link.stays_here(address) is is_here
    if not host.endswith("."):  # a cloud's address never does
        assert _is_usable_cloud(address) is is_here
    assert _is_usable_issuer(address, monkeypatch) is is_here


def _is_usable_cloud(address: str) -> bool:
    try:
        return bool(checked_base_url(address))
    except NotTrusted:
        return False


def _is_usable_issuer(address: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    values = {"OIDC_ISSUER": address, "OIDC_CLIENT_ID": "x", "OIDC_CLIENT_SECRET": "y"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    try:
        return read_issuer() is not None
    except ImproperlyConfigured:
        return False
