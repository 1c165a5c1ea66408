"""Who may open an attempt ahead of a chat's run, and what is left to whoever did."""

from collections.abc import Collection
from uuid import UUID, uuid4

from models.parts import text
from models.rules.states import State
from models.steps import Note, Then
from models.store import moves
from models.store.database import Database
from tests.models.store.chats import CALL, born, chat_in, opened, send
from tests.seeds import World

WORKER, OTHER = uuid4(), uuid4()


async def begin(database: Database, chat_id: UUID, version: int, wanted: Then = Then.GENERATE) -> moves.Opened:
    async with database.begin() as session:
        return await moves.open_attempt(
            session, chat_id, max_attempts=25, max_steps=99, wanted=wanted, ahead=WORKER, unattempted=version
        )


async def come(database: Database, chat_id: UUID, living: Collection[UUID]) -> moves.Opened:
    async with database.begin() as session:
        return await moves.open_attempt(
            session, chat_id, max_attempts=25, max_steps=99, wanted=Then.GENERATE, living=living
        )


async def test_of_two_that_begin_ahead_one_has_the_attempt(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    first, second = await begin(database, chat_id, 1), await begin(database, chat_id, 1)
    assert first.reply is None
    assert (first.chat["begun_by"], first.fence.generation_attempt) == (WORKER, 1)
    assert second.reply is not None
    assert second.reply.note == "somebody else was there first"


async def test_nobody_begins_ahead_at_a_history_that_has_moved_on(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.W)
    moved = await send(database, seed, chat_id, "again")
    assert (await begin(database, chat_id, moved.chat["history_version"] - 1)).reply is not None
    assert (await begin(database, chat_id, moved.chat["history_version"])).reply is None


async def test_what_a_living_worker_has_begun_is_left_to_it(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    await begin(database, chat_id, 1)
    held = await come(database, chat_id, [OTHER, WORKER])
    assert (held.held_by, held.reply is not None) == (WORKER, True)
    taken = await come(database, chat_id, [OTHER])
    assert (taken.held_by, taken.reply, taken.taken_over) == (None, None, True)
    assert (taken.fence.generation_attempt, taken.chat["begun_by"]) == (2, None)


async def test_a_stop_is_left_to_the_worker_that_can_keep_the_partial(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    await begin(database, chat_id, 1)
    async with database.begin() as session:
        await moves.interrupt(session, await moves.lock(session, chat_id))
    assert (await come(database, chat_id, [WORKER])).held_by == WORKER
    gone = await come(database, chat_id, [])
    assert gone.reply is not None
    assert gone.reply.then is Then.INTERRUPT


async def test_what_is_over_is_held_by_nobody(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    begun = await begin(database, chat_id, 1)
    async with database.begin() as session:
        await moves.commit_step(session, begun.fence, [moves.StepRow("assistant", [text("calling"), CALL])])
    found = await come(database, chat_id, [WORKER])
    assert found.held_by is None
    assert found.reply is not None
    assert found.reply.then is Then.USE_TOOLS


async def test_a_failed_attempt_is_tried_again_when_its_back_off_is_over_and_not_before(
    database: Database, seed: World
) -> None:
    chat_id = await born(database, seed)
    begun = await begin(database, chat_id, 1)
    async with database.begin() as session:
        await moves.record_retry(session, begun.fence, {"attempt": 1, "error": "busy", "kind": "overloaded"}, 30.0)
    early = await come(database, chat_id, [WORKER])
    assert early.held_by is None
    assert early.reply is not None
    assert (early.reply.then, early.reply.note) == (Then.BACK_OFF, Note.OVERLOADED)
    assert 25 < early.reply.delay_seconds <= 30
    async with database.begin() as session:
        await moves.record_retry(session, begun.fence, {"attempt": 1, "error": "busy", "kind": "overloaded"}, 0.0)
    assert (await come(database, chat_id, [WORKER])).reply is None


async def test_an_attempt_of_the_run_itself_is_nobodys_head_start(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    assert (await opened(database, chat_id)).chat["begun_by"] is None
