"""The API as an agent sees it, in a thread of its own: a WebSocket that speaks its protocol, and a door for files."""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aiohttp import WSMsgType, web

Frame = dict[str, Any]
TOKEN = "ts_agent_test"
PATIENCE = 60.0  # seconds: it only ends what hangs, and a machine may stand still for half of them


class Outside:
    """What was heard from agents, and what they are told; every method may be called from the test's thread."""

    def __init__(self) -> None:
        self.welcome: Frame = {
            "type": "welcome",
            "agent_id": str(uuid.uuid4()),
            "workspace_id": str(uuid.uuid4()),
            "owner_name": "ada",
            "workspace_name": "den",
            "startup_script": "",
            "startup_timeout_seconds": 60,
            "directory": "",
            "environment": {},
            "limits": {},
        }
        self.frames: list[Frame] = []
        self.results: dict[str, Frame] = {}
        self.files: dict[str, tuple[str, bytes]] = {}
        self.open_jobs: dict[str, Frame] = {}
        self.tokens = {TOKEN}
        self.store_results = True
        self.uploads_fail = 0
        self.port = 0
        self.connections = 0
        self._heard = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._socket: web.WebSocketResponse | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # What a test does.

    def post(self, kind: str, request: Frame, job: str | None = None) -> str:
        """Give a job to the agent; its id."""
        job = job or str(uuid.uuid4())
        self.open_jobs[job] = {"type": "job", "job": job, "kind": kind, "request": request}
        self.say(self.open_jobs[job])
        return job

    def result(self, job: str, timeout: float = PATIENCE) -> Frame:
        """The `result` frame of a job."""
        self.until(lambda: job in self.results, timeout)
        return self.results[job]

    def call(self, kind: str, request: Frame, timeout: float = PATIENCE) -> Frame:
        """Give a job to the agent and wait for its result; an AssertionError if it is an error."""
        frame = self.result(self.post(kind, request), timeout)
        assert "error" not in frame, frame
        return frame["result"]

    def error(self, kind: str, request: Frame) -> Frame:
        """Give a job to the agent that ends in an error."""
        frame = self.result(self.post(kind, request))
        assert "error" in frame, frame
        return frame["error"]

    def exec(self, command: str, **more: Any) -> Frame:
        """Run a command."""
        return self.call("exec", {"command": command, "wait_ms": 10_000, "background": False} | more)

    def of(self, kind: str) -> list[Frame]:
        """The frames of one type so far."""
        with self._heard:
            return [frame for frame in self.frames if frame["type"] == kind]

    def until(self, holds: Callable[[], Any], timeout: float = PATIENCE) -> None:
        """Wait for something to be heard."""
        end = time.monotonic() + timeout
        with self._heard:
            while not holds():
                left = end - time.monotonic()
                assert left > 0, f"never heard; the last frames are {self.frames[-5:]}"
                self._heard.wait(min(left, 0.2))

    def say(self, frame: Frame) -> None:
        """Send a frame if an agent listens."""

        async def send() -> None:
            if self._socket is not None and not self._socket.closed:
                with suppress(ConnectionError):
                    await self._socket.send_str(json.dumps(frame))

        asyncio.run_coroutine_threadsafe(send(), self._loop).result(PATIENCE)

    def drop(self) -> None:
        """Break the connection without a word."""

        async def drop() -> None:
            self._abort()

        asyncio.run_coroutine_threadsafe(drop(), self._loop).result(PATIENCE)

    # What an agent meets.

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Coder-Session-Token") not in self.tokens:
            return web.json_response({"message": "unknown"}, status=401)
        socket = web.WebSocketResponse(max_msg_size=64 * 2**20, compress=False)
        await socket.prepare(request)
        self.connections += 1
        with suppress(ConnectionError):  # an agent that is killed hears no answer
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                await self._hear(socket, json.loads(message.data))
        return socket

    async def _hear(self, socket: web.WebSocketResponse, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "hello":
            self._socket = socket
            await socket.send_str(json.dumps(self.welcome))
            for job in list(self.open_jobs.values()):
                await socket.send_str(json.dumps(job))
        elif kind == "ping":
            await socket.send_str('{"type": "pong"}')
        elif kind == "result" and self.store_results:
            self.open_jobs.pop(frame["job"], None)
            await socket.send_str(json.dumps({"type": "stored", "job": frame["job"]}))
        with self._heard:
            self.frames.append(frame)
            if kind == "result":
                self.results[frame["job"]] = frame
            self._heard.notify_all()

    async def _file(self, request: web.Request) -> web.Response:
        if request.headers.get("Coder-Session-Token") not in self.tokens:
            return web.json_response({"message": "unknown"}, status=401)
        if self.uploads_fail:
            self.uploads_fail -= 1
            return web.json_response({"message": "down"}, status=503)
        job, name = request.query["job"] + request.query.get("part", ""), request.query["name"]
        self.files.setdefault(job, (name, await request.read()))
        content = self.files[job][1]
        return web.json_response({"file_id": job, "name": name, "media_type": "text/plain", "size": len(content)})

    async def _open(self) -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_get("/api/v2/workspaceagents/me/connect", self._connect)
        app.router.add_post("/api/v2/workspaceagents/me/files", self._file)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._runner is not None:
            self._abort()
            await self._runner.cleanup()

    def _abort(self) -> None:
        if self._socket is not None and self._socket._req is not None:
            transport = self._socket._req.transport
            if transport is not None:
                transport.abort()

    def open(self) -> None:
        """Begin to listen (again, at the same address)."""
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(PATIENCE)

    def close(self) -> None:
        """Be gone."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE)

    @contextmanager
    def living(self) -> Iterator["Outside"]:
        """The loop in its thread, listening."""
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            self.open()
            yield self
        finally:
            self.close()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()
