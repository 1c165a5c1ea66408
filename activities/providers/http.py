"""One streamed HTTP answer of a provider: sent, timed, read event by event, and closed at once when nobody wants it."""

import asyncio
import contextlib
import email.utils
import re
import ssl
import urllib.request
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from activities.providers.sse import Splitter
from activities.providers.tape import Tape
from models.errors import FailureFacts, ProviderFailed

MAX_BODY = 64 * 1024
MAX_TEXT = 4000
LARGEST_ANSWER = 256 * 1024 * 1024  # bytes on the wire: more than any model writes, however it is wrapped
DRAINING = 0.25  # seconds for what follows a whole answer, so that its connection can be used again
BROKEN = (aiohttp.ClientError, HttpProcessingError, OSError)
_BARE = ("Accept-Encoding", "Content-Type", "User-Agent")


class Connections:
    """The one connection pool of a process; deadlines are `Exchange`'s, so only connecting is timed here."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[tuple[str, str | None], str | None] = {}

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> aiohttp.ClientResponse:
        """Send a request; its answer's head is there, its body is still to be read."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context or True, limit=0, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_BARE,
                auto_decompress=False,
            )
        target = URL(url, encoded=True)
        return await self._session.post(
            target, headers=headers, data=content, allow_redirects=False, proxy=self._proxy(target)
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    def _proxy(self, url: URL) -> str | None:
        """What the environment says stands between us and this host; asked once, since it is slow to say."""
        key = (url.scheme, url.host)
        if key not in self._proxies:
            proxies = urllib.request.getproxies()
            proxy = proxies.get(url.scheme) or proxies.get("all")
            if not proxy or urllib.request.proxy_bypass(url.host or ""):
                proxy = None
            elif "://" not in proxy:
                proxy = f"http://{proxy}"
            self._proxies[key] = proxy
        return self._proxies[key]


class Exchange:
    """A request to a provider and its streamed answer. Every failure leaves as `ProviderFailed`, with facts."""

    def __init__(
        self,
        connections: Connections,
        provider: str,
        *,
        secrets: tuple[str, ...] = (),
        first_byte_timeout: float,
        silence_timeout: float,
        tape: Tape | None = None,
        largest: int = LARGEST_ANSWER,
    ) -> None:
        self._largest = largest
        self._connections = connections
        self._provider = provider
        self._secrets = tuple(secret for secret in secrets if len(secret) >= 8)
        self._silence = silence_timeout
        self._tape = tape
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + first_byte_timeout
        self._alarm: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._waiting = False
        self._late = False
        self._response: aiohttp.ClientResponse | None = None
        self._splitter = Splitter()
        self._ended = False
        self.asked = False
        self.failure: ProviderFailed | None = None

    def heard(self) -> None:
        """The provider said something of substance: its time to the next word starts now."""
        self._deadline = self._loop.time() + self._silence
        if self._alarm is not None and self._deadline < self._rings_at:
            self._alarm.cancel()
            self._alarm = None

    async def send(self, url: str, headers: Mapping[str, str], content: bytes) -> aiohttp.ClientResponse:
        """Post the request and return the open answer; anything but a 2xx is a failure."""
        headers = {**headers, "accept-encoding": "identity"}
        if self._tape is not None:
            self._tape.asked("POST", url, headers, content)
        try:
            async with asyncio.timeout_at(self._deadline):
                self.asked = True
                response = self._response = await self._connections.post(url, headers, content)
                if self._tape is not None:
                    said = {name.lower(): value for name, value in response.headers.items()}
                    self._tape.answered(response.status, said)
                if 200 <= response.status < 300:
                    return response
                body = await self._error_body(response)
        except aiohttp.ServerTimeoutError as error:  # of connecting
            raise self.fail(text=_describe(error)) from error
        except TimeoutError as error:
            raise self.fail(signal="silence", text="The provider did not start its answer in time.") from error
        except BROKEN as error:
            raise self.fail(text=_describe(error)) from error
        raise self.fail(self._refused(response, body))

    async def read(self) -> list[bytes]:
        """The payloads of the next server-sent events, as they arrive together; empty at the end of the answer."""
        while not self._ended:
            data = await self.receive()
            if payloads := self._splitter.split(data, last=self._ended):
                return payloads
        return []

    async def receive(self) -> bytes:
        """The next bytes of the answer; empty at its end."""
        assert self._response is not None
        if self._alarm is None:
            self._ring_at(self._deadline)
        self._waiting = True
        try:
            data = await self._response.content.readany()
        except BROKEN as error:
            if self._late:
                raise self.fail(signal="silence", text="The provider went silent inside its answer.") from error
            raise self.fail(signal="stream_cut", text=_describe(error)) from error
        finally:
            self._waiting = False
        if self._tape is not None:
            self._tape.heard(data)
        self._ended = self._ended or not data
        self._largest -= len(data)
        if self._largest < 0:
            text = "The provider's answer does not come to an end."
            raise self.fail(FailureFacts(self._provider, text=text, signal="too_large"))
        return data

    async def next_of(self, chunks: AsyncIterator[Any]) -> Any:
        """The next of the chunks that somebody else reads from this answer; None at their end."""
        try:
            return await anext(chunks)
        except StopAsyncIteration:
            self._ended = True
            return None

    def decode(self, payload: bytes) -> dict[str, Any]:
        """The JSON object of one event; broken JSON and error events are failures."""
        try:
            event = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise self.fail(signal="stream_cut", text="The provider sent a malformed event.") from error
        if not isinstance(event, dict):
            raise self.fail(signal="stream_cut", text="The provider sent a malformed event.")
        if event.get("error"):
            raise self.fail(self._said(event, None, None))
        return event

    async def close(self) -> None:
        """Give the connection back after a whole answer, or close it at once."""
        if self._alarm is not None:
            self._alarm.cancel()
        response, self._response = self._response, None
        if self._tape is not None:
            self._tape.ended()
        if response is None:
            return
        try:
            if self._ended and not response.content.at_eof():
                with contextlib.suppress(TimeoutError, *BROKEN):
                    async with asyncio.timeout(DRAINING):
                        while await response.content.readany():
                            pass
        finally:
            response.close()  # which leaves a connection alone that was given back at the end of the body

    def end(self) -> None:
        """The provider said its last word; what is left on the connection does not matter."""
        self._ended = True

    def fail(self, facts: FailureFacts | None = None, *, signal: str = "", text: str = "") -> ProviderFailed:
        """Remember and return a failure of this exchange."""
        self.failure = ProviderFailed(
            facts or FailureFacts(provider=self._provider, text=self.clean(text), signal=signal)
        )
        if self._tape is not None:
            self._tape.failed(self.failure.facts.text)
        return self.failure

    def clean(self, text: str) -> str:
        """The text, short and without our credentials."""
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return text[:MAX_TEXT]

    def _ring_at(self, moment: float) -> None:
        """One timer for the whole answer costs less than one for each of its pieces."""
        self._rings_at = moment
        self._alarm = self._loop.call_at(moment, self._ring)

    def _ring(self) -> None:
        now = self._loop.time()
        if self._response is None:
            return
        if now < self._deadline:
            self._ring_at(self._deadline)
        elif not self._waiting:  # it is we who are slow
            self._ring_at(now + 0.1)
        else:
            self._late = True
            self._response.close()

    async def _error_body(self, response: aiohttp.ClientResponse) -> bytes:
        body = b""
        while (data := await response.content.readany()) and len(body) <= MAX_BODY:
            body += data
        if self._tape is not None:
            self._tape.heard(body)
        return body

    def _refused(self, response: aiohttp.ClientResponse, body: bytes) -> FailureFacts:
        retry_after = wished_delay(response.headers)
        with contextlib.suppress(orjson.JSONDecodeError):
            answer = orjson.loads(body)
            answer = answer[0] if isinstance(answer, list) and answer else answer
            if isinstance(answer, dict):
                return self._said(answer, response.status, retry_after, body)
        text = self.clean(body.decode("utf-8", "replace").strip())
        return FailureFacts(self._provider, response.status, retry_after, text)

    def _said(
        self, answer: Mapping[str, Any], status: int | None, retry_after: timedelta | None, body: bytes = b""
    ) -> FailureFacts:
        """Facts of an error object, in the words of OpenAI, Anthropic, Google, AWS and their imitators."""
        error = answer.get("error", answer)
        if not isinstance(error, Mapping):
            error = {"message": str(error)}
        said = error.get("code")
        if status is None and isinstance(said, int) and 400 <= said < 600:
            status = said
        code = next(
            (word for word in (said, error.get("type"), error.get("status")) if isinstance(word, str) and word), ""
        )
        message = (
            error.get("message") or answer.get("Message") or answer.get("detail") or body.decode("utf-8", "replace")
        )
        structured = isinstance(error.get("message"), str)
        return FailureFacts(self._provider, status, retry_after, self.clean(str(message)), code, structured=structured)


def wished_delay(headers: Mapping[str, str], now: datetime | None = None) -> timedelta | None:
    """How long the provider asks us to wait: `retry-after-ms`, or `retry-after` in seconds or as a date."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return timedelta(milliseconds=max(float(milliseconds), 0))
        wish = headers.get("retry-after", "").strip()
        if not wish:
            return None
        if wish.replace(".", "", 1).isdigit():
            return timedelta(seconds=float(wish))
        return max(email.utils.parsedate_to_datetime(wish) - (now or datetime.now(UTC)), timedelta())
    except (ValueError, OverflowError, TypeError):
        return None


def _describe(error: Exception) -> str:
    """What a transport error says, with the name of its kind: many say nothing themselves."""
    words: tuple[tuple[type[Exception], str], ...] = (
        (aiohttp.ConnectionTimeoutError, "connection timed out"),
        (aiohttp.ClientConnectorError, "connection refused or not possible"),
        (aiohttp.ServerDisconnectedError, "connection closed by the provider"),
        (aiohttp.ClientPayloadError, "connection closed by the provider"),
        (aiohttp.ClientOSError, "connection reset"),
    )
    kind = next((text for known, text in words if isinstance(error, known)), "connection failed")
    said = re.sub(r" ssl:(<[^>]*>|\S+)", "", str(error))
    return f"{kind}: {said}".strip(": ")
