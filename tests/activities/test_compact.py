"""The laws of compaction, end to end: when, once, all or nothing, and on with the turn."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest

from activities.interrupt import rebuilt
from models.parts import text
from models.rules import compaction, history
from models.store import moves, preferences
from models.store.database import fetch
from models.tables.messages import Message
from tests.activities.stack import Stack, words_of, worker
from tests.fakes.behaviour import Behaviour

FULL = 800  # tokens of a context of 1,000
TOO_LONG = Behaviour(status=400, code="context_length_exceeded", message="This model's maximum context length is 1000.")
TIME = {"name": "current_time", "arguments": {}}


async def configured(stack: Stack, *, limit: int = 1_000, threshold: int = 70) -> None:
    async with stack.database.begin() as session:
        await fetch(
            session,
            "UPDATE chat_model_configs SET context_limit = %(limit)s, compression_threshold = %(threshold)s",
            {"limit": limit, "threshold": threshold},
        )


async def compact(stack: Stack, chat_id: UUID) -> None:
    await stack.move(chat_id, moves.request_compaction, signal="woken")


async def settled(stack: Stack, chat_id: UUID, version: int) -> Any:
    """The chat at rest after something newer than this snapshot."""
    return await stack.until(
        chat_id, lambda chat: chat.status in ("waiting", "error") and chat.snapshot_version > version
    )


async def say(stack: Stack, chat_id: UUID, words: str) -> Any:
    moved = await stack.send(chat_id, words)
    return await settled(stack, chat_id, moved.chat["snapshot_version"])


def shape(messages: list[Message]) -> list[str]:
    """Role and, where it is not both, visibility; an asterisk marks what is compressed."""
    return [
        message.role
        + ("" if message.visibility == "both" else f"/{message.visibility}")
        + ("*" if message.compressed else "")
        for message in messages
    ]


def told(stack: Stack, number: int) -> list[tuple[str, str]]:
    return [(each["role"], each.get("content") or "") for each in stack.fake.received[number].body["messages"]]


def asked(stack: Stack, number: int) -> str:
    """All that the user is to have said; providers differ in whether that is one message."""
    assert {role for role, _ in told(stack, number)} <= {"system", "user"}
    return "\n\n".join(words for role, words in told(stack, number) if role == "user")


async def test_a_context_that_is_too_full_is_summarised_before_the_next_answer(stack: Stack) -> None:
    await configured(stack)
    stack.fake.script(
        Behaviour(text="one", input_tokens=FULL - 100, cached_tokens=50),
        Behaviour(text=" They greeted. ", input_tokens=30),
        Behaviour(text="two", input_tokens=40),
    )
    async with worker(stack):
        chat_id = await stack.create("first", system=["Be brief."])
        assert (await stack.rest(chat_id)).status == "waiting"
        chat = await say(stack, chat_id, "second")
    assert (chat.status, chat.last_error) == ("waiting", None)
    messages = await stack.messages(chat_id)
    assert shape(messages) == [
        "system/model",
        "user",
        "assistant",
        "user",
        "user/model*",
        "assistant/user*",
        "tool*",
        "user/model",
        "assistant",
    ]
    summary, call, result, again = messages[4:8]
    assert words_of(summary.content) == compaction.PREFIX + "They greeted."
    shown = call.content[0]
    assert shown["tool_call_id"].startswith("chat_summarized_")
    assert (shown["tool_name"], shown["args"]) == ("chat_summarized", {"source": "automatic", "threshold_percent": 70})
    assert call.output_tokens
    assert call.runtime_ms is not None
    assert call.model_config_id == stack.world.model_config_id
    assert result.content[0]["tool_call_id"] == shown["tool_call_id"]
    assert result.content[0]["result"] == {
        "summary": "They greeted.",
        "source": "automatic",
        "threshold_percent": 70,
        "usage_percent": 75.0,
        "context_tokens": 750,
        "context_limit_tokens": 1000,
    }
    assert words_of(again.content) == "second"
    assert (again.created_by, again.model_config_id) == (messages[3].created_by, messages[3].model_config_id)
    assert told(stack, 1) == [
        ("system", "Be brief."),
        ("user", "first"),
        ("assistant", "one"),
        ("user", compaction.REQUEST),
    ]
    assert stack.fake.received[1].body["tool_choice"] == "none"
    assert told(stack, 2)[0] == ("system", "Be brief.")
    assert asked(stack, 2) == compaction.PREFIX + "They greeted.\n\nsecond"


async def test_a_finished_turn_is_not_summarised_for_being_long(stack: Stack) -> None:
    await configured(stack)
    stack.fake.script(Behaviour(text="one", input_tokens=FULL))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
    assert len(stack.fake.received) == 1


async def test_a_turn_that_is_summarised_between_its_steps_goes_on_and_counts_them_all(stack: Stack) -> None:
    await configured(stack)
    stack.settings = stack.settings.model_copy(update={"max_steps": 3})
    stack.fake.script(
        Behaviour(tokens=2, tool_calls=[TIME]),
        Behaviour(tokens=2, tool_calls=[TIME], input_tokens=FULL),
        Behaviour(text="summary"),
        Behaviour(tokens=2, tool_calls=[TIME]),
        Behaviour(text="never asked for"),
    )
    async with worker(stack):
        chat_id = await stack.create("go")
        chat = await stack.rest(chat_id)
    assert (chat.status, chat.last_error) == ("waiting", None)
    step = ["assistant", "tool"]
    assert shape(await stack.messages(chat_id)) == [
        "user",
        *step,
        *step,
        "user/model*",
        "assistant/user*",
        "tool*",
        *step,
    ]
    assert told(stack, 3) == [("user", compaction.PREFIX + "summary")]
    assert len(stack.fake.received) == 4, "three steps, of which two are within the summary"


@pytest.mark.parametrize(("threshold", "compactions"), [(100, 0), (0, 1), (81, 0), (80, 1)])
async def test_the_models_threshold_decides(stack: Stack, threshold: int, compactions: int) -> None:
    await configured(stack, threshold=threshold)
    stack.fake.script(Behaviour(text="one", input_tokens=FULL), *[Behaviour(text="more", input_tokens=1)] * 2)
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        await say(stack, chat_id, "second")
    assert shape(await stack.messages(chat_id)).count("tool*") == compactions
    assert len(stack.fake.received) == 2 + compactions


async def test_a_persons_own_threshold_beats_the_models(stack: Stack) -> None:
    await configured(stack, threshold=100)
    async with stack.database.begin() as session:
        key = compaction.threshold_key(stack.world.model_config_id)
        await preferences.put_user(session, stack.world.owner_id, {key: "10"})
    stack.fake.script(Behaviour(text="one", input_tokens=100), Behaviour(text="sum"), Behaviour(text="two"))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        await say(stack, chat_id, "second")
    result = (await stack.messages(chat_id))[5].content[0]["result"]
    assert (result["threshold_percent"], result["usage_percent"]) == (10, 10.0)


async def test_a_threshold_of_zero_summarises_once_between_two_answers(stack: Stack) -> None:
    await configured(stack, threshold=0)
    stack.fake.script(
        Behaviour(tokens=1, tool_calls=[TIME]),
        Behaviour(text="first summary"),
        Behaviour(tokens=1, tool_calls=[TIME]),
        Behaviour(text="second summary"),
        Behaviour(text="done"),
    )
    async with worker(stack):
        chat_id = await stack.create("go")
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    assert shape(await stack.messages(chat_id)).count("tool*") == 2
    assert len(stack.fake.received) == 5


async def test_a_conversation_that_the_provider_finds_too_long_is_summarised_once(stack: Stack) -> None:
    await configured(stack, limit=100_000)
    stack.fake.script(Behaviour(text="one"), TOO_LONG, Behaviour(text="sum"), Behaviour(text="two"))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        chat = await say(stack, chat_id, "second")
    assert (chat.status, chat.last_error) == ("waiting", None)
    assert words_of((await stack.messages(chat_id))[-1].content) == "two"


async def test_what_is_still_too_long_after_a_summary_is_an_error_that_says_what_helps(stack: Stack) -> None:
    await configured(stack, limit=100_000)
    stack.fake.script(Behaviour(text="one"), TOO_LONG, Behaviour(text="sum"), TOO_LONG, TOO_LONG)
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        chat = await say(stack, chat_id, "second")
        assert (chat.status, chat.last_error) == ("error", compaction.STILL_TOO_LONG)
        assert len(stack.fake.received) == 4
        chat = await say(stack, chat_id, "third")
    assert (chat.status, chat.last_error) == ("error", compaction.STILL_TOO_LONG)
    assert len(stack.fake.received) == 5
    assert shape(await stack.messages(chat_id)).count("tool*") == 1


async def test_what_cannot_fit_even_summarised_is_not_sent(stack: Stack) -> None:
    await configured(stack)
    stack.fake.script(Behaviour(text="one", input_tokens=FULL), Behaviour(text="sum"))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        chat = await say(stack, chat_id, "x" * 6_000)
    assert (chat.status, chat.last_error) == ("error", compaction.STILL_TOO_LONG)
    assert len(stack.fake.received) == 2


async def test_a_first_message_that_is_too_long_is_the_providers_error(stack: Stack) -> None:
    await configured(stack)
    stack.fake.script(TOO_LONG)
    async with worker(stack):
        chat_id = await stack.create("first")
        chat = await stack.rest(chat_id)
    assert chat.last_error is not None
    assert chat.last_error["kind"] == "config"
    assert len(stack.fake.received) == 1


async def test_whoever_switched_compaction_off_gets_the_providers_error(stack: Stack) -> None:
    await configured(stack, threshold=100)
    stack.fake.script(Behaviour(text="one"), TOO_LONG)
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        chat = await say(stack, chat_id, "second")
    assert chat.last_error is not None
    assert chat.last_error["kind"] == "config"
    assert len(stack.fake.received) == 2


@pytest.mark.parametrize("failing", [Behaviour(status=500), Behaviour(empty=True), Behaviour(text="  \n")])
async def test_a_summary_that_fails_or_is_empty_is_tried_again(stack: Stack, failing: Behaviour) -> None:
    await configured(stack)
    stack.fake.script(
        Behaviour(text="one", input_tokens=FULL), failing, Behaviour(text="sum"), Behaviour(text="two", input_tokens=5)
    )
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        chat = await say(stack, chat_id, "second")
    assert (chat.status, chat.retry_state) == ("waiting", None)
    assert shape(await stack.messages(chat_id)).count("tool*") == 1
    assert words_of((await stack.messages(chat_id))[-1].content) == "two"


@pytest.mark.parametrize("manual", [False, True])
async def test_a_summary_that_fails_for_good_is_an_error_and_changes_nothing(stack: Stack, manual: bool) -> None:
    await configured(stack)
    stack.fake.script(Behaviour(text="one", input_tokens=FULL), Behaviour(status=401))
    async with worker(stack):
        chat_id = await stack.create("first")
        before = await stack.rest(chat_id)
        if manual:
            await compact(stack, chat_id)
            chat = await settled(stack, chat_id, before.snapshot_version + 1)
        else:
            chat = await say(stack, chat_id, "second")
    assert chat.status == "error"
    assert chat.last_error is not None
    assert chat.last_error["kind"] == "auth"
    assert chat.compaction_requested_at is None
    assert shape(await stack.messages(chat_id)) == ["user", "assistant"] + ([] if manual else ["user"])


async def test_a_chat_at_rest_is_summarised_on_request_and_rests_again(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="one"), Behaviour(text="sum"), Behaviour(text="two"))
    async with worker(stack):
        chat_id = await stack.create("first")
        before = await stack.rest(chat_id)
        await compact(stack, chat_id)
        chat = await settled(stack, chat_id, before.snapshot_version + 1)
        assert (chat.status, chat.last_error, chat.compaction_requested_at) == ("waiting", None, None)
        await say(stack, chat_id, "second")
    messages = await stack.messages(chat_id)
    assert shape(messages) == ["user", "assistant", "user/model*", "assistant/user*", "tool*", "user", "assistant"]
    assert messages[3].content[0]["args"]["source"] == "manual"
    assert asked(stack, 2) == compaction.PREFIX + "sum\n\nsecond"


async def test_a_chat_that_failed_is_summarised_on_request_and_goes_on_to_answer(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="one"), Behaviour(status=401), Behaviour(text="sum"), Behaviour(text="two"))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        failed = await say(stack, chat_id, "second")
        assert failed.status == "error"
        await compact(stack, chat_id)
        chat = await settled(stack, chat_id, failed.snapshot_version + 1)
    assert (chat.status, chat.last_error) == ("waiting", None)
    assert words_of((await stack.messages(chat_id))[-1].content) == "two"


async def test_a_chat_that_was_stopped_is_summarised_on_request_without_an_answer(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="one"), Behaviour(slow_first_token_ms=60_000), Behaviour(text="sum"))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        await stack.send(chat_id, "second")
        while len(stack.fake.received) < 2:
            await asyncio.sleep(0.01)
        await stack.interrupt(chat_id)
        before = await stack.until(chat_id, lambda chat: chat.status == "waiting")
        await compact(stack, chat_id)
        chat = await settled(stack, chat_id, before.snapshot_version + 1)
    assert chat.status == "waiting"
    assert shape(await stack.messages(chat_id))[-4:] == ["user/model*", "assistant/user*", "tool*", "user/model"]
    assert len([request for request in stack.fake.received if request.finished]) == 2


async def test_what_is_queued_runs_after_a_summary_that_was_asked_for(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="one"), Behaviour(text="sum", slow_first_token_ms=300), Behaviour(text="two"))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        await compact(stack, chat_id)
        await stack.until(chat_id, lambda chat: chat.status == "running")
        chat = await say(stack, chat_id, "second")
    assert chat.status == "waiting"
    assert shape(await stack.messages(chat_id))[2:] == ["user/model*", "assistant/user*", "tool*", "user", "assistant"]


async def test_a_stop_during_a_summary_leaves_no_trace_of_it(stack: Stack) -> None:
    await configured(stack)
    stack.fake.script(Behaviour(text="one", input_tokens=FULL), Behaviour(tokens=2_000, interval_ms=10))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        moved = await stack.send(chat_id, "second")
        await stack.until_logged(chat_id, moved.chat["history_version"])
        await stack.interrupt(chat_id)
        chat = await stack.until(chat_id, lambda chat: chat.status == "waiting")
        await asyncio.wait_for(stack.fake.received[1].ended.wait(), 60)
    assert chat.last_error is None
    assert shape(await stack.messages(chat_id)) == ["user", "assistant", "user"]
    assert stack.fake.received[1].closed_by_client_at is not None


async def test_an_edit_during_a_summary_voids_it(stack: Stack) -> None:
    await configured(stack)
    stack.fake.script(
        Behaviour(text="one", input_tokens=FULL), Behaviour(tokens=2_000, interval_ms=10), Behaviour(text="anew")
    )
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        moved = await stack.send(chat_id, "second")
        await stack.until_logged(chat_id, moved.chat["history_version"])
        [first, *_] = await stack.messages(chat_id)
        edited = await stack.move(
            chat_id,
            moves.edit,
            signal="history_edited",
            message_id=first.id,
            content=[text("other words")],
            editor_id=stack.world.owner_id,
        )
        await settled(stack, chat_id, edited.chat["snapshot_version"])
    assert await stack.said(chat_id) == [("user", "other words"), ("assistant", "anew")]


async def test_a_dead_workers_half_summary_is_not_rebuilt() -> None:
    call = compaction.call("chat_summarized_1", automatic=True, percent=70, created_at="2026-01-01T00:00:00Z")
    assert rebuilt([("assistant", call), ("assistant", text("so far"))])[0].content == [text("so far")]
    assert rebuilt([("assistant", call)]) == []


async def test_a_worker_that_stops_hands_its_summary_over_and_one_is_committed(stack: Stack) -> None:
    await configured(stack)
    stack.fake.script(
        Behaviour(text="one", input_tokens=FULL),
        Behaviour(tokens=2_000, interval_ms=10),
        Behaviour(text="sum"),
        Behaviour(text="two"),
    )
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        moved = await stack.send(chat_id, "second")
        await stack.until_logged(chat_id, moved.chat["history_version"])
    async with worker(stack):
        await settled(stack, chat_id, moved.chat["snapshot_version"])
    assert shape(await stack.messages(chat_id)).count("tool*") == 1
    assert words_of((await stack.messages(chat_id))[-1].content) == "two"


async def test_an_edit_of_what_was_summarised_takes_the_summary_back(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="one"), Behaviour(text="sum"), Behaviour(text="anew"))
    async with worker(stack):
        chat_id = await stack.create("first")
        before = await stack.rest(chat_id)
        await compact(stack, chat_id)
        await settled(stack, chat_id, before.snapshot_version + 1)
        [first, *_] = await stack.messages(chat_id)
        moved = await stack.move(
            chat_id,
            moves.edit,
            signal="history_edited",
            message_id=first.id,
            content=[text("other words")],
            editor_id=stack.world.owner_id,
        )
        await settled(stack, chat_id, moved.chat["snapshot_version"])
    assert await stack.said(chat_id) == [("user", "other words"), ("assistant", "anew")]
    assert told(stack, 2) == [("user", "other words")]


async def test_watchers_see_a_summary_begin_and_end(stack: Stack) -> None:
    await configured(stack)
    stack.fake.script(Behaviour(text="one", input_tokens=FULL), Behaviour(text="sum"), Behaviour(text="two"))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        moved = await stack.send(chat_id, "second")
        await settled(stack, chat_id, moved.chat["snapshot_version"])
    async with stack.database.read() as session:
        rows = await fetch(
            session,
            "SELECT role, part FROM stream_log WHERE chat_id = %(chat)s AND history_version = %(version)s ORDER BY seq",
            {"chat": chat_id, "version": moved.chat["history_version"]},
        )
    assert [(row["role"], row["part"]["type"]) for row in rows] == [("assistant", "tool-call"), ("tool", "tool-result")]
    assert {row["part"]["tool_name"] for row in rows} == {"chat_summarized"}


async def test_a_chat_of_ten_thousand_messages_is_summarised_and_goes_on(stack: Stack) -> None:
    """Far more than the model can read at once, and it refuses even the first estimate."""
    await configured(stack, limit=100_000)
    stack.fake.script(Behaviour(text="one"), TOO_LONG, Behaviour(text="all of it"), Behaviour(text="two"))
    async with worker(stack):
        chat_id = await stack.create("the task")
        await stack.rest(chat_id)
        async with stack.database.begin() as session:
            await fetch(
                session,
                """
                INSERT INTO chat_messages (chat_id, revision, role, content, visibility, input_tokens)
                SELECT %(chat)s, 1, (ARRAY['assistant', 'tool', 'assistant', 'user'])[n %% 4 + 1],
                    CASE n %% 4
                    WHEN 0 THEN jsonb_build_array(jsonb_build_object('type', 'tool-call', 'tool_name', 'current_time',
                        'tool_call_id', 'call_' || n, 'args', '{}'::jsonb))
                    WHEN 1 THEN jsonb_build_array(jsonb_build_object('type', 'tool-result', 'tool_name',
                        'current_time', 'tool_call_id', 'call_' || n - 1, 'result', repeat('result ', 500)))
                    ELSE jsonb_build_array(jsonb_build_object('type', 'text', 'text', n || repeat(' word', 50))) END,
                    'both', CASE WHEN n %% 4 = 2 THEN 90000 END
                FROM generate_series(1, 10002) AS n""",
                {"chat": chat_id},
            )
        chat = await say(stack, chat_id, "and now?")
    assert (chat.status, chat.last_error) == ("waiting", None)
    first, second = stack.fake.received[1].body["messages"], stack.fake.received[2].body["messages"]
    assert len(json.dumps(second)) < 0.7 * len(json.dumps(first)) < 400_000
    for sent in (first, second):
        assert sent[0]["content"].startswith("the task\n\n[")
        assert sent[-1]["content"] == compaction.REQUEST
        assert sum("left out here" in (each.get("content") or "") for each in sent) == 1
        assert (sent[-2].get("content") or "").startswith("10002 ")
    assert asked(stack, 3) == compaction.PREFIX + "all of it\n\nand now?"
    kept = await stack.messages(chat_id)
    assert words_of(kept[-1].content) == "two"
    assert len(kept) == 2 + 10_002 + 1 + 4 + 1
    assert history.is_summary(kept[-5].model_dump())
