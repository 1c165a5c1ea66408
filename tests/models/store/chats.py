"""Put a chat into any state of the table, by real moves."""

from uuid import UUID

from models.parts import text
from models.rules.history import DYNAMIC
from models.rules.states import State
from models.store import moves
from models.store.database import Database, Row, fetch
from tests.seeds import World

CALL = {"type": "tool-call", "tool_call_id": "call_1", "tool_name": "look", "args": {}}
ASK = {
    "type": "tool-call",
    "tool_call_id": "ask_1",
    "tool_name": "ask",
    "args": {},
    "provider_metadata": {DYNAMIC: True},
}
"""A call of ours, and one that the chat's client answers."""


async def born(database: Database, world: World, words: str = "hello") -> UUID:
    async with database.begin() as session:
        made = await moves.create(
            session,
            owner_id=world.owner_id,
            organization_id=world.organization_id,
            title="t",
            content=[text(words)],
            model_config_id=world.model_config_id,
            created_by=world.owner_id,
        )
    chat_id: UUID = made.chat["id"]
    return chat_id


async def send(database: Database, world: World, chat_id: UUID, words: str, *, interrupt: bool = False) -> moves.Moved:
    async with database.begin() as session:
        locked = await moves.lock(session, chat_id)
        return await moves.send(
            session,
            locked,
            content=[text(words)],
            sender_id=world.owner_id,
            model_config_id=None,
            interrupt=interrupt,
            queue_limit=20,
        )


async def opened(database: Database, chat_id: UUID) -> moves.Opened:
    async with database.begin() as session:
        return await moves.open_attempt(session, chat_id, max_attempts=25, max_steps=1200)


async def chat_in(database: Database, world: World, state: State) -> UUID:
    """A chat in this state, with history; its queue, where it has one, holds "queued"."""
    chat_id = await born(database, world)
    if state.endswith("1"):
        await send(database, world, chat_id, "queued")
    kind = state.lstrip("X")[0]
    await _bring(database, chat_id, kind, with_queue=state.endswith("1"))
    async with database.begin() as session:
        if kind == "I" and not state.startswith("X"):
            await moves.interrupt(session, await moves.lock(session, chat_id))
        elif state is State.W1:
            await moves.unarchive(session, chat_id)
        elif state.startswith("X") and state is not State.XW1:
            await moves.archive(session, chat_id)
    return chat_id


async def _bring(database: Database, chat_id: UUID, kind: str, *, with_queue: bool) -> None:
    """To a running step, or to the end of it that `kind` names; a queue is kept from being drained by archiving."""
    fence = (await opened(database, chat_id)).fence
    async with database.begin() as session:
        match kind:
            case "A":
                await moves.commit_step(session, fence, [moves.StepRow("assistant", [text("calling"), ASK])])
            case "E":
                await moves.commit_step(session, fence, [moves.StepRow("assistant", [text("calling"), CALL])])
            case "W" if with_queue:
                await moves.archive(session, chat_id)
                partial = [moves.StepRow("assistant", [text("half an answer")])]
                episode = (fence.history_version, fence.generation_attempt)
                await moves.finish_interruption(session, chat_id, partial, episode=episode)
            case "W":
                await moves.commit_step(session, fence, [moves.StepRow("assistant", [text("an answer")])])
    if kind == "E":
        fence = (await opened(database, chat_id)).fence
        async with database.begin() as session:
            await moves.finish_error(session, fence, {"message": "x", "retryable": False})


async def snapshot(database: Database, chat_id: UUID) -> tuple[Row, list[Row], list[Row]]:
    """The chat, its undeleted messages and its queue."""
    async with database.read() as session:
        [chat] = await fetch(session, "SELECT * FROM chats WHERE id = %(id)s", {"id": chat_id})
        messages = await fetch(
            session, "SELECT * FROM chat_messages WHERE chat_id = %(id)s AND NOT deleted ORDER BY id", {"id": chat_id}
        )
        queue = await fetch(
            session, "SELECT * FROM chat_queued_messages WHERE chat_id = %(id)s ORDER BY position, id", {"id": chat_id}
        )
    return chat, messages, queue
