"""The laws of a chat that waits for its client: who answers what, in which order, and until when."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from models.errors import IllegalMove, Invalid
from models.parts import text
from models.rules import history
from models.rules.states import State, classify
from models.steps import Then
from models.store import moves, standing
from models.store.database import Database, fetch
from models.store.moves import ClientResult, Moved, StepRow
from tests.models.store.chats import ASK, CALL, born, chat_in, opened, send, snapshot
from tests.seeds import World

MIXED = [{**ASK, "tool_call_id": "a"}, {**CALL, "tool_call_id": "b"}, {**ASK, "tool_call_id": "c\x00d"}]
RESULT = {**CALL, "tool_call_id": "b", "type": "tool-result", "result": 1}


async def submit(database: Database, chat_id: UUID, *results: ClientResult) -> Moved:
    async with database.begin() as session:
        return await moves.complete_action(session, await moves.lock(session, chat_id), results)


async def expire(database: Database, chat_id: UUID) -> Moved:
    async with database.begin() as session:
        return await moves.cancel_action(session, chat_id)


async def deadline_moved(database: Database, chat_id: UUID, by: timedelta) -> None:
    async with database.begin() as session:
        await fetch(
            session,
            "UPDATE chats SET requires_action_deadline_at = requires_action_deadline_at + %(by)s WHERE id = %(id)s",
            {"id": chat_id, "by": by},
        )


async def asking(database: Database, world: World, calls: Sequence[Any] = MIXED) -> UUID:
    """A chat whose client is asked, after our own call of the same step was run."""
    chat_id = await born(database, world)
    attempt = await opened(database, chat_id)
    async with database.begin() as session:
        reply = await moves.commit_step(session, attempt.fence, [StepRow("assistant", [text("x"), *calls])])
    assert reply.then is Then.USE_TOOLS
    attempt = await opened(database, chat_id)
    async with database.begin() as session:
        await moves.commit_step(session, attempt.fence, [StepRow("tool", [RESULT])])
    return chat_id


def _results(messages: list[Any]) -> list[tuple[str, Any, bool]]:
    parts = [row["content"][0] for row in messages if row["role"] == "tool"]
    return [(part["tool_call_id"], part["result"], part.get("is_error", False)) for part in parts]


async def test_our_calls_are_run_and_committed_before_the_client_is_asked(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    async with database.begin() as session:
        reply = await moves.commit_step(session, attempt.fence, [StepRow("assistant", [text("x"), *MIXED])])
    chat, _, _ = await snapshot(database, chat_id)
    assert (reply.then, chat["status"], chat["requires_action_deadline_at"]) == (Then.USE_TOOLS, "running", None)
    attempt = await opened(database, chat_id)
    before = await _clock(database)
    async with database.begin() as session:
        reply = await moves.commit_step(
            session, attempt.fence, [StepRow("tool", [RESULT])], patience=timedelta(minutes=5)
        )
    chat, messages, _ = await snapshot(database, chat_id)
    assert (reply.then, chat["status"]) == (Then.REST, "requires_action")
    assert _results(messages) == [("b", 1, False)]
    begun = chat["requires_action_deadline_at"] - timedelta(minutes=5)
    assert before <= begun <= await _clock(database)
    assert (await opened(database, chat_id)).then is Then.REST, "it waits"


async def test_results_are_stored_in_call_order_whatever_the_clients(database: Database, seed: World) -> None:
    chat_id = await asking(database, seed)
    moved = await submit(database, chat_id, ClientResult("c\x00d", [1, "\x00"], is_error=True), ClientResult("a", None))
    chat, messages, _ = await snapshot(database, chat_id)
    assert moved.nudge
    assert (chat["status"], chat["requires_action_deadline_at"]) == ("pending", None)
    at_rest = history.open_calls(messages)
    assert at_rest == []
    assert _results(messages)[1:] == [("a", None, False), ("c\ue000\ue001d", [1, "\ue000\ue001"], True)]
    parts = [row["content"][0] for row in messages if row["role"] == "tool"]
    assert [part["tool_name"] for part in parts] == ["look", "ask", "ask"]
    assert len({row["revision"] for row in messages[-2:]}) == 1, "one commit"
    assert (await opened(database, chat_id)).then is Then.GENERATE


WRONG = [
    ([], "Missing tool result.", 'Missing result for tool call "a".'),
    ([ClientResult("a", 1)], "Missing tool result.", 'Missing result for tool call "c\x00d".'),
    (
        [ClientResult("a", 1), ClientResult("a", 1)],
        "Duplicate tool_call_id in results.",
        'Duplicate tool call ID "a".',
    ),
    (
        [ClientResult("a", 1), ClientResult("c\x00d", 1), ClientResult("b", 1)],
        "Unexpected tool result.",
        'No pending tool call with ID "b".',
    ),
    (
        [ClientResult("a"), ClientResult("c\x00d", 1)],
        "Tool result output must be valid JSON.",
        'Output for tool call "a" is not valid JSON.',
    ),
    # What is wrong first is what is said.
    ([ClientResult("z"), ClientResult("z")], "Duplicate tool_call_id in results.", 'Duplicate tool call ID "z".'),
    ([ClientResult("z"), ClientResult("a")], "Missing tool result.", 'Missing result for tool call "c\x00d".'),
    (
        [ClientResult("a"), ClientResult("c\x00d"), ClientResult("z")],
        "Unexpected tool result.",
        'No pending tool call with ID "z".',
    ),
]


async def test_what_does_not_answer_the_pending_calls_exactly_changes_nothing(database: Database, seed: World) -> None:
    chat_id = await asking(database, seed)
    before = await snapshot(database, chat_id)
    for results, message, detail in WRONG:
        with pytest.raises(Invalid) as refused:
            await submit(database, chat_id, *results)
        assert (refused.value.message, refused.value.detail) == (message, detail)
    assert await snapshot(database, chat_id) == before


async def test_output_that_could_not_be_written_again_is_refused(database: Database, seed: World) -> None:
    chat_id = await asking(database, seed)
    deep: Any = 1
    for _ in range(254):
        deep = [deep]
    with pytest.raises(Invalid, match="valid JSON"):
        await submit(database, chat_id, ClientResult("a", deep), ClientResult("c\x00d", 1))
    for _ in range(6):
        [deep] = deep
    await submit(database, chat_id, ClientResult("a", deep), ClientResult("c\x00d", 1))
    _, messages, _ = await snapshot(database, chat_id)
    assert _results(messages)[1][1] == deep


async def test_a_deadline_answers_for_the_client_once_it_is_over_and_not_before(
    database: Database, seed: World
) -> None:
    chat_id = await chat_in(database, seed, State.A1)
    before = await snapshot(database, chat_id)
    assert not (await expire(database, chat_id)).nudge
    assert await snapshot(database, chat_id) == before
    await deadline_moved(database, chat_id, -timedelta(hours=24))
    assert (await expire(database, chat_id)).nudge
    chat, messages, queue = await snapshot(database, chat_id)
    assert classify(chat["status"], chat["archived"], bool(queue)) is State.R1
    assert _results(messages) == [("ask_1", {"error": history.CANCELLED_TIMEOUT}, True)]
    after = await snapshot(database, chat_id)
    assert not (await expire(database, chat_id)).nudge
    assert await snapshot(database, chat_id) == after
    with pytest.raises(IllegalMove):
        await submit(database, chat_id, ClientResult("ask_1", 1))


async def test_a_missing_deadline_is_over(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.A0)
    async with database.begin() as session:
        await fetch(session, "UPDATE chats SET requires_action_deadline_at = NULL WHERE id = %(id)s", {"id": chat_id})
    async with database.read() as session:
        assert await standing.overdue(session, limit=9) == [chat_id]
    assert (await expire(database, chat_id)).nudge


async def test_the_longest_overdue_chats_are_named_first_and_only_those_that_wait(
    database: Database, seed: World
) -> None:
    patient, late, later, answered = [await chat_in(database, seed, State.A0) for _ in range(4)]
    for chat_id, hours in ((late, 25), (later, 26), (answered, 27)):
        await deadline_moved(database, chat_id, -timedelta(hours=hours))
    await submit(database, answered, ClientResult("ask_1", 1))
    async with database.read() as session:
        assert await standing.overdue(session, limit=9) == [later, late]
        assert await standing.overdue(session, limit=1) == [later]
        assert await standing.count_runnable(session) == 1, "a chat that waits for its client is nobody's work"
    assert patient


async def test_an_attempt_that_finds_the_clients_calls_alone_asks_again(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.A0)
    async with database.begin() as session:
        lost = "status = 'running', requires_action_deadline_at = NULL"
        await fetch(session, f"UPDATE chats SET {lost} WHERE id = %(id)s", {"id": chat_id})
    before, messages, _ = await snapshot(database, chat_id)
    assert (await opened(database, chat_id)).then is Then.REST
    chat, same, _ = await snapshot(database, chat_id)
    assert (chat["status"], same) == ("requires_action", messages)
    assert chat["requires_action_deadline_at"] is not None
    assert chat["history_version"] > before["history_version"], "watchers are told again"


async def test_a_chat_that_is_archived_and_asks_its_client_is_brought_to_a_visible_error(
    database: Database, seed: World
) -> None:
    """No move leads there; whoever repaired a database by hand might."""
    chat_id = await chat_in(database, seed, State.A0)
    async with database.begin() as session:
        await fetch(session, "UPDATE chats SET archived = true WHERE id = %(id)s", {"id": chat_id})
    assert not (await expire(database, chat_id)).nudge
    chat, messages, _ = await snapshot(database, chat_id)
    assert (chat["status"], chat["archived"], chat["last_turn_summary"]) == ("error", False, "Hit an error")
    assert _results(messages) == [("ask_1", {"error": history.CANCELLED_INVALID}, True)]


async def test_a_stop_answers_the_calls_and_then_rests_or_runs_the_queues_head(database: Database, seed: World) -> None:
    for state, status, roles in (
        (State.A0, "waiting", ["user", "assistant", "tool"]),
        (State.A1, "pending", ["user", "assistant", "tool", "user"]),
    ):
        chat_id = await chat_in(database, seed, state)
        async with database.begin() as session:
            moved = await moves.interrupt(session, await moves.lock(session, chat_id))
        chat, messages, queue = await snapshot(database, chat_id)
        assert (chat["status"], queue, moved.nudge) == (status, [], status == "pending")
        assert [row["role"] for row in messages] == roles
        assert _results(messages) == [("ask_1", {"error": history.CANCELLED_BY_USER}, True)]


async def test_a_message_that_interrupts_answers_the_calls_and_waits_for_the_end_of_the_turn(
    database: Database, seed: World
) -> None:
    chat_id = await chat_in(database, seed, State.A0)
    moved = await send(database, seed, chat_id, "never mind", interrupt=True)
    chat, messages, queue = await snapshot(database, chat_id)
    assert moved.nudge
    assert moved.queued is not None
    assert (chat["status"], [row["id"] for row in queue]) == ("pending", [moved.queued["id"]])
    assert _results(messages) == [("ask_1", {"error": history.CANCELLED_BY_SEND_INTERRUPT}, True)]
    assert (await opened(database, chat_id)).then is Then.GENERATE


async def test_a_queued_message_neither_ends_the_waiting_nor_moves_its_deadline(
    database: Database, seed: World
) -> None:
    chat_id = await chat_in(database, seed, State.A0)
    before, _, _ = await snapshot(database, chat_id)
    moved = await send(database, seed, chat_id, "also")
    chat, _, _ = await snapshot(database, chat_id)
    assert not moved.nudge
    for column in ("status", "requires_action_deadline_at", "history_version"):
        assert chat[column] == before[column]


async def _interrupted(database: Database, chat_id: UUID) -> Moved:
    async with database.begin() as session:
        return await moves.interrupt(session, await moves.lock(session, chat_id))


async def _edited(database: Database, seed: World, chat_id: UUID, message_id: int) -> Moved:
    async with database.begin() as session:
        locked = await moves.lock(session, chat_id)
        return await moves.edit(session, locked, message_id, content=[text("new")], editor_id=seed.owner_id)


async def _archived(database: Database, chat_id: UUID) -> list[Moved]:
    async with database.begin() as session:
        return await moves.archive(session, chat_id)


RIVALS: dict[str, Callable[[Database, World, UUID, int], Coroutine[Any, Any, object]]] = {
    "submit": lambda database, _, chat_id, __: submit(database, chat_id, ClientResult("ask_1", "rival")),
    "deadline": lambda database, _, chat_id, __: expire(database, chat_id),
    "interrupt": lambda database, _, chat_id, __: _interrupted(database, chat_id),
    "send": lambda database, seed, chat_id, _: send(database, seed, chat_id, "now", interrupt=True),
    "edit": _edited,
    "archive": lambda database, _, chat_id, __: _archived(database, chat_id),
}


@pytest.mark.parametrize("rival", RIVALS)
async def test_of_results_and_their_rival_one_is_first_and_the_other_finds_that(
    database: Database, seed: World, rival: str
) -> None:
    """Each pair starts on the same row lock, in either order; a call is answered exactly once."""
    for results_first in (True, False):
        chat_id = await chat_in(database, seed, State.A0)
        await deadline_moved(database, chat_id, -timedelta(hours=24))
        _, [asked, *_], _ = await snapshot(database, chat_id)
        against = RIVALS[rival](database, seed, chat_id, asked["id"])
        ours = submit(database, chat_id, ClientResult("ask_1", "ours"))
        racing = [ours, against] if results_first else [against, ours]
        async with database.begin() as session:  # both wait for this lock, in the order in which they came
            await moves.lock(session, chat_id)
            first = asyncio.create_task(racing[0])
            await _waiting(database, 1)
            second = asyncio.create_task(racing[1])
            await _waiting(database, 2)
        came = await asyncio.gather(first, second, return_exceptions=True)
        submitted = came[0] if results_first else came[1]
        chat, messages, queue = await snapshot(database, chat_id)
        answered = [part for _, part, _ in _results(messages)]
        if results_first:
            assert isinstance(submitted, Moved)
            assert answered == ([] if rival == "edit" else ["ours"])
        elif rival == "archive":
            # Archived, the calls are open until the stop is performed; the route says that it is archived.
            assert isinstance(submitted, IllegalMove)
            assert answered == []
        else:
            assert isinstance(submitted, IllegalMove)
            assert len(answered) == (0 if rival == "edit" else 1)
            assert "ours" not in answered
        assert classify(chat["status"], chat["archived"], bool(queue)) is not State.INVALID


async def _clock(database: Database) -> datetime:
    async with database.read() as session:
        [row] = await fetch(session, "SELECT clock_timestamp() AS now")
    moment: datetime = row["now"]
    return moment


async def _waiting(database: Database, count: int) -> None:
    while True:
        async with database.read() as session:
            found = await fetch(
                session, "SELECT FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
            )
        if len(found) >= count:
            return
        await asyncio.sleep(0.01)
