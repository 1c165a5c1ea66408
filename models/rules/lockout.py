"""How long who fails to sign in must wait: not at all at first, then longer each time."""

from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network

OF_ACCOUNT, OF_ADDRESS = 5, 20
"""Failures that cost nothing; of an address more, for many people may share it."""

FIRST = timedelta(seconds=5)
LONGEST = timedelta(minutes=15)
FORGOTTEN = timedelta(days=1)
"""After so long without a failure the count begins anew."""


def delay(failures: int, free: int) -> timedelta:
    """The wait after that many failures in a row."""
    if failures < free:
        return timedelta()
    return min(LONGEST, FIRST * (1 << min(failures - free, 30)))


def network(address: str) -> str:
    """Where attempts are counted together: an IPv4 address, or the /64 that one machine has all of."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed), 64), strict=False))
