"""The connections of workspace agents that end in this process: jobs go out, results and signs of life come in."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID, uuid4

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from api.resources import Resources
from models.errors import Unauthenticated
from models.parts import tool_result_delta
from models.rules import repositories
from models.rules.agents import LIFECYCLES
from models.store import mailbox, presence, scans, stream
from models.store.database import Row
from models.store.mailbox import Job
from models.store.notices import GIT_ASKED, JobNotice
from models.store.session import Session
from models.store.stream import EPISODE_BYTES, NOTICE_BYTES

PROTOCOL = 1
GREETING = 10.0  # seconds that an agent has to say who it is
LOOK = 15.0  # seconds between two looks at the mailbox, should a notice be lost
MOST_LINES = 200  # of a startup script, in one frame
SUPERSEDED, MALFORMED, SILENT = 4001, 4002, 4003  # what a connection is closed with

T = TypeVar("T")


class Gone(Exception):
    """The connection is to be closed; `code` says why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Connection:
    """One agent's connection."""

    def __init__(self, resources: Resources, socket: WebSocket, row: Row, connection_id: UUID) -> None:
        self._resources = resources
        self._database = resources.database
        self._socket = socket
        self._row = row
        self._id: UUID = row["id"]
        self._connection_id = connection_id
        self._noted = monotonic()
        self._heard = monotonic()
        self._sent_cancel: set[UUID] = set()
        self._awake = resources.mailroom.join(self._id)
        self._asked = resources.mailroom.join(self._id, GIT_ASKED)
        self._scanned = False

    async def serve(self) -> None:
        """Pass jobs and results on until one side ends it."""
        work = (self._receive(), self._deliver(), self._doubt(), self._pass_requests())
        tasks = [asyncio.create_task(each) for each in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._resources.mailroom.leave(self._id, self._awake)
            self._resources.mailroom.leave(self._id, self._asked, GIT_ASKED)

    async def _deliver(self) -> None:
        await self._send({"type": "welcome", **_welcome(self._row)})
        again = True
        while True:
            self._awake.clear()
            async with self._resources.database.begin() as session:
                jobs = await mailbox.take(session, self._id, self._connection_id, again=again)
            for job in jobs:
                await self._send(_job(job))
            if again or not jobs:
                await self._check()
            again = False
            if len(jobs) < mailbox.AT_ONCE:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await self._awake.wait()

    async def _check(self) -> None:
        """Is this still the agent's connection? Then tell it what nobody waits for any more."""
        if not await self._write(lambda s: presence.seen(s, self._id, self._connection_id)):
            raise Gone(SUPERSEDED, "superseded")
        async with self._database.read() as session:
            unwanted = await mailbox.given_up(session, self._id)
        for job_id in unwanted - self._sent_cancel:
            await self._send({"type": "cancel", "job": str(job_id)})
        self._sent_cancel = unwanted

    async def _doubt(self) -> None:
        while True:
            await asyncio.sleep(presence.NOTED)
            if monotonic() - self._heard > presence.SILENCE:
                raise Gone(SILENT, "no sign of life")

    async def _receive(self) -> None:
        while True:
            frame = await _read(self._socket)
            self._heard = monotonic()
            await self._hear(frame)
            if self._heard - self._noted > presence.NOTED:
                self._noted = self._heard
                if not await self._write(lambda s: presence.seen(s, self._id, self._connection_id)):
                    raise Gone(SUPERSEDED, "superseded")

    async def _hear(self, frame: Mapping[str, Any]) -> None:
        match frame.get("type"):
            case "output":
                await self._output(frame)
            case "result":
                await self._result(frame)
            case "lifecycle":
                await self._lifecycle(frame)
            case "log":
                await self._log(frame)
            case "git":
                await self._git(frame)
            case "ping":
                await self._send({"type": "pong"})
            case _:  # acknowledgements, and what a newer agent may say
                pass

    async def _output(self, frame: Mapping[str, Any]) -> None:
        job_id, text, offset = _uuid(frame.get("job")), frame.get("text"), frame.get("stream_offset", 0)
        if not isinstance(text, str) or not isinstance(offset, int):
            raise Gone(MALFORMED, "an output frame has text and stream_offset")
        notice = JobNotice(job_id, offset, text)
        if len(notice.encode().encode()) > NOTICE_BYTES:  # what does not fit is not previewed
            return
        async with self._database.read() as session:
            paused = await mailbox.said(session, notice)
        if paused is not None and offset < EPISODE_BYTES:
            part = tool_result_delta(paused.call, text)
            await self._write(lambda s: stream.add(s, paused.chat_id, paused.episode, "tool", part))

    async def _result(self, frame: Mapping[str, Any]) -> None:
        job_id, result, error = _uuid(frame.get("job")), frame.get("result"), frame.get("error")
        given = error if error is not None else result
        if not isinstance(given, dict):
            raise Gone(MALFORMED, "a result frame has result or error")
        waiting = await self._write(
            lambda s: mailbox.finish(s, self._id, job_id, result=None if error is not None else given, error=error)
        )
        await self._send({"type": "stored", "job": str(job_id)})
        if waiting is not None:
            self._resources.errands.start(self._resources.temporal.nudge(*waiting, 0))

    async def _lifecycle(self, frame: Mapping[str, Any]) -> None:
        state = frame.get("state")
        if state not in LIFECYCLES:
            raise Gone(MALFORMED, "no such lifecycle state")
        if await self._write(lambda s: presence.lifecycle(s, self._id, self._connection_id, state)):
            await wake_chats(self._resources, self._row["workspace_id"])

    async def _log(self, frame: Mapping[str, Any]) -> None:
        lines = frame.get("lines")
        if not isinstance(lines, list) or not all(isinstance(each, dict) for each in lines):
            raise Gone(MALFORMED, "a log frame has lines")
        kept = [
            {"level": str(each.get("level", "info"))[:10], "source": str(each.get("source", ""))[:64],
             "output": str(each.get("output", ""))[:8192]}
            for each in lines[:MOST_LINES]
        ]  # fmt: skip
        await self._write(lambda s: presence.log(s, self._id, kept))

    async def _git(self, frame: Mapping[str, Any]) -> None:
        try:
            scan = await asyncio.to_thread(repositories.read, frame, datetime.now(UTC))
        except repositories.Malformed as wrong:
            raise Gone(MALFORMED, str(wrong)) from wrong
        # The first look of a connection has all there are, later ones what has changed; one that failed saw nothing.
        whole = not self._scanned and not scan.error
        self._scanned = self._scanned or whole
        await self._write(lambda s: scans.keep(s, self._id, self._connection_id, scan, whole=whole))

    async def _pass_requests(self) -> None:
        """Tell the agent when somebody wants it to look at its repositories."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._send({"type": "git_refresh"})

    async def _write(self, work: Callable[[Session], Awaitable[T]]) -> T:
        async with self._database.begin() as session:
            return await work(session)

    async def _send(self, frame: Mapping[str, Any]) -> None:
        await self._socket.send({"type": "websocket.send", "text": orjson.dumps(frame).decode()})


async def serve(socket: WebSocket, resources: Resources, digest: bytes) -> None:
    """Take an agent's connection from its first frame to its end."""
    await socket.accept()
    connection_id = uuid4()
    row: Row | None = None
    try:
        facts = await _greeted(socket)
        async with resources.database.begin() as session:
            row = await presence.arrive(session, digest, connection_id, facts)
        if row is None:
            await _close(socket, SUPERSEDED, "superseded")
            return
        await wake_chats(resources, row["workspace_id"])
        await Connection(resources, socket, row, connection_id).serve()
    except WebSocketDisconnect:
        pass
    except Gone as gone:
        await _close(socket, gone.code, str(gone))
    finally:
        if row is not None:
            with suppress(Exception):  # it goes stale by itself
                async with resources.database.begin() as session:
                    await presence.leave(session, row["id"], connection_id)


async def _greeted(socket: WebSocket) -> dict[str, Any]:
    """What the agent says of itself in its first frame."""
    try:
        async with asyncio.timeout(GREETING):
            hello = await _read(socket)
    except TimeoutError:
        raise Gone(MALFORMED, "no hello") from None
    if hello.get("type") != "hello" or hello.get("protocol") != PROTOCOL:
        raise Gone(MALFORMED, f"the first frame is a hello of protocol {PROTOCOL}")
    return {key: value for key, value in hello.items() if key not in ("type", "protocol")}


async def wake_chats(resources: Resources, workspace_id: UUID) -> None:
    """Something has become of the workspace: turns that work in it look whether they waited for that."""
    async with resources.database.read() as session:
        chats = await presence.working_chats(session, workspace_id)
    for chat in chats:
        resources.errands.start(resources.temporal.nudge(chat["id"], chat["owner_id"], 0))


async def require_agent(resources: Resources, digest: bytes | None) -> bytes:
    """The digest of an agent's good token; raises Unauthenticated."""
    await agent_of(resources, digest)
    assert digest is not None
    return digest


async def agent_of(resources: Resources, digest: bytes | None) -> UUID:
    """The agent whose good token it is; raises Unauthenticated."""
    if digest is not None:
        async with resources.database.read() as session:
            agent_id = await presence.whose(session, digest)
        if agent_id is not None:
            return agent_id
    raise Unauthenticated(detail="The agent's token is unknown, or its workspace has been built anew.")


async def _read(socket: WebSocket) -> dict[str, Any]:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1000)
    try:
        frame = orjson.loads(message.get("text") or message.get("bytes") or b"")
    except orjson.JSONDecodeError:
        frame = None
    if not isinstance(frame, dict):
        raise Gone(MALFORMED, "a frame is a JSON object")
    return frame


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    if socket.client_state is WebSocketState.CONNECTED:
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(code, reason)


def _uuid(text: object) -> UUID:
    try:
        return UUID(str(text))
    except ValueError:
        raise Gone(MALFORMED, "a job is a UUID") from None


def _job(job: Job) -> dict[str, Any]:
    chat = None if job.chat_id is None else str(job.chat_id)
    return {"type": "job", "job": str(job.id), "kind": job.kind, "request": job.request, "chat_id": chat}


def _welcome(row: Row) -> dict[str, Any]:
    return {
        "agent_id": str(row["id"]),
        "workspace_id": str(row["workspace_id"]),
        "owner_name": row["owner_name"],
        "workspace_name": row["workspace_name"],
        "startup_script": row["startup_script"],
        "startup_timeout_seconds": row["startup_timeout_seconds"],
        "directory": row["directory"],
        "environment": row["environment"],
        "lifecycle": row["lifecycle"],
    }
