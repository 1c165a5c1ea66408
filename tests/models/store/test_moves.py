"""What each move writes: versions, order, fences, promotion."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from models.errors import FenceLost, Invalid, NotFound, QueueFull
from models.parts import text
from models.rules.states import State
from models.steps import Then
from models.store import moves
from models.store.database import Database, fetch
from models.store.notices import CHATS, ChatNotice
from tests.models.store.chats import ASK, CALL, born, chat_in, opened, send, snapshot
from tests.seeds import World


def _roles(messages: list[dict[str, Any]]) -> list[str]:
    return [row["role"] for row in messages]


def _words(messages: list[dict[str, Any]]) -> list[str]:
    return [row["content"][0].get("text", "") for row in messages]


async def test_a_new_chat_is_pending_with_its_history_in_order(database: Database, seed: World) -> None:
    async with database.begin() as session:
        made = await moves.create(
            session,
            owner_id=seed.owner_id,
            organization_id=seed.organization_id,
            title="t",
            content=[text("hi\x00there")],
            model_config_id=seed.model_config_id,
            created_by=seed.owner_id,
            system=["one", "two"],
            labels={"a": "b"},
        )
    chat, messages, queue = await snapshot(database, made.chat["id"])
    assert (chat["status"], chat["snapshot_version"], chat["history_version"], chat["queue_version"]) == (
        "pending",
        1,
        1,
        0,
    )
    assert _roles(messages) == ["system", "system", "user"]
    assert [row["visibility"] for row in messages] == ["model", "model", "both"]
    assert messages[2]["content"][0]["text"] == "hi\ue000\ue001there"
    assert made.messages[2]["id"] == messages[2]["id"]
    assert made.nudge
    assert queue == []


async def test_a_plain_turn_is_one_attempt_and_one_commit(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    assert attempt.then is Then.GENERATE
    assert attempt.chat["status"] == "running"
    assert attempt.fence == moves.Fence(chat_id, 1, 1)
    row = moves.StepRow("assistant", [text("hello")], usage={"input_tokens": 3, "output_tokens": 0})
    async with database.begin() as session:
        reply = await moves.commit_step(session, attempt.fence, [row])
    chat, messages, _ = await snapshot(database, chat_id)
    assert reply.then is Then.REST
    assert (chat["status"], chat["snapshot_version"], chat["history_version"], chat["generation_attempt"]) == (
        "waiting",
        3,
        3,
        0,
    )
    assert messages[-1]["input_tokens"] == 3
    assert messages[-1]["output_tokens"] is None


async def test_an_attempt_that_was_overtaken_commits_nothing(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    zombie = await opened(database, chat_id)
    heir = await opened(database, chat_id)
    assert heir.fence.generation_attempt == 2
    before = await snapshot(database, chat_id)
    for act in (
        lambda session: moves.commit_step(session, zombie.fence, [moves.StepRow("assistant", [text("late")])]),
        lambda session: moves.finish_error(session, zombie.fence, {"message": "late"}),
        lambda session: moves.record_retry(session, zombie.fence, {"attempt": 1}, 1.0),
        lambda session: moves.finish_turn(session, zombie.fence),
    ):
        with pytest.raises(FenceLost):
            async with database.begin() as session:
                await act(session)
    assert await snapshot(database, chat_id) == before


async def test_an_edit_obsoletes_the_running_attempt_and_empties_the_queue(database: Database, seed: World) -> None:
    chat_id = await born(database, seed, "first")
    attempt = await opened(database, chat_id)
    await send(database, seed, chat_id, "queued")
    _, messages, _ = await snapshot(database, chat_id)
    async with database.begin() as session:
        locked = await moves.lock(session, chat_id)
        moved = await moves.edit(session, locked, messages[0]["id"], content=[text("second")], editor_id=seed.owner_id)
    chat, messages, queue = await snapshot(database, chat_id)
    assert _words(messages) == ["second"]
    assert moved.messages[-1]["id"] == messages[0]["id"]
    assert queue == []
    assert chat["status"] == "pending"
    with pytest.raises(FenceLost):
        async with database.begin() as session:
            await moves.commit_step(session, attempt.fence, [moves.StepRow("assistant", [text("old")])])


async def test_only_a_users_message_of_this_chat_can_be_edited_and_once(database: Database, seed: World) -> None:
    chat_id, other = await chat_in(database, seed, State.A0), await born(database, seed)
    _, messages, _ = await snapshot(database, chat_id)
    _, foreign, _ = await snapshot(database, other)

    async def edit(message_id: int) -> None:
        async with database.begin() as session:
            locked = await moves.lock(session, chat_id)
            await moves.edit(session, locked, message_id, content=[text("x")], editor_id=seed.owner_id)

    with pytest.raises(Invalid, match="Only user messages"):
        await edit(messages[1]["id"])
    with pytest.raises(NotFound):
        await edit(foreign[0]["id"])
    await edit(messages[0]["id"])
    with pytest.raises(NotFound):
        await edit(messages[0]["id"])


async def test_the_queue_drains_one_message_a_turn_in_order(database: Database, seed: World) -> None:
    chat_id = await born(database, seed, "0")
    for number in "123":
        attempt = await opened(database, chat_id)
        await send(database, seed, chat_id, number)
    for _ in range(4):
        attempt = await opened(database, chat_id)
        async with database.begin() as session:
            reply = await moves.commit_step(session, attempt.fence, [moves.StepRow("assistant", [text("ok")])])
    assert reply.then is Then.REST
    chat, messages, queue = await snapshot(database, chat_id)
    assert _words(messages) == ["0", "ok", "1", "ok", "2", "ok", "3", "ok"]
    assert queue == []
    assert chat["status"] == "waiting"


async def test_the_queue_is_bounded(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    for _ in range(20):
        await send(database, seed, chat_id, "q")
    with pytest.raises(QueueFull) as refused:
        await send(database, seed, chat_id, "q")
    assert refused.value.detail == "Maximum 20 messages can be queued."


async def test_senders_that_race_are_all_kept_in_one_order(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    await asyncio.gather(*(send(database, seed, chat_id, str(number)) for number in range(20)))
    _, _, queue = await snapshot(database, chat_id)
    assert sorted(_words(queue), key=int) == [str(number) for number in range(20)]
    assert len({row["position"] for row in queue}) == 20


async def test_a_send_to_a_failed_chat_with_a_backlog_runs_the_head_and_queues_behind(
    database: Database, seed: World
) -> None:
    chat_id = await chat_in(database, seed, State.E1)
    moved = await send(database, seed, chat_id, "later")
    chat, messages, queue = await snapshot(database, chat_id)
    assert _words(messages)[-1] == "queued"
    assert _words(queue) == ["later"]
    assert moved.queued is not None
    assert moved.queued["id"] == queue[0]["id"]
    assert chat["last_error"] is None
    assert messages[-1]["queued_message_id"] is not None


async def test_open_calls_are_answered_before_the_next_user_message(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.A1)
    async with database.begin() as session:
        locked = await moves.lock(session, chat_id)
        await moves.promote_queued(session, locked, locked.queue[0]["id"])
    _, messages, _ = await snapshot(database, chat_id)
    assert _roles(messages) == ["user", "assistant", "tool", "user"]
    assert messages[2]["content"][0]["tool_call_id"] == ASK["tool_call_id"]
    assert messages[2]["content"][0]["is_error"]


async def test_an_interrupted_partial_precedes_the_promoted_message_in_one_commit(
    database: Database, seed: World
) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    moved = await send(database, seed, chat_id, "now", interrupt=True)
    assert moved.chat["status"] == "interrupting"
    episode = (attempt.fence.history_version, attempt.fence.generation_attempt)
    partial = moves.StepRow("assistant", [text("half"), CALL])
    async with database.begin() as session:
        reply = await moves.finish_interruption(session, chat_id, [partial], episode=episode)
    chat, messages, queue = await snapshot(database, chat_id)
    assert reply.then is Then.NEXT_TURN
    assert _roles(messages) == ["user", "assistant", "tool", "user"]
    assert len({row["revision"] for row in messages[1:]}) == 1
    assert (chat["status"], queue) == ("pending", [])


async def test_a_partial_of_another_episode_is_dropped(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.I0)
    async with database.begin() as session:
        await moves.finish_interruption(
            session, chat_id, [moves.StepRow("assistant", [text("stale")])], episode=(1, 99)
        )
    chat, messages, _ = await snapshot(database, chat_id)
    assert _roles(messages) == ["user"]
    assert chat["status"] == "waiting"


async def test_a_promoted_message_goes_to_the_head(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    await opened(database, chat_id)
    for words in ("a", "b", "c"):
        last = await send(database, seed, chat_id, words)
    assert last.queued is not None
    async with database.begin() as session:
        locked = await moves.lock(session, chat_id)
        await moves.promote_queued(session, locked, last.queued["id"])
    chat, _, queue = await snapshot(database, chat_id)
    assert _words(queue) == ["c", "a", "b"]
    assert chat["status"] == "interrupting"


async def test_a_queued_message_keeps_the_banner_of_a_back_off(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    async with database.begin() as session:
        await moves.record_retry(session, attempt.fence, {"attempt": 1, "error": "x"}, 1.0)
    await send(database, seed, chat_id, "more")
    chat, _, _ = await snapshot(database, chat_id)
    assert chat["retry_state"]["error"] == "x"
    again = await opened(database, chat_id)
    assert again.fence.generation_attempt == 2
    chat, _, _ = await snapshot(database, chat_id)
    assert chat["retry_state"] is None
    assert chat["retry_state_version"] == chat["snapshot_version"]


async def test_a_step_that_never_ends_is_given_up(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    for _ in range(3):
        async with database.begin() as session:
            last = await moves.open_attempt(session, chat_id, max_attempts=2, max_steps=1200)
    assert last.reply is not None
    assert last.reply.then is Then.REST
    chat, _, _ = await snapshot(database, chat_id)
    assert chat["status"] == "error"
    assert chat["last_error"]["retryable"] is False


async def test_an_impossible_state_is_brought_to_a_visible_error(database: Database, seed: World) -> None:
    chat_id = await chat_in(database, seed, State.R1)
    async with database.begin() as session:
        await fetch(session, "UPDATE chats SET archived = true WHERE id = %(id)s", {"id": chat_id})
    found = await opened(database, chat_id)
    assert found.then is Then.REST
    chat, _, queue = await snapshot(database, chat_id)
    assert (chat["status"], chat["archived"], len(queue)) == ("error", False, 1)


async def test_a_commit_tells_its_listeners_where_the_chat_is_now(database: Database, seed: World) -> None:
    listening = database.listen([CHATS])
    assert await anext(listening) is None
    chat_id = await born(database, seed)
    heard = await anext(listening)
    assert heard is not None
    notice = ChatNotice.decode(heard.payload)
    assert (notice.chat_id, notice.status, notice.snapshot_version, notice.watch) == (
        chat_id,
        "pending",
        1,
        ("created",),
    )
    await listening.aclose()


async def test_a_chat_that_is_not_there_is_not_found(database: Database, seed: World) -> None:
    with pytest.raises(NotFound):
        async with database.begin() as session:
            await moves.lock(session, uuid4())


async def test_a_send_after_a_failure_answers_the_calls_that_the_failure_left_open(
    database: Database, seed: World
) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    async with database.begin() as session:
        await moves.commit_step(session, attempt.fence, [moves.StepRow("assistant", [text("calling"), CALL])])
    attempt = await opened(database, chat_id)
    assert attempt.then is Then.USE_TOOLS
    async with database.begin() as session:
        await moves.finish_error(session, attempt.fence, {"message": "no", "retryable": False})
    await send(database, seed, chat_id, "again")
    _, messages, _ = await snapshot(database, chat_id)
    assert _roles(messages) == ["user", "assistant", "tool", "user"]
    assert messages[2]["content"][0]["result"] == {"error": "Tool execution interrupted by new user message"}


async def test_results_of_an_interrupted_batch_are_committed_in_call_order(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    both = [CALL, {**CALL, "tool_call_id": "call_2"}]
    async with database.begin() as session:
        await moves.commit_step(session, attempt.fence, [moves.StepRow("assistant", both)])
    attempt = await opened(database, chat_id)
    await send(database, seed, chat_id, "now", interrupt=True)
    second = {"type": "tool-result", "tool_call_id": "call_2", "tool_name": "ask", "result": 2}
    episode = (attempt.fence.history_version, attempt.fence.generation_attempt)
    async with database.begin() as session:
        await moves.finish_interruption(session, chat_id, [moves.StepRow("tool", [second])], episode=episode)
    _, messages, _ = await snapshot(database, chat_id)
    assert _roles(messages) == ["user", "assistant", "tool", "tool", "user"]
    assert [row["content"][0]["tool_call_id"] for row in messages[2:4]] == ["call_1", "call_2"]
    assert [row["content"][0]["result"] for row in messages[2:4]] == [
        {"error": "tool call was interrupted before it produced a result"},
        2,
    ]
