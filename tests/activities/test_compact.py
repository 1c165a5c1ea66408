"""The laws of compaction, end to end: when, once, all or nothing, and on with the turn."""

import json

import pytest

from models.rules import compaction, history
from models.store import preferences
from models.store.database import fetch
from tests.activities.compacting import FULL, TIME, asked, compact, configured, say, settled, shape, told
from tests.activities.stack import Stack, words_of, worker
from tests.fakes.behaviour import Behaviour

TOO_LONG = Behaviour(status=400, code="context_length_exceeded", message="This model's maximum context length is 1000.")


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
