"""A whole worker in the test's process: real Postgres, real Temporal, the fake HTTP provider behind real litellm."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import orjson

from activities.resources import Resources, open_resources
from activities.tools.registry import TOOLS, Toolbox
from activities.tools.tool import Tool
from activities.worker import make_runtime, make_workers
from activities.workshop import Patience
from models.parts import Part, text
from models.settings import Settings
from models.store import moves
from models.store.database import Database, fetch
from models.store.moves import Moved
from models.store.secrets import Cipher
from models.tables.catalog import AIProviderKey
from models.tables.chats import Chat
from models.tables.messages import Message
from tests.fakes.provider import FakeProvider
from tests.forge import Forged, spawn
from tests.seeds import World, insert
from workflows.client import Temporal

RESTING = ("waiting", "error")
PATIENCE = 120.0  # seconds


@dataclass
class Stack:
    """What a test does to it, and reads from it."""

    settings: Settings
    database: Database
    world: World
    fake: FakeProvider
    temporal: Temporal
    resources: list[Resources] = field(default_factory=list)

    async def create(self, words: str, *, signal: str = "message_queued", title: str = "A chat", **more: Any) -> UUID:
        """A chat with a first message, nudged; with signal "" the nudge is lost."""
        async with self.database.begin() as session:
            moved = await moves.create(
                session,
                owner_id=self.world.owner_id,
                organization_id=self.world.organization_id,
                title=title,
                content=[text(words)],
                model_config_id=self.world.model_config_id,
                created_by=self.world.owner_id,
                **more,
            )
        if signal:
            await self.nudge(moved, signal)
        chat_id: UUID = moved.chat["id"]
        return chat_id

    async def move(
        self, chat_id: UUID, what: Callable[..., Awaitable[Moved]], *, signal: str, **arguments: Any
    ) -> Moved:
        """A person's move, committed and then nudged; with signal "" the nudge is lost."""
        async with self.database.begin() as session:
            moved = await what(session, await moves.lock(session, chat_id), **arguments)
        if signal:
            await self.nudge(moved, signal)
        return moved

    async def send(
        self, chat_id: UUID, words: str, *, interrupt: bool = False, signal: str = "message_queued"
    ) -> Moved:
        return await self.move(
            chat_id,
            moves.send,
            signal=signal,
            content=[text(words)],
            sender_id=self.world.owner_id,
            model_config_id=None,
            interrupt=interrupt,
            queue_limit=20,
        )

    async def edit(self, chat_id: UUID, message_id: int, words: str, *, signal: str = "history_edited") -> Moved:
        """The owner says something else instead."""
        return await self.move(
            chat_id,
            moves.edit,
            signal=signal,
            message_id=message_id,
            content=[text(words)],
            editor_id=self.world.owner_id,
        )

    async def interrupt(self, chat_id: UUID, *, signal: str = "interrupt_requested") -> Moved:
        return await self.move(chat_id, moves.interrupt, signal=signal)

    async def nudge(self, moved: Moved, signal: str) -> None:
        chat = moved.chat
        await self.temporal.nudge(chat["id"], chat["owner_id"], chat["snapshot_version"], signal=signal)

    async def chat(self, chat_id: UUID) -> Chat:
        async with self.database.read() as session:
            [row] = await fetch(session, "SELECT * FROM chats WHERE id = %(id)s", {"id": chat_id})
        return Chat(**row)

    async def until(self, chat_id: UUID, holds: Callable[[Chat], bool]) -> Chat:
        """The chat once that holds. Raises TimeoutError long before pytest's clock, which ends nothing in order."""
        async with asyncio.timeout(PATIENCE):
            while not holds(chat := await self.chat(chat_id)):
                await asyncio.sleep(0.02)
        return chat

    async def rest(self, chat_id: UUID) -> Chat:
        """The chat once its turn, and what was queued behind it, has ended."""
        return await self.until(chat_id, lambda chat: chat.status in RESTING)

    async def messages(self, chat_id: UUID) -> list[Message]:
        """What is in the chat, without what was edited away."""
        async with self.database.read() as session:
            query = "SELECT * FROM chat_messages WHERE chat_id = %(id)s AND NOT deleted ORDER BY id"
            return [Message(**row) for row in await fetch(session, query, {"id": chat_id})]

    async def said(self, chat_id: UUID) -> list[tuple[str, str]]:
        """Role and text of each message."""
        return [(message.role, words_of(message.content)) for message in await self.messages(chat_id)]

    async def until_logged(self, chat_id: UUID, history_version: int) -> None:
        """Wait until a part of a step of this history is in the log."""
        query = "SELECT 1 FROM stream_log WHERE chat_id = %(chat)s AND history_version = %(history)s"
        while True:
            async with self.database.read() as session:
                if await fetch(session, query, {"chat": chat_id, "history": history_version}):
                    return
            await asyncio.sleep(0.01)

    async def streaming(self, chat_id: UUID, parts: int = 1) -> None:
        """Wait until so many parts of the running step are in the log."""
        query = "SELECT count(*) AS n FROM stream_log WHERE chat_id = %(chat)s"
        while True:
            async with self.database.read() as session:
                [row] = await fetch(session, query, {"chat": chat_id})
            if row["n"] >= parts:
                return
            await asyncio.sleep(0.01)


def words_of(parts: list[Part]) -> str:
    return "".join(part.get("text", "") for part in parts if part["type"] == "text")


async def point_at(database: Database, world: World, fake: FakeProvider, settings: Settings, **options: Any) -> None:
    """Make the world's provider an OpenAI-compatible one at the fake's address, with a key."""
    cipher = Cipher(settings.secret_keys.get_secret_value())
    async with database.begin() as session:
        await fetch(
            session,
            "UPDATE ai_providers SET type = 'openai-compat', name = 'fake', display_name = 'Fake AI', "
            "base_url = %(url)s",
            {"url": fake.openai_url},
        )
        await fetch(
            session,
            "UPDATE chat_model_configs SET model = 'fake-model', options = %(options)s",
            {"options": orjson.dumps(options).decode()},
        )
        key = AIProviderKey(provider_id=world.provider_id, api_key=cipher.encrypt("sk-test"), masked="sk-...")
        await insert(session, key)


async def doomed(stack: Stack, **more: str) -> Forged:
    """A worker process of `tests.activities.doomed` with the stack's settings and `more` in its environment."""
    settings = stack.settings
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TURNSTONE_")} | {
        "TURNSTONE_DATABASE_URL": settings.database_url,
        "TURNSTONE_TEMPORAL_ADDRESS": settings.temporal_address,
        "TURNSTONE_TASK_QUEUE": settings.task_queue,
        "TURNSTONE_SECRET_KEYS": settings.secret_keys.get_secret_value(),
    }
    return await spawn("tests.activities.doomed", env=environment | more)


@asynccontextmanager
async def worker(stack: Stack, *tools: Tool, patience: Patience | None = None) -> AsyncIterator[Resources]:
    """A worker process's insides, until the block ends; `tools` are offered beside the built-in ones."""
    async with AsyncExitStack() as opened:
        temporal = await Temporal.connect(stack.settings, runtime=make_runtime(), lazy=False)
        resources = await opened.enter_async_context(
            open_resources(stack.settings, temporal, Toolbox((*TOOLS, *tools)))
        )
        if patience is not None:
            resources = replace(resources, workshop=replace(resources.workshop, patience=patience))
        stack.resources.append(resources)
        for each in make_workers(temporal.client, stack.settings, resources):
            await opened.enter_async_context(each)
        await resources.control.listening()
        yield resources
