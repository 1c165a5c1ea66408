"""A GET to the public internet that cannot be led inside: every hop is resolved, judged, and connected to as judged."""

import asyncio
import ipaddress
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from activities.tools.endings import ToolFailed

MOST_HOPS = 5
MOST_BYTES = 4 * 1024 * 1024  # of a body, unpacked
CONNECT_PATIENCE = 10.0  # seconds
READ_PATIENCE = 15.0  # seconds of silence
USER_AGENT = "Turnstone (fetch_url)"
REDIRECTS = frozenset({301, 302, 303, 307, 308})

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Answers only inside its cloud, although its address looks public (Azure's host).
INTERNAL = frozenset({ipaddress.ip_address("168.63.129.16")})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a GET came to; `cut` says that the body goes on."""

    url: str
    status: int
    content_type: str
    body: bytes
    cut: bool


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


async def resolved(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses to connect to for a host; raises ToolFailed if one of them is inside."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ToolFailed(f"The host {host} could not be resolved.") from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not allow_private and not all(is_public(ipaddress.ip_address(each)) for each in addresses):
        raise ToolFailed(f"The host {host} is not on the public internet: internal addresses are not fetched.")
    return addresses


async def get(url: str, *, allow_private: bool = False) -> Fetched:
    """Fetch a page, following redirects; raises ToolFailed, which says what is in the way."""
    async with httpx.AsyncClient(
        transport=Pinned(allow_private),
        trust_env=False,  # a proxy would resolve the name again, out of our sight
        timeout=httpx.Timeout(READ_PATIENCE, connect=CONNECT_PATIENCE),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip", "Accept": "text/*, application/json, */*;q=0.5"},
    ) as client:
        asked = _checked(url)
        for _ in range(MOST_HOPS + 1):
            async with _answer(client, asked) as response:
                following = response.headers.get("location") if response.status_code in REDIRECTS else None
                if following is None:
                    body, cut = await _body(response)
                    kind = response.headers.get("content-type", "")
                    return Fetched(str(asked), response.status_code, kind, body, cut)
            client.cookies.clear()
            asked = _checked(_joined(asked, following))
    raise ToolFailed(f"There were more than {MOST_HOPS} redirects.")


class Pinned(httpx.AsyncBaseTransport):
    """Connects to an address that was judged, not to whatever the name means a moment later."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        # A connection of one name must not serve another that has the same address.
        self._transport = httpx.AsyncHTTPTransport(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Try the host's addresses in turn."""
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await resolved(url.host, port, allow_private=self._allow_private)
        failed: httpx.ConnectError | httpx.ConnectTimeout | None = None
        for address in addresses[:3]:
            pinned = httpx.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,  # the Host header is the name's
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
            try:
                return await self._transport.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as refused:
                failed = refused
        assert failed is not None
        raise failed

    async def aclose(self) -> None:
        await self._transport.aclose()


def _checked(url: str) -> httpx.URL:
    try:
        asked = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise ToolFailed(f"{url[:200]!r} is not a URL.") from None
    if asked.scheme not in ("http", "https"):
        raise ToolFailed("Only http and https URLs are fetched.")
    if not asked.host:
        raise ToolFailed("The URL names no host.")
    if asked.userinfo:
        raise ToolFailed("URLs with a user name or a password are not fetched.")
    return asked.copy_with(fragment=None)


def _joined(base: httpx.URL, location: str) -> str:
    try:
        return str(base.join(location))
    except (httpx.InvalidURL, ValueError):
        raise ToolFailed("The page redirects to something that is not a URL.") from None


@asynccontextmanager
async def _answer(client: httpx.AsyncClient, url: httpx.URL) -> AsyncIterator[httpx.Response]:
    try:
        async with client.stream("GET", url) as response:
            yield response
    except httpx.TimeoutException:
        raise ToolFailed(f"{url.host} did not answer in time.") from None
    except httpx.HTTPError as failed:
        raise ToolFailed(f"{url.host} could not be fetched: {failed or type(failed).__name__}") from None


async def _body(response: httpx.Response) -> tuple[bytes, bool]:
    """At most MOST_BYTES of the body; a small answer that unpacks to a big one is cut as well."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", "deflate", ""):
        raise ToolFailed(f"The page is encoded as {encoding}, which was not asked for.")
    unpacker: Any = zlib.decompressobj(wbits=47) if encoding not in ("identity", "") else None
    body = bytearray()
    async for chunk in response.aiter_raw():
        try:
            body += unpacker.decompress(chunk, MOST_BYTES + 1 - len(body)) if unpacker else chunk
        except zlib.error:
            raise ToolFailed("The page's compression is broken.") from None
        if len(body) > MOST_BYTES:
            return bytes(body[:MOST_BYTES]), True
    return bytes(body), False
