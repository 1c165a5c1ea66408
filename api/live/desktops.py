"""Desktops of workspaces, shown to people: bytes between a client and an agent, both of which are connected here.

The agent is asked through its mailbox, wherever its connection ends, and dials until it is at the process that waits
for it. So no byte of a picture crosses the database or another process.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Any
from uuid import UUID, uuid4

from starlette.websockets import WebSocket, WebSocketDisconnect

from api.live.watcher import Ended, Watcher, Watchers
from api.live.websocket import GOING_AWAY, GOODBYE
from models.errors import BadGateway, NotFound
from models.store import mailbox
from models.store.database import Database
from models.store.mailbox import Job

DIAL = 30.0  # seconds that an agent has to come
LOOK = 0.5  # seconds between two looks at what it says meanwhile
NOT_DIALLED = "Failed to dial workspace agent."
NOT_CONNECTED = "Failed to connect to agent desktop."


@dataclass(eq=False, slots=True)
class Visit:
    """Somebody waits for the desktop of an agent, under a name that only it is told."""

    agent_id: UUID
    name: str = field(default_factory=lambda: token_urlsafe(24))
    link: "asyncio.Future[WebSocket]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Desktops:
    """The visits of this process. Every so many seconds it is looked whether somebody who is there still may."""

    def __init__(self, database: Database, doubt: float, watchers: Watchers) -> None:
        self._database = database
        self._doubt = doubt
        self._visits: dict[str, Visit] = {}
        self._watchers = watchers

    def expected(self, name: str, agent_id: UUID) -> Visit:
        """The visit of that name to this agent; raises NotFound when nobody here waits for it."""
        visit = self._visits.get(name)
        if visit is None or visit.agent_id != agent_id or visit.link.done():
            raise NotFound
        return visit

    @asynccontextmanager
    async def visit(self, agent_id: UUID) -> AsyncIterator[WebSocket]:
        """The agent's end of the line to its desktop. Raises BadGateway when it does not come."""
        visit = Visit(agent_id)
        self._visits[visit.name] = visit
        job_id = uuid4()
        try:
            async with self._database.begin() as session:
                await mailbox.post(session, job_id, agent_id, "view", {"session": visit.name}, chat_id=None)
            await self._arrival(visit, job_id)
            yield visit.link.result()
        finally:
            visit.over.set()
            del self._visits[visit.name]

    async def show(
        self, client: WebSocket, link: WebSocket, watcher: Watcher, may: Callable[[], Awaitable[bool]]
    ) -> None:
        """Pass bytes on between a client and its desktop, until either leaves, or the client may no longer be there."""
        ended = asyncio.Event()
        watcher.on_ready = ended.set
        with self._watchers.having(watcher):
            ways = (_pass(client, link), _pass(link, client), ended.wait(), self._doubted(may))
            tasks: list[asyncio.Task[Any]] = [asyncio.ensure_future(way) for way in ways]
            try:
                with suppress(Ended):
                    watcher.take()
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                watcher.on_ready = None
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        for side in (client, link):
            with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
                async with asyncio.timeout(GOODBYE):
                    await side.close(GOING_AWAY)

    async def _doubted(self, may: Callable[[], Awaitable[bool]]) -> None:
        while True:
            await asyncio.sleep(self._doubt)
            if not await may():
                return

    async def _arrival(self, visit: Visit, job_id: UUID) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + DIAL
        while True:
            await asyncio.wait([visit.link], timeout=LOOK)
            if visit.link.done():
                return
            async with self._database.read() as session:
                job = (await mailbox.find(session, [job_id])).get(job_id)
            if job is not None and job.over and job.error is None and loop.time() < until:
                continue  # its word was faster than its connection
            if job is None or job.over or loop.time() > until:
                raise await self._failure(job)

    async def _failure(self, job: Job | None) -> BadGateway:
        if job is None or job.over:
            said = (job.error or {}).get("message", "") if job is not None else ""
            return BadGateway(NOT_CONNECTED, str(said))
        async with self._database.begin() as session:
            await mailbox.withdraw(session, job.id)
        return BadGateway(NOT_DIALLED if job.state == "queued" else NOT_CONNECTED, "The agent did not come in time.")


async def _pass(source: WebSocket, sink: WebSocket) -> None:
    """As fast as the sink takes it: nothing is kept in between."""
    with suppress(WebSocketDisconnect, RuntimeError):
        while (message := await source.receive())["type"] == "websocket.receive":
            await sink.send_bytes(message.get("bytes") or (message.get("text") or "").encode())
