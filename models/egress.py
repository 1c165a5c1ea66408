"""Requests to addresses that other people name: every host is resolved, judged, and connected to as it was judged."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import httpx

from models.errors import TurnstoneError
from models.rules.addresses import Network, may_connect

Answer = TypeVar("Answer")

MOST_ADDRESSES = 3  # of a host, that are tried in turn


class Refused(TurnstoneError):
    """The host cannot be found, or is not one that may be asked."""

    default_message = "The address may not be connected to."


async def resolved(host: str, port: int, allowed: Sequence[Network] = ()) -> list[str]:
    """The addresses to connect to for a host; raises Refused if one of them is inside and not `allowed`."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused(f"The host {host} could not be resolved.") from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not all(may_connect(ipaddress.ip_address(each), allowed) for each in addresses):
        raise Refused(f"The host {host} is not on the public internet: internal addresses are not asked.")
    return addresses


async def reached(
    host: str,
    port: int,
    allowed: Sequence[Network],
    send: Callable[[str], Awaitable[Answer]],
    unconnected: tuple[type[Exception], ...],
) -> Answer:
    """What `send` gets from the first of the host's addresses that can be connected to, as they were judged."""
    addresses = (await resolved(host, port, allowed))[:MOST_ADDRESSES]
    for address in addresses[:-1]:
        try:
            return await send(address)
        except unconnected:
            continue
    return await send(addresses[-1])


class Pinned(httpx.AsyncBaseTransport):
    """Connects to an address that was judged, not to whatever the name means a moment later."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = allowed
        # A connection of one name must not serve another that has the same address.
        self._transport = httpx.AsyncHTTPTransport(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Try the host's addresses in turn."""
        url = request.url

        async def send(address: str) -> httpx.Response:
            pinned = httpx.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,  # the Host header is the name's
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
            return await self._transport.handle_async_request(pinned)

        port = url.port or (443 if url.scheme == "https" else 80)
        return await reached(url.host, port, self._allowed, send, (httpx.ConnectError, httpx.ConnectTimeout))

    async def aclose(self) -> None:
        await self._transport.aclose()
