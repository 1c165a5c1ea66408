"""Families of chats, as sub-agents will make them, and moments in which somebody waits for a lock."""

import asyncio
from uuid import UUID

from models.rules.states import State
from models.store.database import Database, Row, fetch
from tests.models.store.chats import chat_in
from tests.seeds import World


async def child_of(database: Database, world: World, root: UUID, state: State = State.W) -> UUID:
    """A sub-agent chat of this root, in this state."""
    child = await chat_in(database, world, state)
    async with database.begin() as session:
        await fetch(
            session,
            "UPDATE chats SET parent_chat_id = %(root)s, root_chat_id = %(root)s WHERE id = %(id)s",
            {"root": root, "id": child},
        )
    return child


async def row_of(database: Database, chat_id: UUID) -> Row:
    async with database.read() as session:
        [row] = await fetch(session, "SELECT * FROM chats WHERE id = %(id)s", {"id": chat_id})
    return row


async def until_somebody_waits(database: Database, waiters: int = 1) -> None:
    """Return once so many sessions of this database wait for a lock."""
    query = """
        SELECT count(*) AS n FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    while True:
        async with database.read() as session:
            [row] = await fetch(session, query)
        if row["n"] >= waiters:
            return
        await asyncio.sleep(0.01)
