"""A real API process on a real database without workers: tests play the worker, so they decide what happens when."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from activities.publish import Episode, Publisher
from models.rules.history import DYNAMIC
from models.settings import Settings
from models.store import moves
from models.store.database import Database, fetch
from models.store.moves import Fence, StepRow

NO_TEMPORAL = "127.0.0.1:9"
PATIENCE = 60.0


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """`turnstone api` in a process of its own, which can be killed and started again at its address."""

    def __init__(self, settings: Settings, token: str, log: Path) -> None:
        self.settings = settings
        self.token = token
        self.url = f"http://127.0.0.1:{settings.port}"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Serve; returns once it answers."""
        settings = self.settings
        own = {
            "TURNSTONE_DATABASE_URL": settings.database_url,
            "TURNSTONE_TEMPORAL_ADDRESS": NO_TEMPORAL,
            "TURNSTONE_SECRET_KEYS": settings.secret_keys.get_secret_value(),
            "TURNSTONE_PORT": str(settings.port),
        }
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "turnstone", "api"]
            self._process = subprocess.Popen(command, env=clean_environment() | own, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/healthz", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.kill()
                    raise AssertionError(self._log.read_text()) from None
                time.sleep(0.05)

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def clean_environment() -> dict[str, str]:
    """Ours, without what would tell a child about another service."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TURNSTONE_", "NO_COLOR"))}


@dataclass
class Turn:
    """An attempt that the test answers."""

    worker: "PlayedWorker"
    fence: Fence
    episode: Episode
    said: list[str] = field(default_factory=list)

    async def say(self, text: str) -> None:
        """Stream a piece of the answer; it is in the log when this returns."""
        self.said.append(text)
        self.episode.push("assistant", {"type": "text", "text": text})
        assert await self.episode.flush()

    async def end(self) -> None:
        """Commit what was said: the turn is over."""
        self.episode.close()
        async with self.worker.database.begin() as session:
            await moves.commit_step(session, self.fence, [StepRow("assistant", self.content)])

    async def fail(self, **error: Any) -> None:
        """The turn ends in an error."""
        self.episode.close()
        async with self.worker.database.begin() as session:
            await moves.finish_error(session, self.fence, error)

    async def ask(self, name: str, args: dict[str, Any]) -> None:
        """The step calls a tool that the chat's client runs."""
        self.episode.close()
        call = {"type": "tool-call", "tool_call_id": "c1", "tool_name": name, "args": args}
        row = StepRow("assistant", [call | {"provider_metadata": {DYNAMIC: True}}])
        async with self.worker.database.begin() as session:
            await moves.commit_step(session, self.fence, [row])

    async def stop(self) -> None:
        """Wait for the interruption that a client asks for, and commit the partial as a worker would."""
        await self.worker.until(self.fence.chat_id, "interrupting")
        self.episode.close()
        async with self.worker.database.begin() as session:
            row = StepRow("assistant", self.content)
            await moves.finish_interruption(session, self.fence.chat_id, [row], episode=None)

    @property
    def content(self) -> list[dict[str, Any]]:
        return [{"type": "text", "text": "".join(self.said)}]


class PlayedWorker:
    """What a worker does to the database, move by move."""

    def __init__(self, settings: Settings) -> None:
        self.database = Database(settings.database_url, 4)
        self._publisher = Publisher(self.database, settings)

    async def __aenter__(self) -> Self:
        await self._publisher.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._publisher.close()
        await self.database.close()

    async def take(self) -> Turn:
        """The next chat that waits for a worker."""
        async with asyncio.timeout(PATIENCE):
            while not (found := await self._chats("status = 'pending'")):
                await asyncio.sleep(0.02)
        async with self.database.begin() as session:
            opened = await moves.open_attempt(session, found[0], max_attempts=25, max_steps=100)
        fence = opened.fence
        episode = self._publisher.episode(fence.chat_id, fence.history_version, fence.generation_attempt)
        return Turn(self, fence, episode)

    async def answer(self, *pieces: str) -> UUID:
        """Take the next chat and answer it; its id."""
        turn = await self.take()
        for piece in pieces:
            await turn.say(piece)
        await turn.end()
        return turn.fence.chat_id

    async def until(self, chat_id: UUID, status: str) -> None:
        """Wait until the chat is there."""
        async with asyncio.timeout(PATIENCE):
            while chat_id not in await self._chats(f"status = '{status}'"):
                await asyncio.sleep(0.02)

    async def asked(self, chat_id: UUID) -> list[str]:
        """The user messages of a chat."""
        sql = "SELECT content FROM chat_messages WHERE chat_id = %(id)s AND role = 'user' ORDER BY id"
        async with self.database.read() as session:
            rows = await fetch(session, sql, {"id": chat_id})
        return ["".join(part["text"] for part in row["content"]) for row in rows]

    async def _chats(self, condition: str) -> list[UUID]:
        async with self.database.read() as session:
            return [row["id"] for row in await fetch(session, f"SELECT id FROM chats WHERE {condition}", {})]


class Client:
    """`turnstone …` as a person runs it, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.out = b""
        self.err = b""

    @classmethod
    async def run(cls, *words: str, env: Mapping[str, str], cwd: Path, stdin: str | None = None) -> Self:
        """Start it; `stdin` is piped into it, else it has none."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "turnstone",
            *words,
            env={**clean_environment(), **env},
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        if stdin is not None:
            assert process.stdin is not None
            process.stdin.write(stdin.encode())
            process.stdin.close()
        return cls(process)

    async def until_out(self, text: str) -> None:
        """Wait until it has printed this."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while text.encode() not in self.out:
                piece = await self._process.stdout.read(4096)
                assert piece, (self.out, await self._process.communicate())
                self.out += piece

    async def until_err(self, text: str) -> None:
        """Wait until it has said this beside the answer."""
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while text.encode() not in self.err:
                piece = await self._process.stderr.read(4096)
                assert piece, (self.err, await self._process.communicate())
                self.err += piece

    def press_ctrl_c(self) -> None:
        self._process.send_signal(signal.SIGINT)

    async def end(self) -> tuple[int, str, str]:
        """Wait for its end: exit code, stdout, stderr."""
        async with asyncio.timeout(PATIENCE):
            out, err = await self._process.communicate()
        code = self._process.returncode
        assert code is not None
        return code, (self.out + out).decode(), (self.err + err).decode()


@asynccontextmanager
async def losing_the_first_answer(request: str, service: Service) -> AsyncIterator[str]:
    """A proxy in front of the service that hangs up when the first such request has been answered."""
    lost: list[bool] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: list[bool]) -> None:
        try:
            while piece := await reader.read(65536):
                if doomed and piece.startswith(b"HTTP/1.1 20"):
                    break
                if not lost and piece.startswith(request.encode()):
                    lost.append(True)
                    doomed.append(True)
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        doomed: list[bool] = []
        there, back = await asyncio.open_connection("127.0.0.1", service.settings.port)
        up = asyncio.create_task(pipe(reader, back, doomed))
        await pipe(there, writer, doomed)
        back.close()
        await up

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert lost
    finally:
        server.close()
