"""What the sweep is told: chats that nobody drives, and driven ones that nobody moves."""

from datetime import timedelta
from uuid import UUID

from models.store import moves, standing
from models.store.database import Database, fetch
from tests.models.store.chats import born
from tests.seeds import World


async def aged(database: Database, chat_id: UUID, seconds: int) -> None:
    async with database.begin() as session:
        await fetch(
            session,
            "UPDATE chats SET updated_at = now() - %(age)s WHERE id = %(id)s",
            {"id": chat_id, "age": timedelta(seconds=seconds)},
        )


async def test_many_driven_chats_hide_none_that_nobody_drives(database: Database, seed: World) -> None:
    driven = {await born(database, seed) for _ in range(3)}
    lost = await born(database, seed)
    async with database.read() as session:
        assert [chat.id for chat in await standing.undriven(session, driven, limit=1)] == [lost]
        assert len(await standing.undriven(session, set(), limit=9)) == 4
        assert await standing.count_runnable(session) == 4


async def test_a_stop_that_nobody_takes_up_is_told_for_ever_and_new_text_for_a_while(
    database: Database, seed: World
) -> None:
    stopped, edited, forgotten, fresh, undriven = [await born(database, seed) for _ in range(5)]
    async with database.begin() as session:
        await moves.interrupt(session, await moves.lock(session, stopped))
    for chat_id, age in ((stopped, 900), (edited, 25), (forgotten, 900), (fresh, 5), (undriven, 25)):
        await aged(database, chat_id, age)
    async with database.read() as session:
        found = await standing.stalled(session, {stopped, edited, forgotten, fresh}, age=timedelta(seconds=20), limit=9)
    assert [chat.id for chat in found] == [stopped, edited]
