"""The two ways to act what a program decides: blocking, and awaiting. Nothing is decided here."""

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any, Generic, Self, TypeVar

import httpx

from turnstone.client.asking import Service
from turnstone.client.steps import Answer, Emit, Lost, Open, Program, Read, Request, Run, Send, Shut, Sleep, Step

T = TypeVar("T")
# Each stream holds a connection for as long as it is followed, so there is no most.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)


class Items(Generic[T]):
    """Loop over it; `close()`, or leaving its `with`, ends what is behind it."""

    def __init__(self, played: Generator[Any, None, Any]) -> None:
        self._played = played

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        item: T = next(self._played)
        return item

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self.close()

    def close(self) -> None:
        """End it; nothing more comes."""
        self._played.close()


class AsyncItems(Generic[T]):
    """Loop over it with `async for`; `aclose()`, or leaving its `async with`, ends what is behind it."""

    def __init__(self, played: AsyncGenerator[Any, None]) -> None:
        self._played = played

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        item: T = await anext(self._played)
        return item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End it; nothing more comes."""
        await self._played.aclose()


class Blocking:
    """Waits in the calling thread."""

    def __init__(self, service: Service, transport: httpx.BaseTransport | None) -> None:
        self.http = httpx.Client(
            base_url=service.url,
            headers=service.headers(),
            timeout=service.timeout,
            limits=LIMITS,
            transport=transport,
        )

    def close(self) -> None:
        """Close all connections."""
        self.http.close()

    def run(self, program: Program[T]) -> T:
        """The program's result."""
        played = self._play(program)
        while True:
            try:
                next(played)
            except StopIteration as end:
                result: T = end.value
                return result

    def items(self, program: Program[None]) -> Items[Any]:
        """What the program emits."""
        return Items(self._play(program))

    def _play(self, program: Program[T]) -> Generator[Any, None, T]:
        connection = _Connection(self.http)
        outcome: Any = None
        failure: Lost | None = None
        try:
            while True:
                try:
                    step = program.send(outcome) if failure is None else program.throw(failure)
                except StopIteration as end:
                    result: T = end.value
                    return result
                outcome = failure = None
                try:
                    if isinstance(step, Emit):
                        yield step.value
                    elif isinstance(step, Sleep):
                        time.sleep(step.seconds)
                    elif isinstance(step, Run):
                        outcome = [_attempt(call) for call in step.calls]
                    else:
                        outcome = connection.act(step)
                except httpx.RequestError as error:
                    failure = _lost(error)
        finally:
            program.close()
            connection.shut()


class Awaiting:
    """Waits in the running event loop."""

    def __init__(self, service: Service, transport: httpx.AsyncBaseTransport | None) -> None:
        self.http = httpx.AsyncClient(
            base_url=service.url,
            headers=service.headers(),
            timeout=service.timeout,
            limits=LIMITS,
            transport=transport,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self.http.aclose()

    async def run(self, program: Program[T]) -> T:
        """The program's result."""
        results: list[T] = []
        async for _ in self._play(program, results.append):
            pass
        return results[0]

    def items(self, program: Program[None]) -> AsyncItems[Any]:
        """What the program emits."""
        return AsyncItems(self._play(program, lambda _: None))

    async def _play(self, program: Program[T], returned: Callable[[T], None]) -> AsyncGenerator[Any, None]:
        connection = _AsyncConnection(self.http)
        outcome: Any = None
        failure: Lost | None = None
        try:
            while True:
                try:
                    step = program.send(outcome) if failure is None else program.throw(failure)
                except StopIteration as end:
                    returned(end.value)
                    return
                outcome = failure = None
                try:
                    if isinstance(step, Emit):
                        yield step.value
                    elif isinstance(step, Sleep):
                        await asyncio.sleep(step.seconds)
                    elif isinstance(step, Run):
                        outcome = await asyncio.gather(*(_attempt_async(call) for call in step.calls))
                    else:
                        outcome = await connection.act(step)
                except httpx.RequestError as error:
                    failure = _lost(error)
        finally:
            program.close()
            await connection.shut()


class _Connection:
    """At most one answer that is still open."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def act(self, step: Step) -> Any:
        match step:
            case Send(request, timeout):
                return _answer(self._http.send(_built(self._http, request, httpx.Timeout(timeout))))
            case Open(request, timeout, silence):
                self.shut()
                asked = _built(self._http, request, httpx.Timeout(timeout, read=silence))
                self._response = self._http.send(asked, stream=True)
                self._pieces = self._response.iter_bytes()
                if self._response.status_code != 200:
                    self._response.read()
                return _answer(self._response)
            case Read():
                return next(self._pieces, b"")
            case Shut():
                return self.shut()
        raise TypeError(step)

    def shut(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


class _AsyncConnection:
    """At most one answer that is still open."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def act(self, step: Step) -> Any:
        match step:
            case Send(request, timeout):
                return _answer(await self._http.send(_built(self._http, request, httpx.Timeout(timeout))))
            case Open(request, timeout, silence):
                await self.shut()
                asked = _built(self._http, request, httpx.Timeout(timeout, read=silence))
                self._response = await self._http.send(asked, stream=True)
                self._pieces = self._response.aiter_bytes()
                if self._response.status_code != 200:
                    await self._response.aread()
                return _answer(self._response)
            case Read():
                return await anext(self._pieces, b"") if self._pieces is not None else b""
            case Shut():
                return await self.shut()
        raise TypeError(step)

    async def shut(self) -> None:
        if self._response is not None:
            response, self._response = self._response, None
            await response.aclose()


def _built(http: httpx.Client | httpx.AsyncClient, request: Request, timeout: httpx.Timeout) -> httpx.Request:
    body: dict[str, Any] = {}
    if request.json is not None:
        body["json"] = request.json
    if request.content is not None:
        body["content"] = request.content
    params: Any = list(request.query) or None
    return http.build_request(
        request.method, request.path, params=params, headers=dict(request.headers), timeout=timeout, **body
    )


def _answer(response: httpx.Response) -> Answer:
    content = response.content if response.is_closed or response.is_stream_consumed else b""
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, content)


def _lost(error: httpx.RequestError) -> Lost:
    is_timeout = isinstance(error, httpx.TimeoutException)
    reason = "it does not answer" if is_timeout else "nobody answers there"
    if not isinstance(error, httpx.ConnectError | httpx.TimeoutException):
        reason = "the connection broke"
    return Lost(reason, is_timeout=is_timeout)


def _attempt(call: Callable[[], Any]) -> Any:
    try:
        result = call()
    except Exception as error:
        return error
    if inspect.iscoroutine(result):
        result.close()
        return TypeError("a blocking client cannot await: use AsyncTurnstone")
    return result


async def _attempt_async(call: Callable[[], Any]) -> Any:
    """A plain function must not hold up the loop, so it is called in a thread; what is awaitable is awaited here."""
    try:
        result = await asyncio.to_thread(call)
        return await result if inspect.isawaitable(result) else result
    except Exception as error:
        return error
