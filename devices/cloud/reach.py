"""Which machines may be called: those of the open internet, or this very one and no other.

A name is looked up once for a connection and the connection goes to an address that was checked,
so that a name which changes its answer between check and call (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket

MOST_ADDRESSES = 4
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenAddress(OSError):
    """The name leads to a machine that must not be called."""


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses the system gives for the name; raises socket.gaierror."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked_addresses(host: str, port: int, *, is_here: bool) -> list[str]:
    """Return the addresses to connect to; raises ForbiddenAddress when any is not allowed.

    is_here: only this machine may be called, instead of only the open internet.
    """
    addresses = look_up(host, port)
    for address in addresses:
        if not may_call(address, is_here=is_here):
            raise ForbiddenAddress("the name leads to an address that is not called")
    return addresses[:MOST_ADDRESSES]


def may_call(address: str, *, is_here: bool = False) -> bool:
    """May this address be called? One that carries another inside counts as that one."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = _inside(found)
    if is_here:
        return inner.is_loopback
    return inner.is_global and not (
        inner.is_multicast or inner.is_reserved or inner.is_link_local or inner.is_private
    )


def _inside(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.teredo:
        return ipaddress.IPv4Address("0.0.0.0")  # noqa: S104 - a tunnel that nobody needs
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
