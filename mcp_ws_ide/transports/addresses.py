"""Which addresses a host name leads to, and whether they are on the public internet.

A remote server names URLs that the gateway requests. Without a check, it could make the gateway send requests to
services that only this machine or its network can reach.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


async def addresses_of(host: str) -> list[str]:
    """Return the addresses of a host, each once, in the order of the resolver; none if it does not know the name."""
    try:
        resolved = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in resolved))


def inner_of(addresses: Iterable[str]) -> str | None:
    """Return the first address that is not public (loopback, private, link-local, shared or reserved), if any."""
    return next((address for address in addresses if not _is_public(ipaddress.ip_address(address))), None)


def _is_public(address: Address) -> bool:
    embedded = _embedded(address)
    return address.is_global and not address.is_multicast and (embedded is None or _is_public(embedded))


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to: mapped, 6to4 or NAT64 (RFC 6052)."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
