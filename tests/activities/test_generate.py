"""The laws of a model step, end to end: workflow, worker, database, provider over HTTP."""

import asyncio

from models.store.database import fetch
from tests.activities.stack import Stack, words_of, worker
from tests.fakes.behaviour import Behaviour


async def test_a_message_gets_one_answer(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=5, reasoning=3, cached_tokens=4, reasoning_tokens=3))
    async with worker(stack):
        chat_id = await stack.create("hello")
        chat = await stack.rest(chat_id)
    assert (chat.status, chat.last_error, chat.retry_state) == ("waiting", None, None)
    user, answer = await stack.messages(chat_id)
    assert words_of(user.content) == "hello"
    assert [part["type"] for part in answer.content] == ["reasoning", "text"]
    assert answer.content[0]["completed_at"] >= answer.content[0]["created_at"]
    assert len(words_of(answer.content).split()) == 5
    assert answer.model_config_id == stack.world.model_config_id
    assert (answer.input_tokens, answer.cache_read_tokens, answer.reasoning_tokens) == (20, 4, 3)
    assert answer.cache_creation_tokens is None, "zero is unknown"
    assert answer.context_limit == 100_000
    assert answer.runtime_ms is not None


async def test_an_anthropic_turn_keeps_its_reasoning_and_gives_it_back_signed(stack: Stack) -> None:
    async with stack.database.begin() as session:
        await fetch(
            session,
            "UPDATE ai_providers SET type = 'anthropic', base_url = %(url)s WHERE id = %(id)s",
            {"url": stack.fake.root_url, "id": stack.world.provider_id},
        )
    call = {"name": "current_time", "arguments": {}}
    stack.fake.script(Behaviour(tokens=2, reasoning=3, tool_calls=[call]), Behaviour(text="It is late."))
    async with worker(stack):
        chat_id = await stack.create("what time is it?")
        chat = await stack.rest(chat_id)
    assert (chat.status, chat.last_error) == ("waiting", None)
    _, called, _, answer = await stack.messages(chat_id)
    assert [part["type"] for part in called.content] == ["reasoning", "text", "tool-call"]
    assert called.input_tokens
    assert called.output_tokens
    assert words_of(answer.content) == "It is late."
    assert {request.path for request in stack.fake.received} == {"/v1/messages"}
    told = stack.fake.received[1].body["messages"]
    signature = called.content[0]["provider_metadata"]["signature"]
    assert told[1]["content"][0]["type"] == "thinking"
    assert told[1]["content"][0]["signature"] == signature


async def test_the_turn_is_one_workflow_run_that_explains_itself(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=200, interval_ms=10))
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        during = await stack.temporal.explain(chat_id)
        while not during.get("pending_activities"):  # the answer may begin before its run
            during = await stack.temporal.explain(chat_id)
        await stack.interrupt(chat_id)
        await stack.rest(chat_id)
    assert during["running"]
    assert during["state"]["doing"] == "step 1: model"
    assert [(each["effect"], each["state"], each["attempt"]) for each in during["pending_activities"]] == [
        ("generate", "started", 1)
    ]


async def test_a_retryable_failure_is_told_and_tried_again(stack: Stack) -> None:
    stack.fake.script(Behaviour(status=429, retry_after="1"), Behaviour(status=529), Behaviour(text="there"))
    async with worker(stack):
        chat_id = await stack.create("hello")
        waiting = await stack.until(chat_id, lambda chat: chat.retry_state is not None)
        chat = await stack.rest(chat_id)
    assert waiting.retry_state is not None
    assert waiting.retry_state["kind"] == "rate_limit"
    assert waiting.retry_state["attempt"] == 1
    assert waiting.retry_state["delay_ms"] == 1000
    assert chat.status == "waiting"
    assert chat.retry_state is None
    assert await stack.said(chat_id) == [("user", "hello"), ("assistant", "there")]


async def test_a_stream_that_breaks_leaves_nothing_behind(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=9, cut_after=4), Behaviour(text="whole"))
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.rest(chat_id)
    assert await stack.said(chat_id) == [("user", "hello"), ("assistant", "whole")]


async def test_a_final_failure_ends_the_turn_with_a_structured_error(stack: Stack) -> None:
    stack.fake.script(Behaviour(status=401, message="bad key"))
    async with worker(stack):
        chat_id = await stack.create("hello")
        chat = await stack.rest(chat_id)
    assert chat.status == "error"
    assert chat.last_error is not None
    assert (chat.last_error["kind"], chat.last_error["retryable"]) == ("auth", False)
    assert len(stack.fake.received) == 1


