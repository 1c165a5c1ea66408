"""A real `turnstone dev` in subprocesses, with everything a test needs to use it and to break it."""

import asyncio
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import pytest
from cryptography.fernet import Fernet
from psycopg.rows import dict_row

from tests.chaos.api import CHATS, Api
from tests.fakes.provider import FakeProvider, Received
from tests.forge import Forged, spawn

# The marks of every module of this ring: its tests share the loop that the stack's provider runs in.
CHAOS = [
    pytest.mark.chaos,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
]
PATIENCE = 90.0  # of a loaded machine; how fast we are is measured by `make bench`
ROLES = ("api", "worker", "temporal", "postgres")
CHOSEN = ("TURNSTONE_FAST_PROVIDERS",)  # `…=false` has the whole ring run with litellm's reading of answers
LITELLM = {"TURNSTONE_FAST_PROVIDERS": "false"}
T = TypeVar("T")
_tags = itertools.count(1)


def ask(what: str = "", **behaviour: Any) -> str:
    """A user message of its own, which tells the fake provider how to answer."""
    return f"{what or 'message'} no. {next(_tags)} @fake {json.dumps(behaviour)}"


def words(count: int) -> str:
    """What the fake provider answers with so many tokens."""
    return "".join(f"w{index} " for index in range(count))


async def eventually(found: Callable[[], Awaitable[T]], why: str, patience: float = PATIENCE) -> T:
    """The first true thing that `found` gives; errors of a service that is away do not count."""
    deadline = asyncio.get_running_loop().time() + patience
    last: object = None
    while asyncio.get_running_loop().time() < deadline:
        try:
            last = await found()
        except (OSError, httpx.HTTPError, psycopg.OperationalError) as away:
            last = away
        else:
            if last:
                return last
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {patience:.0f} s: {why}; at last: {last!r}")


