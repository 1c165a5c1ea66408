"""A thousand workers die at every boundary of a tools step: nothing happens twice, and nothing is passed off as known.

A death is an exception that nothing catches, at a named place; the world that tools act on is a table of its own.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from activities.attempt import Attempt
from activities.resources import Resources, open_resources
from activities.tools.registry import Toolbox
from activities.tools.tool import Done, NotDone, Probed, Tool, ToolContext
from activities.use_tools import ToolsStep
from api.app import create_app
from models.failpoints import Failpoints
from models.parts import Part, text
from models.rules.executions import Policy
from models.settings import Settings
from models.steps import Then
from models.store import moves
from models.store.database import Database, Row, fetch
from models.store.moves import StepRow
from tests.api.conftest import Api
from tests.models.store.chats import born, opened
from tests.seeds import World
from workflows.client import Temporal

KILLS = 1_000
A_LIFE = 7  # deaths in one chat, at most
SIDE_BY_SIDE = 8
NO_TEMPORAL = "127.0.0.1:9"
BOUNDARIES = {
    *("worker.after_open", "worker.after_claim", "worker.after_effect", "worker.after_result"),
    *("worker.before_commit", "worker.after_commit", "tool.before_effect", "tool.after_effect", "tool.probing"),
}
CALLS = ("once", "again", "probed", "look", "once")


class Killed(BaseException):
    """The worker is dead."""


class Fate(Failpoints):
    """Kills at the chosen boundary; counts where it did."""

    def __init__(self, kills: Counter[str]) -> None:
        super().__init__(frozenset())
        self.fatal = 0
        self._kills = kills

    def hit(self, name: str) -> None:
        self.fatal -= 1
        if self.fatal == 0:
            self._kills[name] += 1
            raise Killed(name)


class Act(BaseModel):
    """Do something to the world."""

    name: str


@dataclass
class Outside:
    """The world, and what is on its way to it."""

    database: Database
    fate: Fate
    under_way: set[asyncio.Task[list[Row]]] = field(default_factory=set)

    def tools(self) -> Toolbox:
        return Toolbox(
            [
                Tool("once", Act, self.act, Policy.ONCE),
                Tool("again", Act, self.act_by_key, Policy.IDEMPOTENT),
                Tool("probed", Act, self.act, Policy.PROBE, self.ask),
                Tool("look", Act, self.look, Policy.PURE),
            ]
        )

    async def act(self, arguments: Act, context: ToolContext) -> Any:
        return await self._effect(arguments, context, "INSERT INTO effects VALUES (%(chat)s, %(name)s, %(key)s, NULL)")

    async def act_by_key(self, arguments: Act, context: ToolContext) -> Any:
        statement = "INSERT INTO effects VALUES (%(chat)s, %(name)s, %(key)s, %(key)s) ON CONFLICT (once_by) DO NOTHING"
        return await self._effect(arguments, context, statement)

    async def _effect(self, arguments: Act, context: ToolContext, statement: Any) -> Any:
        self.fate.hit("tool.before_effect")
        params = {"chat": context.chat_id, "name": arguments.name, "key": context.idempotency_key}
        await self._reach(statement, params)
        self.fate.hit("tool.after_effect")
        return {"did": arguments.name}

    async def _reach(self, statement: Any, params: dict[str, Any]) -> list[Row]:
        """What is on its way when a worker dies arrives all the same."""

        async def arrive() -> list[Row]:
            async with self.database.read() as session:
                return await fetch(session, statement, params)

        task = asyncio.create_task(arrive())
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        return await asyncio.shield(task)

    async def ask(self, _arguments: Act, context: ToolContext) -> Probed:
        self.fate.hit("tool.probing")
        while self.under_way:  # what did not happen will not happen later
            await asyncio.wait(set(self.under_way))
        found = await self._reach("SELECT name FROM effects WHERE key = %(key)s", {"key": context.idempotency_key})
        return Done({"did": found[0]["name"]}) if found else NotDone()

    async def look(self, arguments: Act, _context: ToolContext) -> Any:
        return {"did": arguments.name}


@asynccontextmanager
async def workers(settings: Settings) -> AsyncIterator[Resources]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(open_resources(settings, await Temporal.connect(settings)))


@asynccontextmanager
async def api_of(settings: Settings, world: World) -> AsyncIterator[Api]:
    app = create_app(settings)
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(app.router.lifespan_context(app))
        yield Api(app, dict(state or {}), world.organization_id, stack)


async def with_calls(database: Database, world: World) -> UUID:
    """A chat whose model has just made the calls."""
    chat_id = await born(database, world)
    attempt = await opened(database, chat_id)
    calls = [
        {"type": "tool-call", "tool_call_id": f"c{place}", "tool_name": name, "args": {"name": f"{name}{place}"}}
        for place, name in enumerate(CALLS)
    ]
    async with database.begin() as session:
        await moves.commit_step(session, attempt.fence, [StepRow("assistant", [text("I act"), *calls])])
    return chat_id


async def lived(resources: Resources, world: World, kills: Counter[str], dice: random.Random) -> UUID:
    """One chat's tools step through so many deaths, to its commit."""
    fate = Fate(kills)
    outside = Outside(resources.database, fate)
    mortal = replace(resources, failpoints=fate, tools=outside.tools())
    chat_id = await with_calls(resources.database, world)
    for death in range(A_LIFE + 1):
        fate.fatal = dice.randint(1, 22 - 2 * death) if death < A_LIFE else 0
        try:
            reply = await Attempt(mortal, chat_id, Then.USE_TOOLS, ToolsStep(mortal)).run()
        except Killed:
            continue
        assert reply.then is Then.GENERATE
        return chat_id
    raise AssertionError("the last worker died too")


