"""Which machines may be called: those of the open internet, or this very one and no other.

A name is looked up once for a connection, and the connection goes to an address that was checked.
So a name which changes its answer between check and call (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

MOST_ADDRESSES = 4
MOST_LABEL_CHARS = 63
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# IPv6 addresses of the open internet all begin so (IANA IPv6 address space); the parts of it that
# are for documentation, tunnels and protocols are not the open internet.
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
_SPECIAL_IPV6 = tuple(
    ipaddress.ip_network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20")
)
# What Python 3.11 to 3.13 do not all count as special (IANA IPv4 special-purpose registry).
_SPECIAL_IPV4 = tuple(
    ipaddress.ip_network(network) for network in ("192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10")
)


class ForbiddenAddress(OSError):
    """The name leads to a machine that must not be called."""


def is_this_machine(host: str) -> bool:
    """Return whether the host can only be this machine: a loopback address, or a name that never
    leaves it (RFC 6761, section 6.3: localhost, and every name below it).
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower().removesuffix(".")
        return name == "localhost" or name.endswith(".localhost")
    # Python before 3.13 does not look into ::ffff:127.0.0.1
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_host_name(host: str) -> bool:
    """Return whether the host can be looked up: no part of it is empty or longer than 63
    characters (RFC 1035, section 2.3.4).
    """
    labels = host.removesuffix(".").split(".")
    return len(host) <= 253 and all(0 < len(label) <= MOST_LABEL_CHARS for label in labels)


def is_literal(host: str) -> bool:
    """Return whether the host is an address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def cloud_key(base_url: str) -> str:
    """Return the address in the one form under which two spellings of it are equal.

    Case, a default port, a dot after the host and a slash at the end say nothing, and every name
    of this machine is 127.0.0.1. For comparing only: the cloud is called as it was written.
    """
    try:
        parts = urlsplit(base_url.strip())
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        return base_url
    if is_this_machine(host):
        host = "127.0.0.1"
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != {"https": 443, "http": 80}.get(parts.scheme):
        netloc += f":{port}"
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}"


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses the system gives for the name; raises socket.gaierror."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as problem:  # a part of the name is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from problem
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked_addresses(host: str, port: int, *, is_here: bool, is_named: bool = False) -> list[str]:
    """Return the addresses to connect to; raises ForbiddenAddress when any is not allowed.

    is_here: only this machine may be called, instead of only the open internet. is_named: the
    administrator named this host, so it may be anywhere.
    """
    addresses = look_up(host, port)
    for address in addresses:
        if not (is_named or may_call(address, is_here=is_here)):
            raise ForbiddenAddress("the name leads to an address that is not called")
    return addresses[:MOST_ADDRESSES]


def may_call(address: str, *, is_here: bool = False) -> bool:
    """May this address be called? One that carries another inside counts as that one."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if is_here:
        return is_this_machine(str(found))
    inner = _inside(found)
    if isinstance(inner, ipaddress.IPv6Address):
        return inner in _GLOBAL_IPV6 and not any(inner in network for network in _SPECIAL_IPV6)
    return (
        inner.is_global
        and not (inner.is_multicast or inner.is_reserved)
        and not any(inner in network for network in _SPECIAL_IPV4)
    )


def _inside(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address that a mapped, 6to4 or NAT64 address leads to, else the address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
