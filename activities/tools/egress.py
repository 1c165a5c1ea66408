"""A GET to the public internet that cannot be led inside: every hop is resolved, judged, and connected to as judged."""

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from activities.tools.endings import ToolFailed
from models.egress import Pinned, Refused
from models.rules.addresses import EVERYWHERE

MOST_HOPS = 5
MOST_BYTES = 4 * 1024 * 1024  # of a body, unpacked
CONNECT_PATIENCE = 10.0  # seconds
READ_PATIENCE = 15.0  # seconds of silence
USER_AGENT = "Turnstone (fetch_url)"
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a GET came to; `cut` says that the body goes on."""

    url: str
    status: int
    content_type: str
    body: bytes
    cut: bool


async def get(url: str, *, allow_private: bool = False) -> Fetched:
    """Fetch a page, following redirects; raises ToolFailed, which says what is in the way."""
    async with httpx.AsyncClient(
        transport=Pinned(EVERYWHERE if allow_private else ()),
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
    except Refused as refused:
        raise ToolFailed(str(refused)) from None
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
