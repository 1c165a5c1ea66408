"""One session with an MCP server: opened, asked one thing, and closed beside what comes next."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, Implementation, ToolListChangedNotification

from activities.mcp.transport import Pinned, client
from models.egress import Refused
from models.rules.addresses import Network
from models.store.mcp_servers import Server

Got = TypeVar("Got")

CONNECT = 10.0  # seconds to be ready to be asked
CLOSE = 5.0  # seconds that a session has to end
LARGEST_EVENT = 16 * 1024 * 1024  # bytes
# What goes wrong is told in our words; its own would be pages, and hold what servers are shown.
logging.getLogger("mcp").setLevel(logging.CRITICAL)
_CLIENT = Implementation(name="turnstone", version="1")


class Failed(Exception):
    """The server did not do it. `sent`: what was asked for may have happened; `unauthorized`: it does not know us."""

    def __init__(self, why: str, *, sent: bool = False, unauthorized: bool = False) -> None:
        super().__init__(why)
        self.sent = sent
        self.unauthorized = unauthorized


class Answered(Failed):
    """The server said itself that it could not: an error of the protocol, with its code."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


class Sessions:
    """Opens sessions, and sees to it that they end."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(
        self,
        server: Server,
        headers: Mapping[str, str],
        what: Callable[[Client], Awaitable[Got]],
        *,
        seconds: float,
        changed: Callable[[], None] = lambda: None,
    ) -> Got:
        """What `what` gets from the opened session; raises Failed. `changed` is called when the server's tools do.

        The session has a task of its own: it ends there while the caller goes on, and whoever is stopped stops it.
        """
        answer: asyncio.Future[Got] = asyncio.get_running_loop().create_future()
        transport = Pinned(server.url, self._allowed)
        sending = False

        async def live() -> None:
            nonlocal sending
            try:
                async with (
                    asyncio.timeout(CONNECT) as patience,
                    _opened(server, transport, headers, changed) as opened,
                ):
                    sending = True
                    patience.reschedule(asyncio.get_running_loop().time() + seconds)
                    got = await what(opened)
                    if not answer.done():
                        answer.set_result(got)
                    patience.reschedule(asyncio.get_running_loop().time() + CLOSE)
            except asyncio.CancelledError:
                if not answer.done():
                    answer.cancel()
                raise
            except (Exception, BaseExceptionGroup) as failed:
                if not answer.done():
                    after = seconds if sending else CONNECT
                    answer.set_exception(_failure(failed, transport.refusal, sent=sending, seconds=after))

        task = asyncio.create_task(live(), name=f"mcp {server.slug}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await answer
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task}, timeout=CLOSE)
            raise

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._tasks)

    async def close(self) -> None:
        """End all of them."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE)


@asynccontextmanager
async def _opened(
    server: Server, transport: Pinned, headers: Mapping[str, str], changed: Callable[[], None]
) -> AsyncIterator[Client]:
    async def hear(message: Any) -> None:
        if isinstance(getattr(message, "root", message), ToolListChangedNotification):
            changed()

    async with client(transport, dict(headers)) as http:
        if server.transport == "sse":
            way = sse_client(server.url, httpx_client_factory=lambda *_, **__: client(transport, dict(headers)))
            mode = "legacy"
        else:
            way = streamable_http_client(server.url, http_client=http, max_sse_event_size=LARGEST_EVENT)
            mode = "auto"
        async with Client(way, mode=mode, message_handler=hear, client_info=_CLIENT, cache=None) as opened:
            yield opened


def _failure(failed: BaseException, refusal: int, *, sent: bool, seconds: float) -> Failed:
    """What happened, from whatever the SDK's task groups have made of it."""
    leaves = list(_leaves(failed))
    refused = next((each for each in leaves if isinstance(each, Refused)), None)
    if refused is not None:
        return Failed(str(refused), sent=sent)
    unauthorized = refusal in (401, 403) or any(
        isinstance(each, httpx2.HTTPStatusError) and each.response.status_code in (401, 403) for each in leaves
    )
    if unauthorized:
        return Failed("it refused what it was shown (sign-in or key)", unauthorized=True)
    told = next((each for each in leaves if isinstance(each, MCPError)), None)
    if told is not None:
        if told.code == CONNECTION_CLOSED or (told.code == INTERNAL_ERROR and refusal >= 500):
            return Failed("the connection broke off before it answered", sent=sent)
        if refusal:
            return Failed(f"it answered {refusal}: {told.message}"[:500])
        return Answered(told.message[:2000], told.code)
    if any(isinstance(each, TimeoutError) for each in leaves):
        return Failed(f"it did not answer within {seconds:g} s", sent=sent)
    if any(isinstance(each, httpx2.ConnectError | httpx2.ConnectTimeout) for each in leaves):
        return Failed("it could not be reached")
    first = leaves[0]
    return Failed(f"{type(first).__name__}: {first}"[:500], sent=sent)


def _leaves(failed: BaseException) -> list[BaseException]:
    if isinstance(failed, BaseExceptionGroup):
        return [leaf for each in failed.exceptions for leaf in _leaves(each)]
    return [failed]
