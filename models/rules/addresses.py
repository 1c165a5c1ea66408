"""Which addresses of a network may be connected to on somebody else's word: public ones, and those an admin allows."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

EVERYWHERE: tuple[Network, ...] = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Answers only inside its cloud, although its address looks public (Azure's host).
INTERNAL = frozenset({ipaddress.ip_address("168.63.129.16")})


UNREADABLE = "must be an absolute URL of printable ASCII characters"


def is_public(address: Address) -> bool:
    """Is it an address of the public internet, also after every translation that a network may make of it?"""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved and address not in INTERNAL


def may_connect(address: Address, allowed: Iterable[Network]) -> bool:
    """Is it public, or in one of the networks that an admin allows? A mapped address is the one that it stands for."""
    if is_public(address):
        return True
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address.scope_id is not None:
            address = ipaddress.IPv6Address(int(address))
    return any(address.version == network.version and address in network for network in allowed)


def networks(ranges: Iterable[str]) -> tuple[Network, ...]:
    """The ranges as networks; raises ValueError for what is none."""
    return tuple(ipaddress.ip_network(each.strip(), strict=False) for each in ranges if each.strip())


def problem(url: str) -> str:
    """Why this cannot be called as a URL that somebody gave us; empty when it can."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return UNREADABLE
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not host:
        return "must be an absolute http or https URL"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or a password"
    return "must not have a fragment" if parts.fragment else ""
