"""HTTP to one MCP server: only to its own origin, only to addresses that were judged, and never without bounds."""

from collections.abc import AsyncIterator, Sequence

import httpx2

from models.egress import Refused, reached
from models.rules.addresses import Network

MOST_BYTES = 32 * 1024 * 1024  # of one answer
CONNECT_PATIENCE = 10.0  # seconds
READ_PATIENCE = 300.0  # seconds of silence


class Pinned(httpx2.AsyncBaseTransport):
    """Connects to the origin of `url` alone; `refusal` is the last status with which it refused something."""

    def __init__(self, url: str, allowed: Sequence[Network]) -> None:
        self._origin = _origin(httpx2.URL(url))
        self._allowed = allowed
        self._transport = httpx2.AsyncHTTPTransport(trust_env=False)
        self.refusal = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Try the host's addresses in turn."""
        url = request.url
        if _origin(url) != self._origin:
            raise Refused(f"The server leads elsewhere, to {url.host}: that is not followed.")

        async def send(address: str) -> httpx2.Response:
            pinned = httpx2.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
            return await self._transport.handle_async_request(pinned)

        unconnected = (httpx2.ConnectError, httpx2.ConnectTimeout)
        response = await reached(url.host, self._origin[2], self._allowed, send, unconnected)
        if request.method == "POST" and response.status_code >= 400:
            self.refusal = response.status_code
        if response.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            await response.aclose()
            raise Refused("The server packed its answer, which was not asked for.")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream)
        return response

    async def aclose(self) -> None:
        await self._transport.aclose()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            size += len(piece)
            if size > MOST_BYTES:
                raise httpx2.ReadError(f"The server's answer is longer than {MOST_BYTES} bytes.")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


def client(transport: Pinned, headers: dict[str, str]) -> httpx2.AsyncClient:
    """A client that shows these headers with every request."""
    return httpx2.AsyncClient(
        transport=transport,
        headers={**headers, "Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(CONNECT_PATIENCE, read=READ_PATIENCE),
        trust_env=False,
    )


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)
