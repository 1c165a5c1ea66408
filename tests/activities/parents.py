"""A chat whose model has called tools that have to do with sub-agents, and what may befall it."""

from typing import Any
from uuid import UUID

from activities.mailbox import Mailbox
from activities.tools.spawn_agent import spawn_agent
from activities.tools.tool import Tool, ToolContext
from activities.workshop import Workshop
from models.parts import text
from models.rules.executions import Policy
from models.store import ledger, moves, preferences
from models.store.database import fetch
from models.store.ledger import Intent
from models.store.stream import Episode
from tests.activities.stack import Stack
from tests.models.store.chats import born, opened

CALLS = 16


class Parent:
    """A chat at work whose model has made calls: each use of a tool is one of them, claimed as a worker claims it."""

    def __init__(self, stack: Stack, chat: dict[str, Any], message_id: int) -> None:
        self.stack = stack
        self.chat = chat
        self.id: UUID = chat["id"]
        self.message_id = message_id
        self.place = Workshop(stack.database, Mailbox(stack.database), temporal=stack.temporal)
        self._left = [f"c{place}" for place in range(CALLS)]

    async def context(self, tool: Tool) -> ToolContext:
        call_id = self._left.pop()
        episode = Episode(self.chat["history_version"], self.chat["generation_attempt"])
        async with self.stack.database.read() as session:
            intents = [Intent(call_id, tool.name, Policy.IDEMPOTENT)]
            claims = await ledger.claim(session, self.id, episode, self.message_id, intents)
        return self.resumed(call_id, claims[call_id].memory or {})

    def resumed(self, call_id: str, memory: Any) -> ToolContext:
        settings, owner = self.stack.settings, self.chat["owner_id"]
        more = {"chat": self.chat, "workshop": self.place, "memory": memory}
        return ToolContext(self.id, self.message_id, owner, call_id, settings, **more)

    async def use(self, tool: Tool, given: ToolContext | None = None, **arguments: Any) -> Any:
        context = given or await self.context(tool)
        return await tool.run(tool.arguments.model_validate(arguments), context)

    async def spawn(self, kind: str = "general", prompt: str = "look into it", **more: Any) -> dict[str, Any]:
        return await self.use(spawn_agent, type=kind, prompt=prompt, **more)  # type: ignore[no-any-return]

    async def children(self) -> list[dict[str, Any]]:
        return await self.rows("SELECT * FROM chats WHERE parent_chat_id IS NOT NULL ORDER BY created_at")

    async def rows(self, query: str, **params: Any) -> list[dict[str, Any]]:
        async with self.stack.database.begin() as session:
            return await fetch(session, query, params)

    async def site(self, **values: str) -> None:
        async with self.stack.database.begin() as session:
            await preferences.put_site(session, values)

    async def answered(self, child: dict[str, Any], said: str) -> None:
        """The sub-agent says this, and has ended."""
        chat_id = UUID(child["chat_id"])
        fence = (await opened(self.stack.database, chat_id)).fence
        async with self.stack.database.begin() as session:
            await moves.commit_step(session, fence, [moves.StepRow("assistant", [text(said)])])

    async def failed(self, child: dict[str, Any], error: dict[str, Any]) -> None:
        fence = (await opened(self.stack.database, UUID(child["chat_id"]))).fence
        async with self.stack.database.begin() as session:
            await moves.finish_error(session, fence, error)


async def at_work(stack: Stack, **columns: Any) -> Parent:
    """A chat whose model has just made its calls; its row has these columns."""
    chat_id = await born(stack.database, stack.world)
    first = await opened(stack.database, chat_id)
    calls = [{"type": "tool-call", "tool_call_id": f"c{place}", "tool_name": "x", "args": {}} for place in range(CALLS)]
    async with stack.database.begin() as session:
        await moves.commit_step(session, first.fence, [moves.StepRow("assistant", [text("so"), *calls])])
    async with stack.database.begin() as session:
        for name, value in columns.items():
            statement = f"UPDATE chats SET {name} = %(value)s WHERE id = %(id)s"
            await fetch(session, statement, {"value": value, "id": chat_id})
    second = await opened(stack.database, chat_id)
    return Parent(stack, second.chat, second.history[-1]["id"])


async def suspended(parent: Parent) -> None:
    async with parent.stack.database.begin() as session:
        await fetch(session, "UPDATE users SET status = 'suspended'")


async def stopped(parent: Parent) -> None:
    async with parent.stack.database.begin() as session:
        await moves.interrupt(session, await moves.lock(session, parent.id))


async def gone_on(parent: Parent) -> None:
    await stopped(parent)
    episode = (parent.chat["history_version"], parent.chat["generation_attempt"])
    async with parent.stack.database.begin() as session:
        await moves.finish_interruption(session, parent.id, [], episode=episode)
    await parent.stack.send(parent.id, "and now?", signal="")
    await opened(parent.stack.database, parent.id)
