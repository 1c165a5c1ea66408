"""The laws of this ring see what breaks them: each is broken on purpose, in a database of its own."""

from uuid import UUID

import psycopg
import pytest

from models.store.database import Database
from tests.chaos.invariants import LAWS
from tests.seeds import World

CHAT = UUID("01a204a5-1320-76f5-8fe1-f9199ca9a0fd")
SOUND = f"""
INSERT INTO chat_messages (chat_id, role, content, revision, queued_message_id) VALUES
    ('{CHAT}', 'user', '[{{"type": "text", "text": "Hi"}}]', 1, NULL),
    ('{CHAT}', 'assistant', '[{{"type": "tool-call", "tool_call_id": "c1", "tool_name": "t"}}]', 2, NULL),
    ('{CHAT}', 'tool', '[{{"type": "tool-result", "tool_call_id": "c1", "tool_name": "t", "result": 1}}]', 3, NULL),
    ('{CHAT}', 'assistant', '[{{"type": "text", "text": "Hello"}}]', 4, NULL),
    ('{CHAT}', 'user', '[]', 5, 7),
    ('{CHAT}', 'assistant', '[]', 6, NULL)
"""
QUEUE = "INSERT INTO chat_queued_messages (chat_id, position, created_by) SELECT id, 1, owner_id FROM chats"
SAME_AGAIN = "INSERT INTO chat_messages (chat_id, role, revision, queued_message_id) VALUES ('{chat}', 'user', 6, {id})"
ASKS = "UPDATE chats SET status = 'requires_action', requires_action_deadline_at = now()"
BREAKS = {
    "a waiting chat has no queue (I8)": QUEUE,
    "an archived chat does not run (I8)": "UPDATE chats SET archived = true, status = 'running'",
    "an error is kept in error states only (I16)": "UPDATE chats SET status = 'error'",
    "a retry is kept between two attempts only (I16)": "UPDATE chats SET retry_state = '{}'",
    "a deadline is kept while a client is asked only (I16)": "UPDATE chats SET requires_action_deadline_at = now()",
    "no version is ahead of the snapshot (I1)": "UPDATE chats SET queue_version = 7",
    "no message is newer than its chat's history (I1)": "UPDATE chats SET history_version = 5",
    "messages are in the order of their ids (I1)": "UPDATE chat_messages SET revision = 6 WHERE revision = 3",
    "a queued message enters the history once (I7)": SAME_AGAIN.format(chat=CHAT, id=7),
    "a message is not both queued and in the history (I7)": QUEUE
    + "; UPDATE chats SET status = 'running'; UPDATE chat_messages SET queued_message_id = 1 WHERE revision = 5",
    "the queue is first in, first out (I7)": SAME_AGAIN.format(chat=CHAT, id=6),
    "a call has exactly one result once the chat rests (I3)": "DELETE FROM chat_messages WHERE role = 'tool'",
    "a client is asked for something, and for nothing of ours (I3)": ASKS,
    "a plain step is answered once (I9)": "UPDATE chat_messages SET role = 'assistant' WHERE revision = 5",
    "a summary is shown with its call and its result, once": "UPDATE chat_messages SET compressed = true "
    "WHERE revision = 4",
    "what is void was edited away, or is a title's price": "UPDATE chat_messages SET deleted = true WHERE revision = 6",
}


async def broken_laws(database: Database, world: World, statements: str) -> set[str]:
    """The laws that a sound chat breaks after `statements`."""
    async with await database.connect() as connection:
        await connection.execute(
            """INSERT INTO chats (id, owner_id, organization_id, last_model_config_id,
                                  snapshot_version, history_version) VALUES (%s, %s, %s, %s, 6, 6)""",
            (CHAT, world.owner_id, world.organization_id, world.model_config_id),
        )
        for statement in (SOUND, *statements.split("; ")):
            if statement:
                await connection.execute(psycopg.sql.SQL(statement))
        found = set()
        for law, sql in LAWS.items():
            cursor = await connection.execute(psycopg.sql.SQL(sql))
            if await cursor.fetchall():
                found.add(law)
    return found


async def test_a_sound_chat_breaks_no_law(database: Database, seed: World) -> None:
    assert await broken_laws(database, seed, "") == set()


@pytest.mark.parametrize("law", LAWS)
async def test_what_breaks_a_law_is_found(law: str, database: Database, seed: World) -> None:
    assert law in await broken_laws(database, seed, BREAKS[law])


@pytest.mark.parametrize("whose", ["true", "false"])
async def test_a_client_may_be_asked_for_its_own_calls_alone(database: Database, seed: World, whose: str) -> None:
    mark = f'"provider_metadata": {{"dynamic": {whose}}}'
    part = f'{{"type": "tool-call", "tool_call_id": "c9", "tool_name": "t", {mark}}}'
    asked = f"{ASKS}; UPDATE chat_messages SET content = '[{part}]' WHERE revision = 6"
    law = "a client is asked for something, and for nothing of ours (I3)"
    assert await broken_laws(database, seed, asked) == (set() if whose == "true" else {law})
