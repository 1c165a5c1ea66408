"""Archiving is a hard stop for a whole family, or for nobody; unarchiving brings it back as it was."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from models.errors import FenceLost, IllegalMove, Invalid, NotFound
from models.parts import text
from models.rules.states import State, classify
from models.steps import Then
from models.store import moves
from models.store.database import Database, fetch
from models.store.moves import Moved
from models.store.notices import CHATS, ChatNotice
from tests.models.store.chats import ASK, born, chat_in, opened, send, snapshot
from tests.models.store.families import child_of, row_of, until_somebody_waits
from tests.seeds import World

HARD_STOPS = {
    State.W: State.XW,
    State.W1: State.XW1,
    State.E0: State.XE0,
    State.E1: State.XE1,
    State.R0: State.XI0,
    State.R1: State.XI1,
    State.I0: State.XI0,
    State.I1: State.XI1,
    State.A0: State.XI0,
    State.A1: State.XI1,
}


async def archive(database: Database, chat_id: UUID) -> list[Moved]:
    async with database.begin() as session:
        return await moves.archive(session, chat_id)


async def unarchive(database: Database, chat_id: UUID) -> list[Moved]:
    async with database.begin() as session:
        return await moves.unarchive(session, chat_id)


async def state_of(database: Database, chat_id: UUID) -> State:
    chat, _, queue = await snapshot(database, chat_id)
    return classify(chat["status"], chat["archived"], bool(queue))


async def stopped(database: Database, chat_id: UUID, *rows: moves.StepRow, episode: Any = None) -> Any:
    async with database.begin() as session:
        return await moves.finish_interruption(session, chat_id, rows, episode=episode)


@pytest.mark.parametrize("state", HARD_STOPS)
async def test_archiving_lands_where_the_design_says_and_loses_no_queue(
    database: Database, seed: World, state: State
) -> None:
    chat_id = await chat_in(database, seed, state)
    before, _, queue = await snapshot(database, chat_id)
    [moved] = await archive(database, chat_id)
    chat, _, kept = await snapshot(database, chat_id)
    landed = HARD_STOPS[state]
    assert moved.state is landed
    assert await state_of(database, chat_id) is landed
    assert moved.nudge == (landed in (State.XI0, State.XI1))
    assert kept == queue
    assert chat["archived_at"] is not None
    assert chat["requires_action_deadline_at"] is None
    assert chat["retry_state"] is None
    assert chat["last_error"] == before["last_error"]
    assert chat["updated_at"] > before["updated_at"]
    assert chat["snapshot_version"] == before["snapshot_version"] + 1
    assert chat["history_version"] == before["history_version"]


async def test_a_stopped_turn_keeps_its_partial_answer_and_promotes_nothing(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    await send(database, seed, chat_id, "next")
    await archive(database, chat_id)
    partial = moves.StepRow("assistant", [text("half an ans")])
    reply = await stopped(
        database, chat_id, partial, episode=(attempt.fence.history_version, attempt.fence.generation_attempt)
    )
    assert reply.then is Then.REST
    _, messages, queue = await snapshot(database, chat_id)
    assert messages[-1]["content"] == [text("half an ans")]
    assert [row["content"] for row in queue] == [[text("next")]]
    assert await state_of(database, chat_id) is State.XW1


async def test_calls_that_waited_for_a_client_are_answered_when_the_stop_ends(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.A0)
    await archive(database, chat_id)
    await stopped(database, chat_id)
    _, messages, _ = await snapshot(database, chat_id)
    [result] = messages[-1]["content"]
    assert (result["type"], result["tool_call_id"], result["is_error"]) == ("tool-result", ASK["tool_call_id"], True)
    assert await state_of(database, chat_id) is State.XW


async def test_what_was_queued_before_archiving_runs_after_it(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.R1)
    await archive(database, chat_id)
    await stopped(database, chat_id)
    await unarchive(database, chat_id)
    assert await state_of(database, chat_id) is State.W1
    await send(database, seed, chat_id, "more")
    _, messages, queue = await snapshot(database, chat_id)
    assert messages[-1]["content"] == [text("queued")]
    assert [row["content"] for row in queue] == [[text("more")]]


async def test_a_zombie_of_an_archived_chat_writes_nothing(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    await archive(database, chat_id)
    before = await snapshot(database, chat_id)
    with pytest.raises(FenceLost):
        async with database.begin() as session:
            await moves.commit_step(session, attempt.fence, [moves.StepRow("assistant", [text("late")])])
    assert await snapshot(database, chat_id) == before


async def test_a_family_goes_and_comes_back_together(database: Database, seed: World) -> None:
    root = await chat_in(database, seed, State.E0)
    busy = await child_of(database, seed, root, State.R1)
    idle = await child_of(database, seed, root, State.W)
    other = await chat_in(database, seed, State.W)
    gone = await archive(database, root)
    assert gone[0].chat["id"] == root
    assert {moved.chat["id"]: moved.state for moved in gone} == {
        root: State.XE0,
        busy: State.XI1,
        idle: State.XW,
    }
    assert await state_of(database, other) is State.W
    back = await unarchive(database, root)
    assert back[0].chat["id"] == root
    assert {moved.chat["id"]: moved.state for moved in back} == {root: State.E0, busy: State.I1, idle: State.W}
    assert {(await row_of(database, each))["archived_at"] for each in (root, busy, idle)} == {None}


async def test_a_child_may_go_alone_and_is_left_alone_when_its_root_follows(database: Database, seed: World) -> None:
    root = await chat_in(database, seed, State.W)
    child = await child_of(database, seed, root)
    assert [moved.chat["id"] for moved in await archive(database, child)] == [child]
    assert await state_of(database, root) is State.W
    first = await row_of(database, child)
    assert [moved.chat["id"] for moved in await archive(database, root)] == [root]
    assert await row_of(database, child) == first


async def test_a_child_comes_back_alone_only_while_its_root_is_here(database: Database, seed: World) -> None:
    root = await chat_in(database, seed, State.W)
    child = await child_of(database, seed, root)
    await archive(database, child)
    await unarchive(database, child)
    assert await state_of(database, child) is State.W
    await archive(database, root)
    with pytest.raises(Invalid) as refused:
        await unarchive(database, child)
    assert refused.value.message == (
        "Cannot unarchive a child chat while its parent is archived. Unarchive the parent chat to cascade."
    )
    assert await state_of(database, child) is State.XW


@pytest.mark.parametrize(
    ("act", "state", "message"),
    [
        (archive, State.XW, "Chat is already archived."),
        (archive, State.XI1, "Chat is already archived."),
        (unarchive, State.W, "Chat is already not archived."),
        (unarchive, State.R0, "Chat is already not archived."),
    ],
)
async def test_doing_it_twice_is_refused_and_leaves_no_trace(
    database: Database, seed: World, act: Callable[[Database, UUID], Awaitable[Any]], state: State, message: str
) -> None:
    chat_id = await chat_in(database, seed, state)
    before = await snapshot(database, chat_id)
    with pytest.raises(Invalid) as refused:
        await act(database, chat_id)
    assert refused.value.message == message
    assert await snapshot(database, chat_id) == before


async def test_a_chat_that_does_not_exist_is_not_found(database: Database, seed: World) -> None:
    for act in (archive, unarchive):
        with pytest.raises(NotFound):
            await act(database, uuid4())


async def test_an_archived_chat_has_lost_its_pin_for_good(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.W)
    async with database.begin() as session:
        await fetch(session, "UPDATE chats SET pin_order = 3 WHERE id = %(id)s", {"id": chat_id})
    await archive(database, chat_id)
    assert (await row_of(database, chat_id))["pin_order"] == 0
    await unarchive(database, chat_id)
    assert (await row_of(database, chat_id))["pin_order"] == 0


async def test_the_sidebar_hears_deleted_and_created_of_each_member(database: Database, seed: World) -> None:
    root = await chat_in(database, seed, State.W)
    child = await child_of(database, seed, root, State.R0)
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as listener:
        await listener.execute(f"LISTEN {CHATS}")
        await archive(database, root)
        await unarchive(database, root)
        heard = [ChatNotice.decode(each.payload) async for each in listener.notifies(timeout=60, stop_after=4)]
    assert [(notice.chat_id, notice.watch, notice.archived) for notice in heard] == [
        (root, ("deleted",), True),
        (child, ("status_change", "deleted"), True),
        (root, ("created",), False),
        (child, ("created",), False),
    ]


async def test_a_family_member_in_a_state_that_cannot_be_keeps_all_members_where_they_are(
    database: Database, seed: World
) -> None:
    root = await chat_in(database, seed, State.W)
    child = await child_of(database, seed, root)
    async with database.begin() as session:  # archived and running: no move leads there
        await fetch(session, "UPDATE chats SET status = 'running', archived = true WHERE id = %(id)s", {"id": child})
    await archive(database, root)
    with pytest.raises(IllegalMove):
        await unarchive(database, root)
    assert await state_of(database, root) is State.XW


# Races: one transaction holds the family, the other is seen to wait for it.


async def both(database: Database, first: Any, second: Any) -> Any:
    """`first` in a transaction that ends only when `second`, begun in the middle of it, waits for its locks."""
    async with database.begin() as session:
        await first(session)
        waiting = asyncio.ensure_future(_transaction(database, second))
        await until_somebody_waits(database)
    try:
        return await waiting
    except (Invalid, IllegalMove, FenceLost) as refused:
        return refused


async def _transaction(database: Database, act: Any) -> Any:
    async with database.begin() as session:
        return await act(session)


async def test_a_message_that_comes_while_a_chat_is_archived_is_refused(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.W)
    before = await snapshot(database, chat_id)
    refused = await both(
        database, lambda session: moves.archive(session, chat_id), lambda session: _send(session, seed, chat_id)
    )
    assert isinstance(refused, IllegalMove)
    _, messages, queue = await snapshot(database, chat_id)
    assert (messages, queue) == before[1:]


async def test_a_chat_that_is_archived_while_a_message_comes_stops_its_turn(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.W)
    [moved] = await both(
        database, lambda session: _send(session, seed, chat_id), lambda session: moves.archive(session, chat_id)
    )
    assert moved.state is State.XI0
    assert moved.nudge


async def test_a_turn_that_ends_while_its_chat_is_archived_loses_to_the_stop(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    answer = [moves.StepRow("assistant", [text("done")])]
    refused = await both(
        database,
        lambda session: moves.archive(session, chat_id),
        lambda session: moves.commit_step(session, attempt.fence, answer),
    )
    assert isinstance(refused, FenceLost)
    assert await state_of(database, chat_id) is State.XI0
    await stopped(database, chat_id, *answer, episode=(attempt.fence.history_version, attempt.fence.generation_attempt))
    _, messages, _ = await snapshot(database, chat_id)
    assert messages[-1]["content"] == [text("done")]


async def test_a_chat_that_is_archived_while_its_turn_ends_is_at_rest(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    async with database.begin() as session:
        await moves.lock(session, chat_id)
        archiving = asyncio.ensure_future(_transaction(database, lambda session: moves.archive(session, chat_id)))
        await until_somebody_waits(database)
        await moves.commit_step(session, attempt.fence, [moves.StepRow("assistant", [text("done")])])
    [moved] = await archiving
    assert moved.state is State.XW
    assert not moved.nudge


async def test_a_stop_goes_on_when_its_chat_comes_back_in_the_middle(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.XI1)
    reply = await both(
        database,
        lambda session: moves.unarchive(session, chat_id),
        lambda session: moves.finish_interruption(session, chat_id, [], episode=None),
    )
    assert reply.then is Then.NEXT_TURN
    assert await state_of(database, chat_id) is State.R0


async def test_a_chat_that_comes_back_when_its_stop_has_ended_is_at_rest(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.XI1)
    [moved] = await both(
        database,
        lambda session: moves.finish_interruption(session, chat_id, [], episode=None),
        lambda session: moves.unarchive(session, chat_id),
    )
    assert moved.state is State.W1


async def test_of_two_who_archive_at_once_one_is_refused(database: Database, seed: World) -> None:
    root = await chat_in(database, seed, State.W)
    child = await child_of(database, seed, root)
    refused = await both(
        database, lambda session: moves.archive(session, root), lambda session: moves.archive(session, root)
    )
    assert isinstance(refused, Invalid)
    assert (await row_of(database, child))["archived"]


async def test_archiving_a_root_and_bringing_back_its_child_do_not_deadlock(database: Database, seed: World) -> None:
    root = await chat_in(database, seed, State.W)
    child = await child_of(database, seed, root)
    await archive(database, child)
    refused = await both(
        database, lambda session: moves.archive(session, root), lambda session: moves.unarchive(session, child)
    )
    assert isinstance(refused, Invalid)
    assert (await row_of(database, child))["archived"]


async def test_a_child_that_is_archived_while_its_root_comes_back_is_archived_alone(
    database: Database, seed: World
) -> None:
    root = await chat_in(database, seed, State.XW)
    child = await child_of(database, seed, root, State.XW)
    [moved] = await both(
        database, lambda session: moves.unarchive(session, root), lambda session: moves.archive(session, child)
    )
    assert moved.state is State.XW
    assert [(await row_of(database, each))["archived"] for each in (root, child)] == [False, True]


async def test_a_root_that_comes_back_while_its_child_is_archived_brings_it_back(
    database: Database, seed: World
) -> None:
    root = await chat_in(database, seed, State.XW)
    child = await child_of(database, seed, root, State.W)
    back = await both(
        database, lambda session: moves.archive(session, child), lambda session: moves.unarchive(session, root)
    )
    assert {moved.chat["id"] for moved in back} == {root, child}


async def test_a_crowd_that_archives_and_unarchives_one_family_never_deadlocks(database: Database, seed: World) -> None:
    root = await chat_in(database, seed, State.W)
    family = [root, *[await child_of(database, seed, root) for _ in range(4)]]

    async def one(number: int) -> None:
        chat_id = family[number % len(family)]
        with suppress(Invalid):  # it was so already, or its root is away
            await (archive if number % 2 else unarchive)(database, chat_id)

    await asyncio.gather(*map(one, range(60)))
    rows = {each: await row_of(database, each) for each in family}
    assert not rows[root]["archived"] or all(row["archived"] for row in rows.values())


async def _send(session: Any, world: World, chat_id: UUID) -> Moved:
    return await moves.send(
        session,
        await moves.lock(session, chat_id),
        content=[text("more")],
        sender_id=world.owner_id,
        model_config_id=None,
        interrupt=False,
        queue_limit=20,
    )