class Stack:
    """Two API processes, a worker, Temporal and PostgreSQL, in front of a fake provider."""

    def __init__(self, folder: Path, fake: FakeProvider) -> None:
        self.fake = fake
        self.facts: dict[str, Any] = {}
        self.secret_keys = [Fernet.generate_key().decode() for _ in range(2)]  # as in the middle of a change of keys
        self._folder = folder
        self._ready = folder / "ready.json"
        self._process: asyncio.subprocess.Process | None = None
        self._provider_id: str | None = None
        self._extra: list[Forged] = []

    # --- its life ---

    async def start(self) -> None:
        """Bring it up, on whatever data the last run left."""
        self._ready.unlink(missing_ok=True)
        options = ["--data-dir", str(self._folder / "data"), "--ready-file", str(self._ready)]
        options += ["--port", "0", "--temporal-port", "0", "--temporal-ui-port", "0", "--apis", "2"]
        own = {name: value for name, value in os.environ.items() if not name.startswith(("TURNSTONE_", "OPENAI_"))}
        own |= {name: os.environ[name] for name in CHOSEN if name in os.environ}
        own |= {"TURNSTONE_SWEEP_INTERVAL": "2", "TURNSTONE_RATE_LIMIT_PER_MINUTE": "0"}
        own["TURNSTONE_SECRET_KEYS"] = ",".join(self.secret_keys)
        with (self._folder / "dev.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "turnstone", "dev", *options, env=own, stdout=log, stderr=log
            )

        async def is_ready() -> bool:
            assert self._process is not None
            assert self._process.returncode is None, (self._folder / "dev.log").read_text()
            return self._ready.exists()

        await eventually(is_ready, "the stack is ready")
        self.read_facts()
        if self._provider_id is None:
            await self._add_provider()

    async def _add_provider(self) -> None:
        async with self.api() as api:
            made = await api.post(
                "/api/v2/ai/providers",
                {
                    "type": "openai-compat",
                    "name": "fake",
                    "display_name": "",
                    "enabled": True,
                    "base_url": self.fake.openai_url,
                    "api_keys": ["sk-fake"],
                },
            )
            self._provider_id = made["id"]
            model = {"ai_provider_id": made["id"], "model": "fake-1", "context_limit": 100_000, "is_default": True}
            await api.post(f"{CHATS}/model-configs", model)

    async def stop(self) -> None:
        """End it as a person would."""
        assert self._process is not None
        for process in self._extra:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._process.returncode is None:
            self._process.terminate()
            async with asyncio.timeout(60):
                await self._process.wait()

    async def is_whole(self) -> bool:
        """All processes are there, and ready."""
        self.read_facts()
        everyone = [pid for role in ROLES for pid in self.facts["pids"][role]]
        return [len(self.facts["pids"][role]) for role in ROLES] == [2, 1, 1, 1] and all(map(_parent, everyone))

    def read_facts(self) -> None:
        self.facts = json.loads(self._ready.read_text())

    # --- breaking it ---

    def pids(self, role: str) -> list[int]:
        """The processes of a role, as last published."""
        self.read_facts()
        pids: list[int] = self.facts["pids"][role]
        return pids

    async def kill(self, role: str, *pids: int) -> "Replaced":
        """`kill -9` processes of a role, all of them unless said; await what it gives for their replacement."""
        before = self.pids(role)
        for pid in pids or before:
            if _parent(pid) == self.facts["pids"]["supervisor"]:  # else it has died, and its number may be another's
                os.kill(pid, signal.SIGKILL)
        return Replaced(self, role, before, set(pids or before))

    async def replaced(self, role: str, pid: int) -> None:
        """Wait until another process has this one's place."""
        await Replaced(self, role, self.pids(role), {pid})

    async def kill_everything(self) -> None:
        """`kill -9` of the supervisor and all its children at once."""
        self.read_facts()
        everyone = [self.facts["pids"]["supervisor"], *(pid for role in ROLES for pid in self.facts["pids"][role])]
        for pid in everyone:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self._process is not None
        await self._process.wait()

    @asynccontextmanager
    async def second_worker(self, **settings: str) -> AsyncIterator[Forged]:
        """One more worker, until the end of the block."""
        extra, ready = await self._worker(_environment(self.pids("worker")[0]) | settings)
        await eventually(ready, "the second worker is ready")
        yield extra
        with suppress(ProcessLookupError):
            extra.kill()
        await extra.wait()

    @asynccontextmanager
    async def only_worker(self, *, failpoint: str, **settings: str) -> AsyncIterator[Forged]:
        """The one worker there is kills itself at `failpoint`; the usual one comes back at the end of the block."""
        pids = self.pids("worker")
        environment = _environment(pids[0]) | settings | {"TURNSTONE_FAILPOINTS": failpoint}
        supervisor = self.facts["pids"]["supervisor"]
        go = self._folder / f"go-{next(_tags)}"
        armed, ready = await self._worker(environment, "--after", str(go))
        os.kill(supervisor, signal.SIGSTOP)  # it would start another worker at once
        try:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            go.touch()
            await eventually(ready, "the armed worker is ready")
            yield armed
        finally:
            os.kill(supervisor, signal.SIGCONT)
        await Replaced(self, "worker", pids, set(pids))

    async def _worker(self, environment: dict[str, str], *options: str) -> tuple[Forged, Callable[[], Awaitable[bool]]]:
        said_so = self._folder / f"ready-{next(_tags)}"
        process = await self._spawn(environment, "worker", "--processes", "1", "--ready-path", str(said_so), *options)

        async def is_ready() -> bool:
            return said_so.exists()

        return process, is_ready

    async def api_that_dies(self, *, failpoint: str) -> str:
        """One more API process, armed; its URL."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        armed = {"TURNSTONE_FAILPOINTS": failpoint, "TURNSTONE_PORT": str(port)}
        await self._spawn(_environment(self.pids("api")[0]) | armed, "api")
        url = f"http://127.0.0.1:{port}"

        async def answers() -> bool:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{url}/readyz")).status_code == 200

        await eventually(answers, "the armed API answers")
        return url

    async def _spawn(self, environment: dict[str, str], *arguments: str) -> Forged:
        with (self._folder / "extra.log").open("ab") as log:
            process = await spawn("turnstone", *arguments, env=environment, stdout=log, stderr=log)
        self._extra.append(process)
        return process

    def worker_of(self, received: Received) -> int:
        """The worker whose connection to the provider carries this request."""
        [connection] = [each for each in self.fake._connections if each._current is received]
        assert connection._transport is not None
        port = connection._transport.get_extra_info("peername")[1]
        inode = _inode(port, self.fake._port)
        extra = [process.pid for process in self._extra if process.returncode is None]
        for pid in [*self.pids("worker"), *extra]:
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) == f"socket:[{inode}]":
                        return pid
        raise AssertionError("no worker holds that connection")

    # --- using it ---

    def api(self, index: int = 0) -> Api:
        """A client of one API process, as patient as we are."""
        return Api(self.facts["api_urls"][index], self.facts["admin_token"], PATIENCE)

    async def create(self, text: str) -> str:
        """A new chat; its id."""
        async with self.api() as api:
            made = await api.post(CHATS, content(text) | {"organization_id": self.facts["organization_id"]})
        return str(made["id"])

    async def send(self, chat_id: str, text: str, **more: Any) -> dict[str, Any]:
        async with self.api() as api:
            sent: dict[str, Any] = await api.post(f"{CHATS}/{chat_id}/messages", content(text) | more)
        return sent

    async def rest(self, chat_id: str, status: str = "waiting") -> list[dict[str, Any]]:
        """Wait until the chat rests so; its visible messages."""
        async with self.api() as api:

            async def rests() -> bool:
                found = (await api.get(f"{CHATS}/{chat_id}"))["status"]
                assert found == status or found not in ("waiting", "error", "requires_action"), found
                return bool(found == status)

            await eventually(rests, f"chat {chat_id} is {status}")
        return await self.messages(chat_id)

    async def messages(self, chat_id: str) -> list[dict[str, Any]]:
        """The visible messages, oldest first."""
        found: list[dict[str, Any]] = []
        async with self.api() as api:
            more = True
            while more:
                last = found[-1]["id"] if found else 0
                page = await api.get(f"{CHATS}/{chat_id}/messages", after_id=last, limit=200)
                found += page["messages"]
                more = page["has_more"]
        return found

    async def asked(self, text: str, tokens: int = 0, count: int = 1) -> Received:
        """The provider's `count`-th request for this message, once it has sent so many tokens."""

        async def streams() -> Received | None:
            found = self.requests(text)
            return found[count - 1] if len(found) >= count and found[count - 1].tokens_sent >= tokens else None

        received = await eventually(streams, f"the provider streams {text!r}")
        assert received is not None
        return received

    def requests(self, text: str) -> list[Received]:
        """What the provider was asked with `text` as the last user message."""
        return [each for each in self.fake.received if last_user_text(each.body) == text]

    async def query(self, sql: str, **params: Any) -> list[dict[str, Any]]:
        """Rows straight from the database."""
        async with await psycopg.AsyncConnection.connect(self.facts["database_url"], autocommit=True) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(sql, params)
            return await cursor.fetchall()


