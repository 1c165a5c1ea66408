"""Put a chat into any state of the table, by real moves where they exist and by SQL where they come later."""

from uuid import UUID

from models.parts import text
from models.rules.states import State
from models.store import moves
from models.store.database import Database, Row, fetch
from tests.seeds import World

CALL = {"type": "tool-call", "tool_call_id": "call_1", "tool_name": "ask", "args": {}}


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
    with_calls = state in (State.A0, State.A1)
    attempt = await opened(database, chat_id)
    if with_calls:
        async with database.begin() as session:
            await moves.commit_step(session, attempt.fence, [moves.StepRow("assistant", [text("calling"), CALL])])
    if state.endswith("1"):
        await send(database, world, chat_id, "queued")
    archived, status = (
        state.startswith("X"),
        {
            "W": "waiting",
            "E": "error",
            "R": "running",
            "I": "interrupting",
            "A": "requires_action",
        }[state.lstrip("X")[0]],
    )
    error = '{"message": "x", "retryable": false}' if status == "error" else None
    async with database.begin() as session:
        await fetch(
            session,
            "UPDATE chats SET status = %(status)s::text, archived = %(archived)s, last_error = %(error)s::jsonb, "
            "requires_action_deadline_at = CASE WHEN %(status)s::text = 'requires_action' THEN now() END "
            "WHERE id = %(id)s",
            {"status": status, "archived": archived, "error": error, "id": chat_id},
        )
    return chat_id


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
