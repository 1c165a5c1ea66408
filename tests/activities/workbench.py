"""A chat's workspace for tests: a real API process, a real agent behind its WebSocket, and calls of tools."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from activities.mailbox import Mailbox
from activities.tools.tool import Tool, ToolContext
from activities.workshop import Workshop
from agent import residence
from models.settings import Settings
from models.store.database import Database, fetch
from tests.api.live_stage import Process
from tests.seeds import World
from tests.workplace import Workplace, furnish, seat

ROOT = Path(__file__).parents[2]


@dataclass
class Bench:
    """A workspace of the world's owner, and what a test does to it."""

    settings: Settings
    database: Database
    world: World
    folder: Path
    place: Workplace
    workshop: Workshop
    api: Process | None = None
    agents: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    async def open_api(self) -> Process:
        self.api = await Process(self.settings).start()
        return self.api

    async def start_agent(self, place: Workplace | None = None, *, wait: bool = True) -> asyncio.subprocess.Process:
        """The workspace's agent (of this build); it has come when this returns, unless `wait` is off."""
        assert self.api is not None
        place = place or self.place
        self.home.mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.home),
            "TURNSTONE_AGENT_TOKEN": place.token,
        }
        words = ("-m", "agent", "--url", f"http://{self.api.address}", "--state", str(self.state))
        log = (self.folder / "agent.log").open("ab")
        agent = await asyncio.create_subprocess_exec(sys.executable, *words, env=environment, cwd=self.home, stderr=log)
        log.close()
        self.agents.append(agent)
        if wait:
            await self.until(f"a.id = '{place.agent_id}' AND a.disconnected_at IS NULL AND a.last_seen_at IS NOT NULL")
        return agent

    async def kill_agent(self) -> None:
        """The agent dies; its commands go on."""
        agent = self.agents.pop()
        agent.kill()
        await agent.wait()

    async def until(self, condition: str) -> None:
        """Wait until this holds of some agent `a`, or job `j` of one."""
        tables = "workspace_agents a LEFT JOIN agent_jobs j ON j.agent_id = a.id"
        try:
            async with asyncio.timeout(60):
                while not await self.rows(f"SELECT 1 AS found FROM {tables} WHERE {condition} LIMIT 1"):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            jobs = await self.rows("SELECT kind, state, cancel, result, error FROM agent_jobs")
            said = (self.folder / "agent.log").read_text() if self.agents else ""
            codes = [agent.returncode for agent in self.agents]
            raise AssertionError(f"it is never so that {condition}: {jobs}; agents {codes}: {said}") from None

    async def rows(self, query: str) -> list[dict[str, Any]]:
        async with self.database.read() as session:
            return await fetch(session, query)

    async def change(self, statement: str) -> None:
        async with self.database.begin() as session:
            await fetch(session, statement)

    def context(self, chat_id: UUID, **more: Any) -> ToolContext:
        """A call of the chat's, one of its own each time."""
        given: dict[str, Any] = {"chat": {"id": chat_id}, "workshop": self.workshop, **more}
        call_id = given.pop("tool_call_id", f"call-{uuid4()}")
        return ToolContext(chat_id, 1, self.world.owner_id, call_id, self.settings, **given)

    async def use(self, tool: Tool, chat_id: UUID, context: ToolContext | None = None, **arguments: Any) -> Any:
        """What the tool says when a model of the chat calls it."""
        return await tool.run(tool.arguments.model_validate(arguments), context or self.context(chat_id))

    async def close(self) -> None:
        for agent in self.agents:
            if agent.returncode is None:
                agent.kill()
                await agent.wait()
        if (self.state / "processes").is_dir():
            await asyncio.to_thread(residence.stop, self.state)
        await self.workshop.mailbox.close()
        if self.api is not None:
            await self.api.stop()


@asynccontextmanager
async def workbench(
    settings: Settings, database: Database, world: World, folder: Path, *, agent: bool = True, **given: Any
) -> AsyncIterator[Bench]:
    """A workspace with an API process and, unless told otherwise, its agent at work."""
    place = await furnish(database, world.owner_id, world.organization_id, **given)
    quick = settings.model_copy(update={"stream_ping_interval": settings.stream_ping_interval / 100})
    bench = Bench(quick, database, world, folder, place, Workshop(database, Mailbox(database)))
    try:
        await bench.open_api()
        if agent:
            await bench.start_agent()
        yield bench
    finally:
        await bench.close()


async def settle(bench: Bench, chat_id: UUID) -> UUID:
    """The chat works in the bench's workspace."""
    await seat(bench.database, chat_id, bench.place)
    return chat_id
