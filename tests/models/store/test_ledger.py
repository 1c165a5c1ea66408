"""The ledger's laws: only the current attempt claims, only the last claim speaks, what is stopped is unknown."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from models.errors import FenceLost
from models.parts import Part, text, tool_result
from models.rules.executions import Course, Policy, Standing
from models.store import ledger, moves
from models.store.database import Database, Row, fetch
from models.store.ledger import Claim, Ending, Intent
from models.store.moves import Fence, StepRow
from models.store.stream import Episode
from tests.models.store.chats import born, opened, send
from tests.seeds import World


def call(call_id: str, **more: Any) -> Part:
    return {"type": "tool-call", "tool_call_id": call_id, "tool_name": "act", "args": {}, **more}


async def asked(database: Database, world: World, *calls: Part) -> tuple[Fence, int]:
    """A chat whose model made these calls, with an attempt at running them: its fence, and the message."""
    chat_id = await born(database, world)
    first = await opened(database, chat_id)
    async with database.begin() as session:
        await moves.commit_step(session, first.fence, [StepRow("assistant", [text("I act"), *calls])])
    second = await opened(database, chat_id)
    return second.fence, second.history[-1]["id"]


async def claim(
    database: Database, fence: Fence, message_id: int, *call_ids: str, policy: Policy = Policy.ONCE
) -> dict[str, Claim]:
    intents = [Intent(call_id, "act", policy) for call_id in call_ids]
    episode = Episode(fence.history_version, fence.generation_attempt)
    async with database.read() as session:
        return await ledger.claim(session, fence.chat_id, episode, message_id, intents)


async def finish(database: Database, fence: Fence, message_id: int, *endings: Ending) -> None:
    async with database.begin() as session:
        await ledger.finish(session, fence.chat_id, message_id, endings)


async def kept(database: Database, chat_id: UUID) -> list[Row]:
    query = "SELECT * FROM tool_executions WHERE chat_id = %(id)s ORDER BY tool_call_id"
    async with database.read() as session:
        return await fetch(session, query, {"id": chat_id})


def done(call_id: str, attempt: int = 1, words: str = "done") -> Ending:
    return Ending(call_id, attempt, Standing.SUCCEEDED, tool_result(call(call_id), {"output": words}))


async def test_a_batch_is_claimed_whole_and_each_call_is_to_be_run(database: Database, seed: World) -> None:
    fence, message_id = await asked(database, seed, call("a"), call("b\x00"))
    claims = await claim(database, fence, message_id, "a", "b\x00")
    assert claims == {each: Claim(1, Course.RUN, None) for each in ("a", "b\x00")}
    assert [(row["state"], row["attempt"]) for row in await kept(database, fence.chat_id)] == [("claimed", 1)] * 2


async def test_an_attempt_that_is_not_the_current_one_claims_nothing(database: Database, seed: World) -> None:
    fence, message_id = await asked(database, seed, call("a"))
    await opened(database, fence.chat_id)
    with pytest.raises(FenceLost):
        await claim(database, fence, message_id, "a")
    assert await kept(database, fence.chat_id) == []


async def test_a_chat_that_is_being_stopped_gives_no_claims(database: Database, seed: World) -> None:
    fence, message_id = await asked(database, seed, call("a"))
    async with database.begin() as session:
        await moves.interrupt(session, await moves.lock(session, fence.chat_id))
    with pytest.raises(FenceLost):
        await claim(database, fence, message_id, "a")


async def test_a_claim_waits_for_the_move_that_ends_its_attempt(database: Database, seed: World) -> None:
    fence, message_id = await asked(database, seed, call("a"))
    async with database.begin() as session:
        await moves.lock(session, fence.chat_id)
        waiting = asyncio.create_task(claim(database, fence, message_id, "a"))
        async with database.read() as other:
            while not await fetch(other, "SELECT FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
        await moves.open_attempt(session, fence.chat_id, max_attempts=25, max_steps=1200)
    with pytest.raises(FenceLost):
        await waiting
    assert await kept(database, fence.chat_id) == []


@pytest.mark.parametrize(
    ("policy", "course"),
    [
        (Policy.PURE, Course.RUN),
        (Policy.IDEMPOTENT, Course.RUN),
        (Policy.PROBE, Course.ASK),
        (Policy.ONCE, Course.GIVE_UP),
    ],
)
async def test_the_next_attempt_takes_over_by_the_policy_of_the_claim(
    database: Database, seed: World, policy: Policy, course: Course
) -> None:
    fence, message_id = await asked(database, seed, call("a"))
    await claim(database, fence, message_id, "a", policy=policy)
    later = (await opened(database, fence.chat_id)).fence
    # The tool may have changed its policy meanwhile: that under which it was run counts.
    claims = await claim(database, later, message_id, "a", policy=Policy.PURE)
    assert claims == {"a": Claim(2, course, None)}


async def test_what_is_finished_is_given_as_it_was_and_not_claimed_again(database: Database, seed: World) -> None:
    fence, message_id = await asked(database, seed, call("a"), call("b"))
    await claim(database, fence, message_id, "a", "b")
    await finish(database, fence, message_id, done("a", words="nul \x00"))
    later = (await opened(database, fence.chat_id)).fence
    claims = await claim(database, later, message_id, "a", "b")
    assert claims == {
        "a": Claim(1, Course.ANSWER, tool_result(call("a"), {"output": "nul \x00"})),
        "b": Claim(2, Course.GIVE_UP, None),
    }


async def test_a_plan_that_was_never_claimed_is_run(database: Database, seed: World) -> None:
    fence, message_id = await asked(database, seed, call("a"))
    async with database.begin() as session:
        await fetch(
            session,
            "INSERT INTO tool_executions (chat_id, message_id, tool_call_id, tool_name, policy, state) "
            "VALUES (%(chat)s, %(message)s, 'a', 'act', 'once', 'planned')",
            {"chat": fence.chat_id, "message": message_id},
        )
    assert await claim(database, fence, message_id, "a") == {"a": Claim(1, Course.RUN, None)}


async def test_a_claim_that_was_taken_over_is_not_heard_any_more(database: Database, seed: World) -> None:
    fence, message_id = await asked(database, seed, call("a"))
    await claim(database, fence, message_id, "a", policy=Policy.IDEMPOTENT)
    later = (await opened(database, fence.chat_id)).fence
    await claim(database, later, message_id, "a", policy=Policy.IDEMPOTENT)
    await finish(database, fence, message_id, done("a", attempt=1, words="from the dead"))
    assert [row["state"] for row in await kept(database, fence.chat_id)] == ["claimed"]
    await finish(database, later, message_id, done("a", attempt=2, words="alive"))
    await finish(database, later, message_id, done("a", attempt=2, words="twice"))
    [row] = await kept(database, fence.chat_id)
    assert (row["state"], row["result"]["result"]) == ("succeeded", {"output": "alive"})


async def stopped(database: Database, fence: Fence) -> list[Part]:
    """Stop the chat, as if its worker were gone; the results that are committed."""
    async with database.begin() as session:
        await moves.interrupt(session, await moves.lock(session, fence.chat_id))
    async with database.begin() as session:
        await moves.finish_interruption(session, fence.chat_id, [], episode=None)
    async with database.read() as session:
        rows = await fetch(
            session,
            "SELECT content FROM chat_messages WHERE chat_id = %(id)s AND role = 'tool' ORDER BY id",
            {"id": fence.chat_id},
        )
    return [row["content"][0] for row in rows]


async def test_a_stop_keeps_what_is_known_and_is_honest_about_the_rest(database: Database, seed: World) -> None:
    fence, message_id = await asked(database, seed, call("done"), call("running"), call("unheard"))
    await claim(database, fence, message_id, "done", "running")
    await finish(database, fence, message_id, done("done"))
    finished, running, unheard = await stopped(database, fence)
    assert finished["result"] == {"output": "done"}
    assert running["is_error"] is True
    assert running["result"]["outcome"] == "unknown"
    assert "may have taken effect" in running["result"]["error"]
    assert unheard["result"] == {"error": moves.worker.INTERRUPTED_TOOL}
    assert {row["tool_call_id"]: row["state"] for row in await kept(database, fence.chat_id)} == {
        "done": "succeeded",
        "running": "unknown",
    }
    await finish(database, fence, message_id, done("running"))
    assert [row["state"] for row in await kept(database, fence.chat_id)] == ["succeeded", "unknown"]


async def test_what_a_failed_turn_left_running_is_answered_honestly_by_the_next_message(
    database: Database, seed: World
) -> None:
    fence, message_id = await asked(database, seed, call("a"))
    await claim(database, fence, message_id, "a")
    async with database.begin() as session:
        await moves.finish_error(session, fence, {"message": "x", "kind": "generic", "retryable": False})
    moved = await send(database, seed, fence.chat_id, "go on")
    answer, user = moved.messages
    assert answer["content"][0]["result"]["outcome"] == "unknown"
    assert user["role"] == "user"


async def test_a_chats_unsettled_calls_are_those_that_run_and_those_that_nobody_knows(
    database: Database, seed: World
) -> None:
    fence, message_id = await asked(database, seed, call("a"), call("b"), call("c"))
    await claim(database, fence, message_id, "a", "b", "c")
    unknown = Ending("b", 1, Standing.UNKNOWN, tool_result(call("b"), {"error": "?"}, is_error=True))
    await finish(database, fence, message_id, done("a"), unknown)

    async def shown() -> list[tuple[str, str]]:
        async with database.read() as session:
            rows = await ledger.unsettled(session, fence.chat_id)
        return [(row["tool_call_id"], row["state"]) for row in rows]

    assert await shown() == [("b", "unknown"), ("c", "claimed")]
    async with database.begin() as session:
        await fetch(session, "UPDATE chat_messages SET deleted = true WHERE id = %(id)s", {"id": message_id})
    assert await shown() == [("b", "unknown"), ("c", "unknown")], "nobody will take it over"


async def test_old_settled_calls_are_purged_and_unknown_ones_stay(database: Database, seed: World) -> None:
    fence, message_id = await asked(database, seed, call("a"), call("b"))
    await claim(database, fence, message_id, "a", "b")
    await finish(database, fence, message_id, done("a"))
    async with database.begin() as session:
        assert await ledger.purge(session, timedelta(hours=-1)) == 0, "its result is not in the transcript yet"
    await stopped(database, fence)
    async with database.begin() as session:
        assert await ledger.purge(session, timedelta(hours=1)) == 0
        assert await ledger.purge(session, timedelta(hours=-1)) == 1
    assert [row["tool_call_id"] for row in await kept(database, fence.chat_id)] == ["b"]
