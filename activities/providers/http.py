"""One streamed HTTP answer of a provider: sent, timed, read event by event, and closed at once when nobody wants it."""

import asyncio
import contextlib
import email.utils
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson

from activities.providers.tape import Tape
from models.errors import FailureFacts, ProviderFailed

MAX_BODY = 64 * 1024
MAX_TEXT = 4000
DONE = b"[DONE]"


def open_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """The one connection pool of a process; deadlines are `Exchange`'s, so only connecting is timed here."""
    return httpx.AsyncClient(
        transport=transport,
        timeout=httpx.Timeout(None, connect=30.0),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=60.0),
    )


class Exchange:
    """A request to a provider and its streamed answer. Every failure leaves as `ProviderFailed`, with facts."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        provider: str,
        *,
        secrets: tuple[str, ...] = (),
        first_byte_timeout: float,
        silence_timeout: float,
        tape: Tape | None = None,
    ) -> None:
        self._client = client
        self._provider = provider
        self._secrets = tuple(secret for secret in secrets if len(secret) >= 8)
        self._silence = silence_timeout
        self._tape = tape
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + first_byte_timeout
        self._response: httpx.Response | None = None
        self._bytes: Any = None
        self._rest = b""
        self._data: list[bytes] = []
        self._ended = False
        self.asked = False
        self.failure: ProviderFailed | None = None

    def heard(self) -> None:
        """The provider said something of substance: its time to the next word starts now."""
        self._deadline = self._loop.time() + self._silence

    async def send(self, url: str, headers: Mapping[str, str], content: bytes) -> httpx.Response:
        """Post the request and return the open answer; anything but a 2xx is a failure."""
        request = self._client.build_request(
            "POST", url, headers={**headers, "accept-encoding": "identity"}, content=content
        )
        if self._tape is not None:
            self._tape.asked("POST", url, request.headers, content)
        try:
            async with asyncio.timeout_at(self._deadline):
                self.asked = True
                self._response = await self._client.send(request, stream=True)
                if self._tape is not None:
                    self._tape.answered(self._response.status_code, self._response.headers)
                if self._response.is_success:
                    return self._response
                body = await self._error_body(self._response)
        except TimeoutError as error:
            raise self.fail(signal="silence", text="The provider did not start its answer in time.") from error
        except httpx.HTTPError as error:
            raise self.fail(text=_describe(error)) from error
        raise self.fail(self._refused(self._response, body))

    async def read(self) -> list[bytes]:
        """The payloads of the next server-sent events, as they arrive together; empty at the end of the answer."""
        while not self._ended:
            data = await self.receive()
            if payloads := self._split(data):
                return payloads
        return []

    async def receive(self) -> bytes:
        """The next bytes of the answer; empty at its end."""
        assert self._response is not None
        if self._bytes is None:
            self._bytes = self._response.aiter_bytes()
        try:
            async with asyncio.timeout_at(self._deadline):
                data: bytes = await anext(self._bytes)
                if self._tape is not None:
                    self._tape.heard(data)
                return data
        except StopAsyncIteration:
            self._ended = True
            return b""
        except TimeoutError as error:
            raise self.fail(signal="silence", text="The provider went silent inside its answer.") from error
        except httpx.HTTPError as error:
            raise self.fail(signal="stream_cut", text=_describe(error)) from error

    async def next_of(self, chunks: AsyncIterator[Any]) -> Any:
        """The next of the chunks that somebody else reads from this answer; None at their end."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await anext(chunks)
        except StopAsyncIteration:
            self._ended = True
            return None
        except TimeoutError as error:
            raise self.fail(signal="silence", text="The provider went silent inside its answer.") from error
        except httpx.HTTPError as error:
            raise self.fail(signal="stream_cut", text=_describe(error)) from error

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
        response, self._response = self._response, None
        if self._tape is not None:
            self._tape.ended()
        if response is None:
            return
        try:
            if self._ended and self._bytes is not None:
                with contextlib.suppress(TimeoutError, httpx.HTTPError, StopAsyncIteration):
                    async with asyncio.timeout(0.25):
                        while True:
                            await anext(self._bytes)
        finally:
            await response.aclose()

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

    def _split(self, data: bytes) -> list[bytes]:
        """Payloads that `data` completes. At the end, one that lacks its blank line counts too."""
        payloads: list[bytes] = []
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if self._ended:
            lines += [self._rest, b""]
            self._rest = b""
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].strip())
            elif not line and self._data:
                payloads.append(b"\n".join(self._data))
                self._data.clear()
        return payloads

    async def _error_body(self, response: httpx.Response) -> bytes:
        body = b""
        async for data in response.aiter_bytes():
            body += data
            if len(body) > MAX_BODY:
                break
        if self._tape is not None:
            self._tape.heard(body)
        return body

    def _refused(self, response: httpx.Response, body: bytes) -> FailureFacts:
        retry_after = wished_delay(response.headers)
        with contextlib.suppress(orjson.JSONDecodeError):
            answer = orjson.loads(body)
            answer = answer[0] if isinstance(answer, list) and answer else answer
            if isinstance(answer, dict):
                return self._said(answer, response.status_code, retry_after, body)
        text = self.clean(body.decode("utf-8", "replace").strip())
        return FailureFacts(self._provider, response.status_code, retry_after, text)

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
    words: dict[type[Exception], str] = {
        httpx.ConnectTimeout: "connection timed out",
        httpx.ConnectError: "connection refused or not possible",
        httpx.RemoteProtocolError: "connection closed by the provider",
        httpx.ReadError: "connection reset while reading",
        httpx.WriteError: "connection reset while writing",
    }
    said = re.sub(r" ssl:(<[^>]*>|\S+)", "", str(error))
    return f"{words.get(type(error), 'connection failed')}: {said}".strip(": ")
