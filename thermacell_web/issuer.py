"""The OpenID Connect issuer that people may sign in with, read from the environment."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from devices.rainmaker.address_guard import is_this_machine
from thermacell_web.environment import given, refuse


@dataclass(frozen=True, slots=True)
class Issuer:
    """Where people are known too, and as what this server is known there."""

    address: str
    client_id: str
    secret: str = field(repr=False)
    name: str

    @property
    def origin(self) -> str:
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"


def read_issuer() -> Issuer | None:
    """Return the issuer, or None when none is set; https, except on this very machine."""
    address = given("OIDC_ISSUER").rstrip("/")
    if not address:
        return None
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        usable = parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(host))
        usable = usable and bool(host) and parts.port != 0
        usable = usable and not (parts.query or parts.fragment or parts.username)
    except ValueError:
        usable = False
    if not usable:
        refuse("OIDC_ISSUER", "be an address such as https://id.example.org", address)
    for name in ("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"):
        if not given(name):
            refuse(name, "be set beside OIDC_ISSUER")
    name = given("OIDC_NAME") or host
    return Issuer(address, given("OIDC_CLIENT_ID"), given("OIDC_CLIENT_SECRET"), name)