async def told(database: Database, chat_id: UUID) -> list[Part]:
    query = "SELECT content FROM chat_messages WHERE chat_id = %(id)s AND role = 'tool' ORDER BY id"
    async with database.read() as session:
        return [part for row in await fetch(session, query, {"id": chat_id}) for part in row["content"]]


@pytest.mark.timeout(300)
async def test_of_a_thousand_kills_none_doubles_an_effect_and_all_that_is_unknown_is_shown(
    database: Database, settings: Settings, seed: World
) -> None:
    async with database.begin() as session:
        await fetch(session, "CREATE TABLE effects (chat uuid, name text, key text, once_by text UNIQUE)")
    settings = settings.model_copy(update={"temporal_address": NO_TEMPORAL})
    kills: Counter[str] = Counter()
    chats: list[UUID] = []
    dice = random.Random(20_261_122)

    async def lives(resources: Resources) -> None:
        while kills.total() < KILLS:
            chats.append(await lived(resources, seed, kills, dice))

    async with workers(settings) as resources, asyncio.TaskGroup() as group:
        for _ in range(SIDE_BY_SIDE):
            group.create_task(lives(resources))
    async with database.read() as session:
        effects = await fetch(session, "SELECT chat, name, count(*) AS n FROM effects GROUP BY chat, name")
        ledger = await fetch(session, "SELECT * FROM tool_executions")
    done = {(row["chat"], row["name"]): row["n"] for row in effects}
    states = {(row["chat_id"], row["tool_call_id"]): row for row in ledger}
    unknown: dict[UUID, set[str]] = {}
    for chat_id in chats:
        unknown[chat_id] = check(chat_id, await told(database, chat_id), done, states)
    assert set(kills) == BOUNDARIES
    assert sum(map(len, unknown.values())) > 100, "hardly anything was ever in doubt: this test says nothing"
    async with api_of(settings, seed) as api:
        ada = await api.sign_in(seed.owner_id, "ada")
        for chat_id, calls in unknown.items():
            if calls:
                answer = await ada.client.get(f"/api/v2/chats/{chat_id}/explain")
                shown = {(each["tool_call_id"], each["state"]) for each in answer.json()["tool_calls"]}
                assert shown == {(each, "unknown") for each in calls}


def check(chat_id: UUID, parts: list[Part], done: dict[Any, int], states: dict[Any, Row]) -> set[str]:
    """One chat's results against the world and the ledger; which of its calls are unknown."""
    assert [part["tool_call_id"] for part in parts] == [f"c{place}" for place in range(len(CALLS))]
    unknown = set()
    for place, (name, part) in enumerate(zip(CALLS, parts, strict=True)):
        act, call_id = f"{name}{place}", f"c{place}"
        happened, row = done.get((chat_id, act), 0), states.get((chat_id, call_id))
        assert happened <= 1, f"{act} happened {happened} times"
        if name == "look":
            assert row is None, "what changes nothing is not in the ledger"
            continue
        assert row is not None
        if part.get("is_error"):
            assert name == "once", part
            assert part["result"]["outcome"] == "unknown"
            assert row["state"] == "unknown"
            unknown.add(call_id)
        else:
            assert part["result"] == {"did": act}
            assert (happened, row["state"]) == (1, "succeeded")
            assert row["result"] == part
    return unknown