class Replaced:
    """The replacement of killed processes; awaiting it waits until the new ones are ready."""

    def __init__(self, stack: Stack, role: str, before: list[int], dead: set[int]) -> None:
        self._stack, self._role, self._before, self._dead = stack, role, before, dead

    def __await__(self) -> Any:
        async def replaced() -> bool:
            now = self._stack.pids(self._role)
            return len(now) == len(self._before) and not self._dead & set(now)

        return eventually(replaced, f"{self._role} was replaced").__await__()


def content(text: str) -> dict[str, Any]:
    """The body of a message."""
    return {"content": [{"type": "text", "text": text}]}


def text_of(message: dict[str, Any]) -> str:
    """The visible text of a message."""
    return "".join(part["text"] for part in message.get("content", ()) if part["type"] == "text")


def said(messages: list[dict[str, Any]], role: str = "assistant") -> list[str]:
    """The texts of a role, in order."""
    return [text_of(message) for message in messages if message["role"] == role]


def last_user_text(body: Any) -> str:
    """The last user message of a provider request."""
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            given = message["content"]
            return given if isinstance(given, str) else "".join(part.get("text", "") for part in given)
    return ""


def _parent(pid: int) -> int:
    """The parent of a living process, else 0."""
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return 0 if state == "Z" else int(parent)


def _environment(pid: int) -> dict[str, str]:
    """What a process was started with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def _inode(local_port: int, remote_port: int) -> str:
    """The socket between two ports of this machine, seen from the first."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = [int(address.rsplit(":", 1)[1], 16) for address in fields[1:3]]
        if ports == [local_port, remote_port]:
            return fields[9]
    raise AssertionError("no such connection")
