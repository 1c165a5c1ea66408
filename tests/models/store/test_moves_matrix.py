"""Every cell of the table, on Postgres: a legal move lands where the table says, an illegal one changes nothing."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from models.errors import FenceLost, IllegalMove, Invalid, NotFound
from models.parts import text
from models.rules.moves import TABLE, Move
from models.rules.states import State, classify
from models.store import moves
from models.store.database import Database, fetch
from tests.models.store.chats import ASK, CALL, chat_in, snapshot
from tests.seeds import World

ELSEWHERE = {
    Move.CREATE,  # from nothing
    Move.RECONCILE,  # from invalid states
}
"""Moves that do not start from a state of this table: test_moves.py tries them."""

Act = Callable[[Any, World, UUID], Awaitable[object]]


def _answer(*parts: dict[str, Any]) -> list[moves.StepRow]:
    return [moves.StepRow("assistant", [text("answer"), *parts])]


async def _fence(session: Any, chat_id: UUID) -> moves.Fence:
    chat = (await moves.lock(session, chat_id)).chat
    return moves.Fence(chat_id, chat["history_version"], chat["generation_attempt"])


async def _queued_id(session: Any, chat_id: UUID) -> int:
    queue = (await moves.lock(session, chat_id)).queue
    return queue[0]["id"] if queue else 0


async def _send(session: Any, world: World, chat_id: UUID, interrupt: bool) -> object:
    locked = await moves.lock(session, chat_id)
    return await moves.send(
        session,
        locked,
        content=[text("more")],
        sender_id=world.owner_id,
        model_config_id=None,
        interrupt=interrupt,
        queue_limit=20,
    )


async def _edit(session: Any, world: World, chat_id: UUID) -> object:
    locked = await moves.lock(session, chat_id, prompt=True)
    first = next(row["id"] for row in locked.tail if row["role"] == "user")
    return await moves.edit(
        session, await moves.lock(session, chat_id), first, content=[text("new")], editor_id=world.owner_id
    )


async def _interruption(session: Any, world: World, chat_id: UUID) -> object:
    reply = await moves.finish_interruption(session, chat_id, _answer(), episode=None)
    if reply.note == "the chat was no longer interrupting":
        raise FenceLost
    return reply


async def _complete(session: Any, world: World, chat_id: UUID) -> object:
    locked = await moves.lock(session, chat_id)
    results = [moves.ClientResult(call["tool_call_id"], "done") for call in locked.open_calls]
    return await moves.complete_action(session, locked, results)


async def _cancel(session: Any, world: World, chat_id: UUID) -> object:
    late = "requires_action_deadline_at = now() - interval '1 s'"
    await fetch(session, f"UPDATE chats SET {late} WHERE status = 'requires_action' AND id = %(id)s", {"id": chat_id})
    moved = await moves.cancel_action(session, chat_id)
    if not moved.nudge:
        raise FenceLost
    return moved


async def _compaction(session: Any, world: World, chat_id: UUID) -> object:
    return await moves.request_compaction(session, await moves.lock(session, chat_id, prompt=True))


async def _open(session: Any, world: World, chat_id: UUID) -> object:
    opened = await moves.open_attempt(session, chat_id, max_attempts=25, max_steps=1200)
    if opened.reply is not None:
        raise FenceLost
    return opened


ACTS: dict[Move, Act] = {
    Move.SEND: lambda s, w, c: _send(s, w, c, False),
    Move.SEND_INTERRUPT: lambda s, w, c: _send(s, w, c, True),
    Move.EDIT: _edit,
    Move.DELETE_QUEUED: lambda s, w, c: _locked(s, c, moves.delete_queued, True),
    Move.PROMOTE_QUEUED: lambda s, w, c: _locked(s, c, moves.promote_queued, True),
    Move.INTERRUPT: lambda s, w, c: _locked(s, c, moves.interrupt, False),
    Move.COMPLETE_ACTION: _complete,
    Move.CANCEL_ACTION: _cancel,
    Move.ARCHIVE: lambda s, w, c: moves.archive(s, c),
    Move.UNARCHIVE: lambda s, w, c: moves.unarchive(s, c),
    Move.REQUEST_COMPACTION: _compaction,
    Move.OPEN_ATTEMPT: _open,
    Move.COMMIT_STEP: lambda s, w, c: _worker(s, c, lambda fence: moves.commit_step(s, fence, _answer(CALL))),
    Move.RECORD_RETRY: lambda s, w, c: _worker(s, c, lambda fence: moves.record_retry(s, fence, {"attempt": 1}, 1.0)),
    Move.ENTER_ACTION: lambda s, w, c: _worker(s, c, lambda fence: moves.commit_step(s, fence, _answer(ASK))),
    Move.FINISH_TURN: lambda s, w, c: _worker(s, c, lambda fence: moves.commit_step(s, fence, _answer())),
    Move.FINISH_ERROR: lambda s, w, c: _worker(s, c, lambda fence: moves.finish_error(s, fence, {"message": "no"})),
    Move.FINISH_INTERRUPTION: _interruption,
}


async def _locked(session: Any, chat_id: UUID, act: Any, with_id: bool) -> object:
    queued = await _queued_id(session, chat_id)
    locked = await moves.lock(session, chat_id)
    return await (act(session, locked, queued) if with_id else act(session, locked))


async def _worker(session: Any, chat_id: UUID, act: Any) -> object:
    return await act(await _fence(session, chat_id))


PLACES = [state for state in State if state not in (State.N, State.INVALID)]


def test_every_move_is_tried_here_or_named_as_tried_elsewhere() -> None:
    assert set(ACTS) | ELSEWHERE == set(Move)
    assert not set(ACTS) & ELSEWHERE


@pytest.mark.parametrize("state", PLACES)
async def test_each_move_from_this_state_does_what_the_table_says(
    database: Database, seed: World, state: State
) -> None:
    for move, act in ACTS.items():
        if move is Move.FINISH_ERROR and state in (State.W, State.W1):
            continue  # for failures after the last commit; its only user comes with titles and hooks
        chat_id = await chat_in(database, seed, state)
        before = await snapshot(database, chat_id)
        allowed = TABLE[state].get(move)
        if allowed is None:
            with pytest.raises((IllegalMove, FenceLost, NotFound, Invalid)):
                async with database.begin() as session:
                    await act(session, seed, chat_id)
            assert await snapshot(database, chat_id) == before, f"{move} from {state} left a trace"
            continue
        async with database.begin() as session:
            await act(session, seed, chat_id)
        chat, messages, queue = await snapshot(database, chat_id)
        landed = classify(chat["status"], chat["archived"], bool(queue))
        assert landed in allowed, f"{move} from {state}"
        _holds(before, (chat, messages, queue))


def _holds(before: Any, after: Any) -> None:
    """The invariants that every move keeps (runtime.md 17.2)."""
    old, old_messages, old_queue = before
    chat, messages, queue = after
    changed = after != before
    assert chat["snapshot_version"] == old["snapshot_version"] + changed
    if [row["id"] for row in messages] != [row["id"] for row in old_messages]:
        assert chat["history_version"] == chat["snapshot_version"]
        assert chat["generation_attempt"] == 0
    if [(row["id"], row["position"]) for row in queue] != [(row["id"], row["position"]) for row in old_queue]:
        assert chat["queue_version"] == chat["snapshot_version"]
    assert (chat["last_error"] is not None) == (chat["status"] == "error")
    assert (chat["requires_action_deadline_at"] is not None) == (chat["status"] == "requires_action")
    if chat["retry_state"] != old["retry_state"]:
        assert chat["retry_state_version"] == chat["snapshot_version"]
