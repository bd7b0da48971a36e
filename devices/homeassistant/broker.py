"""A broker: its address and its certificates."""

import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

PORTS = {"mqtt": 1883, "mqtts": 8883}
MUST = "mqtt://user:password@host:1883, or mqtts:// for TLS"


class BrokerUnusable(Exception):
    """The address or a certificate cannot be used; str() is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Address and credentials of a broker. Its repr holds no secret."""

    host: str
    port: int
    is_tls: bool = False
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ca_pem: str = field(default="", repr=False)
    client_pem: str = field(default="", repr=False)
    """A client certificate and its private key, one after the other."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def tls_context(self) -> ssl.SSLContext:
        """Return the TLS context: it trusts the given authority, else the system's."""
        try:
            context = ssl.create_default_context(cadata=self.ca_pem or None)
            if self.client_pem:
                _load_client(context, self.client_pem)
        except (ssl.SSLError, ValueError) as problem:
            raise BrokerUnusable(
                "A certificate for the broker cannot be read: it must be PEM text, and a client "
                "certificate must come with its private key."
            ) from problem
        return context


def read_broker(url: str, *, ca_pem: str = "", client_pem: str = "") -> Broker:
    """Return the broker at this address; raises BrokerUnusable. Its text does not repeat the
    address, which may hold a password.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port or PORTS.get(parts.scheme, 0)
        host = parts.hostname or ""
    except ValueError as problem:
        raise BrokerUnusable(f"The broker's address must read {MUST}.") from problem
    if parts.scheme not in PORTS or not host or parts.path.strip("/") or parts.query:
        raise BrokerUnusable(f"The broker's address must read {MUST}.")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not (user + password).isprintable():
        raise BrokerUnusable("The broker's user and password must hold no control characters.")
    broker = Broker(
        host=host,
        port=port,
        is_tls=parts.scheme == "mqtts",
        user=user,
        password=password,
        ca_pem=ca_pem.strip(),
        client_pem=client_pem.strip(),
    )
    if (broker.ca_pem or broker.client_pem) and not broker.is_tls:
        raise BrokerUnusable("Certificates need an address that begins with mqtts://.")
    if broker.is_tls:
        broker.tls_context()
    return broker


def _load_client(context: ssl.SSLContext, pem: str) -> None:
    # ssl reads a certificate with its key from files only
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "client.pem"
        path.touch(mode=0o600)
        path.write_text(pem)
        context.load_cert_chain(path)