async def test_attempts_are_bounded(stack: Stack) -> None:
    stack.settings = stack.settings.model_copy(update={"max_attempts": 2})
    stack.fake.script(*[Behaviour(status=500)] * 5)
    async with worker(stack):
        chat_id = await stack.create("hello")
        chat = await stack.rest(chat_id)
    assert chat.status == "error"
    assert len(stack.fake.received) == 2


async def test_a_withheld_answer_is_an_error_and_a_partly_withheld_one_an_answer(stack: Stack) -> None:
    stack.fake.script(Behaviour(empty=True, finish_reason="content_filter"), Behaviour(finish_reason="content_filter"))
    async with worker(stack):
        withheld = await stack.create("one")
        first = await stack.rest(withheld)
        partly = await stack.create("two")
        second = await stack.rest(partly)
    assert first.last_error is not None
    assert first.last_error["kind"] == "content_filter"
    assert second.status == "waiting"
    assert len(await stack.messages(partly)) == 2


async def test_an_empty_answer_ends_the_turn_without_a_message(stack: Stack) -> None:
    stack.fake.script(Behaviour(empty=True))
    async with worker(stack):
        chat_id = await stack.create("hello")
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    assert await stack.said(chat_id) == [("user", "hello")]


async def test_without_a_usable_model_the_chat_says_so(stack: Stack) -> None:
    async with stack.database.begin() as session:
        await fetch(session, "UPDATE ai_providers SET enabled = false")
    async with worker(stack):
        chat_id = await stack.create("hello")
        chat = await stack.rest(chat_id)
    assert chat.last_error is not None
    assert chat.last_error["kind"] == "config"
    assert stack.fake.received == []


async def test_what_is_queued_runs_next_as_a_turn_of_its_own(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=30, interval_ms=10), Behaviour(text="second"), Behaviour(text="third"))
    async with worker(stack):
        chat_id = await stack.create("one")
        await stack.streaming(chat_id)
        await stack.send(chat_id, "two")
        await stack.send(chat_id, "three")
        await stack.until(chat_id, lambda chat: chat.status == "waiting")
    said = await stack.said(chat_id)
    assert [role for role, _ in said] == ["user", "assistant"] * 3
    assert [words for role, words in said if role == "user"] == ["one", "two", "three"]
    assert said[3:] == [("assistant", "second"), ("user", "three"), ("assistant", "third")]


async def test_an_edit_voids_the_running_attempt(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=500, interval_ms=10), Behaviour(text="to the new words"))
    async with worker(stack):
        chat_id = await stack.create("old words")
        await stack.streaming(chat_id)
        [message] = await stack.messages(chat_id)
        await stack.edit(chat_id, message.id, "new words")
        await stack.rest(chat_id)
    assert await stack.said(chat_id) == [("user", "new words"), ("assistant", "to the new words")]
    first = stack.fake.received[0]
    await asyncio.wait_for(first.ended.wait(), 60)
    assert first.closed_by_client_at is not None


async def test_the_model_is_told_of_the_whole_conversation(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="hi"), Behaviour(text="bye"))
    async with worker(stack):
        chat_id = await stack.create("hello", system=["Be brief."])
        await stack.rest(chat_id)
        await stack.send(chat_id, "goodbye")
        await stack.until(chat_id, lambda chat: chat.status == "waiting" and chat.snapshot_version > 4)
    told = [(m["role"], m["content"]) for m in stack.fake.received[1].body["messages"]]
    assert told == [("system", "Be brief."), ("user", "hello"), ("assistant", "hi"), ("user", "goodbye")]


async def test_two_nudges_are_one_answer(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=20, interval_ms=10))
    async with worker(stack):
        chat_id = await stack.create("hello")
        for _ in range(3):
            await stack.temporal.nudge(chat_id, stack.world.owner_id, 1)
        await stack.rest(chat_id)
        await asyncio.sleep(0.3)
    assert len(stack.fake.received) == 1


async def test_a_worker_that_stops_hands_its_step_over(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=500, interval_ms=10), Behaviour(text="from the second"))
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
    handed = await stack.chat(chat_id)
    assert handed.status == "running"
    assert await stack.said(chat_id) == [("user", "hello")]
    async with worker(stack):
        await stack.rest(chat_id)
    assert await stack.said(chat_id) == [("user", "hello"), ("assistant", "from the second")]
    assert stack.fake.received[0].closed_by_client_at is not None
