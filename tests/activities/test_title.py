"""The laws of titles and labels: they follow a turn, never hold it up, and what a person wants goes before them."""

import asyncio
import json
from collections import Counter
from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.service import RPCError

from activities import aside, small_models
from activities.title import Titling
from models.rules import summaries, titles
from models.steps import Naming, TitleOutcome, TitleReply, TitleRequest
from models.store import preferences
from models.store import titles as store
from models.store.database import Row, fetch
from models.store.notices import CHATS, ChatNotice
from models.tables.catalog import ModelConfig
from tests.activities.stack import Stack, worker
from tests.chaos.invariants import LAWS
from tests.fakes.behaviour import Behaviour
from tests.seeds import insert
from workflows.client import title_workflow_id

WORDS = "explain how a mutex works in the kernel please"
FALLBACK = "explain how a mutex works in…"
PRICES = {"cost": {"input_price_per_million_tokens": "1", "output_price_per_million_tokens": "2"}}


async def unnamed(stack: Stack, words: str = WORDS, *, title: str | None = None, signal: str = "woken") -> UUID:
    """A chat with one message, under its fallback title."""
    chat_id = await stack.create(words, signal="", title=title or FALLBACK)
    if signal:
        chat = await stack.chat(chat_id)
        await stack.temporal.nudge(chat_id, chat.owner_id, chat.snapshot_version, signal=signal)
    return chat_id


async def write(stack: Stack, statement: Any, **params: Any) -> list[Row]:
    async with stack.database.begin() as session:
        return await fetch(session, statement, params)


async def charged(stack: Stack, chat_id: UUID) -> list[Row]:
    """The hidden rows of calls beside the talk."""
    return await write(stack, "SELECT * FROM chat_messages WHERE chat_id = %(id)s AND deleted ORDER BY id", id=chat_id)


async def sought(stack: Stack, chat_id: UUID, naming: Naming = Naming.AUTOMATIC) -> TitleReply:
    """What the detached search came to, once it is there."""
    handle = stack.temporal.client.get_workflow_handle(title_workflow_id(chat_id, naming), result_type=TitleReply)
    while True:
        try:
            return await handle.result()
        except RPCError:
            await asyncio.sleep(0.02)


async def add_model(stack: Stack, name: str, **options: Any) -> UUID:
    """Another model on the same provider."""
    async with stack.database.begin() as session:
        config = ModelConfig(
            ai_provider_id=stack.world.provider_id, model=name, context_limit=1000, is_default=False, options=options
        )
        await insert(session, config)
        return config.id


async def provider_is(stack: Stack, kind: str) -> None:
    await write(
        stack, "UPDATE ai_providers SET type = %(kind)s, base_url = %(url)s", kind=kind, url=stack.fake.openai_url
    )


async def test_a_first_message_gives_its_chat_a_title_while_the_answer_streams(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=400, interval_ms=10), Behaviour(text='"Mutex basics"\n'))
    async with worker(stack):
        chat_id = await unnamed(stack)
        chat = await stack.until(chat_id, lambda chat: chat.title != FALLBACK)
        assert (chat.title, chat.status) == ("Mutex basics", "running")
        await stack.interrupt(chat_id)
        await stack.rest(chat_id)
    asked = stack.fake.received[1].body["messages"]
    assert asked[0] == {"role": "system", "content": titles.INSTRUCTIONS}
    assert titles.subject(asked[1]["content"]) == WORDS


async def test_a_title_moves_no_version_and_is_no_news_to_readers(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="Answer"), Behaviour(text="Mutex basics"))
    async with worker(stack):
        chat_id = await unnamed(stack)
        await stack.rest(chat_id)
        reply = await sought(stack, chat_id)
    chat = await stack.chat(chat_id)
    assert (reply.outcome, chat.title) == (TitleOutcome.SAVED, "Mutex basics")
    assert (chat.snapshot_version, chat.history_version) == (3, 3), "created, opened, answered"
    assert [words for _, words in await stack.said(chat_id)] == [WORDS, "Answer"]
    [hidden] = await charged(stack, chat_id)
    assert (hidden["role"], hidden["visibility"], hidden["id"]) == ("assistant", "model", reply.charged)
    assert hidden["revision"] <= chat.history_version
    for law, query in LAWS.items():
        assert await write(stack, query) == [], law


async def test_the_call_for_a_title_is_charged_to_the_chat(stack: Stack) -> None:
    await write(stack, "UPDATE chat_model_configs SET options = %(o)s::jsonb", o=json.dumps(PRICES))
    stack.fake.script(Behaviour(text="Answer"), Behaviour(text="Mutex basics", input_tokens=30))
    async with worker(stack):
        chat_id = await unnamed(stack)
        await sought(stack, chat_id)
        await stack.rest(chat_id)
    [hidden] = await charged(stack, chat_id)
    assert hidden["input_tokens"] == 30
    assert hidden["total_cost_micros"] == 30 + 2 * hidden["output_tokens"]
    assert hidden["model_config_id"] == stack.world.model_config_id
    [total] = await write(stack, "SELECT sum(total_cost_micros) AS micros FROM chat_messages")
    assert [each["spent_micros"] for each in await write(stack, "SELECT * FROM chat_spend")] == [total["micros"]]


@pytest.mark.parametrize("title", ["My own name", "A chat"])
async def test_a_chat_that_somebody_named_keeps_its_name(stack: Stack, title: str) -> None:
    async with worker(stack):
        chat_id = await unnamed(stack, title=title)
        await stack.rest(chat_id)
        reply = await Titling(stack.resources[0]).title(TitleRequest(chat_id, Naming.AUTOMATIC))
    assert reply.outcome is TitleOutcome.SKIPPED
    assert len(stack.fake.received) == 1
    assert (await stack.chat(chat_id)).title == title


async def test_a_second_message_ends_the_search_before_it_begins(stack: Stack) -> None:
    async with worker(stack) as resources:
        chat_id = await unnamed(stack, title="named for now")
        await stack.rest(chat_id)
        await stack.send(chat_id, "and a semaphore?")
        await stack.rest(chat_id)
        await write(stack, "UPDATE chats SET title = %(t)s WHERE id = %(id)s", id=chat_id, t=FALLBACK)
        reply = await Titling(resources).title(TitleRequest(chat_id, Naming.AUTOMATIC))
    assert reply.outcome is TitleOutcome.SKIPPED
    assert await charged(stack, chat_id) == []


async def test_a_rename_wins_over_a_running_search(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="Answer"), Behaviour(text="Mutex basics", slow_first_token_ms=600))
    async with worker(stack):
        chat_id = await unnamed(stack)
        while len(stack.fake.received) < 2:
            await asyncio.sleep(0.01)
        await write(stack, "UPDATE chats SET title = 'Mine' WHERE id = %(id)s", id=chat_id)
        reply = await sought(stack, chat_id)
    assert reply.outcome is TitleOutcome.UNCHANGED
    assert (await stack.chat(chat_id)).title == "Mine"
    assert len(await charged(stack, chat_id)) == 1, "it was paid for all the same"


async def test_a_title_that_a_person_waits_for_keeps_the_automatic_one_out(stack: Stack) -> None:
    chat_id = await unnamed(stack, signal="")
    async with stack.database.begin() as session:
        assert await store.hold(session, chat_id) is not None
        assert await store.hold(session, chat_id) is None
        assert not await store.save_automatic(session, chat_id, "Automatic", instead_of=FALLBACK)
    await write(stack, "UPDATE chats SET title_locked_at = now() - interval '61 s' WHERE id = %(id)s", id=chat_id)
    before = await stack.chat(chat_id)
    async with stack.database.begin() as session:
        assert await store.save_automatic(session, chat_id, "Automatic", instead_of=FALLBACK)
        assert await store.hold(session, chat_id) is not None
    after = await stack.chat(chat_id)
    assert (after.title, after.updated_at) == ("Automatic", before.updated_at)


async def test_nonsense_and_failures_leave_the_fallback_and_the_turn_alone(stack: Stack) -> None:
    for answer in (Behaviour(text="I would call this conversation a talk about mutexes"), Behaviour(status=500)):
        stack.fake.script(Behaviour(text="Answer"), answer)
        async with worker(stack):
            chat_id = await unnamed(stack)
            reply = await sought(stack, chat_id)
            chat = await stack.rest(chat_id)
        assert (reply.outcome, bool(reply.note)) == (TitleOutcome.UNCHANGED, True)
        assert (chat.title, chat.status, chat.last_error) == (FALLBACK, "waiting", None)


async def test_small_models_are_asked_first_and_the_chats_own_last(stack: Stack) -> None:
    await provider_is(stack, "openai")
    small = await add_model(stack, "gpt-4o-mini")
    stack.fake.script(Behaviour(text="Answer"), Behaviour(status=401), Behaviour(text="Mutex basics"))
    async with worker(stack) as resources:
        choice = await small_models.for_titles(resources.database, stack.world.model_config_id)
        assert choice.models == [small, stack.world.model_config_id]
        chat_id = await unnamed(stack)
        await sought(stack, chat_id)
    assert [each.body["model"] for each in stack.fake.received] == ["fake-model", "gpt-4o-mini", "fake-model"]
    assert (await stack.chat(chat_id)).title == "Mutex basics"


async def test_an_administrators_choice_is_hard(stack: Stack) -> None:
    chosen = await add_model(stack, "chosen-model")
    async with stack.database.begin() as session:
        await preferences.put_site(session, {small_models.OVERRIDE: str(chosen)})
    stack.fake.script(Behaviour(text="Answer"), Behaviour(status=401))
    async with worker(stack) as resources:
        chat_id = await unnamed(stack)
        assert (await sought(stack, chat_id)).outcome is TitleOutcome.UNCHANGED
        assert [each.body["model"] for each in stack.fake.received] == ["fake-model", "chosen-model"]
        await write(stack, "UPDATE chat_model_configs SET enabled = false WHERE id = %(id)s", id=chosen)
        resources.catalog.forget()
        reply = await Titling(resources).title(TitleRequest(chat_id, Naming.AUTOMATIC))
    assert (reply.outcome, reply.charged) == (TitleOutcome.UNCHANGED, None)
    assert len(stack.fake.received) == 2, "nothing is asked in its place"


async def test_a_model_need_not_think_about_a_title(stack: Stack) -> None:
    options = {"provider_options": {"openaicompat": {"reasoning_effort": "high", "user": "u"}}, "temperature": 0.5}
    await write(stack, "UPDATE chat_model_configs SET options = %(o)s::jsonb", o=json.dumps(options))
    stack.fake.script(Behaviour(text="Answer"), Behaviour(text="Mutex basics"))
    async with worker(stack):
        chat_id = await unnamed(stack)
        await sought(stack, chat_id)
    turn, title = (each.body for each in stack.fake.received)
    assert (turn["reasoning_effort"], title.get("reasoning_effort")) == ("high", None)
    assert (title["user"], title["temperature"], title["max_tokens"]) == ("u", 0.5, 256)


async def test_titles_can_be_switched_off(stack: Stack) -> None:
    stack.settings = stack.settings.model_copy(update={"automatic_titles": False})
    async with worker(stack):
        chat_id = await unnamed(stack)
        await stack.rest(chat_id)
    assert len(stack.fake.received) == 1


async def test_a_worker_that_dies_while_titling_is_followed_by_another(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="Answer"), Behaviour(text="Lost", slow_first_token_ms=60_000))
    async with worker(stack):
        chat_id = await unnamed(stack)
        while len(stack.fake.received) < 2:
            await asyncio.sleep(0.01)
    stack.fake.script(Behaviour(text="Mutex basics"))
    async with worker(stack):
        reply = await sought(stack, chat_id)
    assert (reply.outcome, (await stack.chat(chat_id)).title) == (TitleOutcome.SAVED, "Mutex basics")
    assert len(await charged(stack, chat_id)) == 1


async def test_a_title_asked_for_is_about_the_whole_talk(stack: Stack) -> None:
    async with worker(stack) as resources:
        chat_id = await stack.create("first question", signal="woken")
        await stack.rest(chat_id)
        for number in range(2, 7):
            await stack.send(chat_id, f"question {number}")
            await stack.rest(chat_id)
        async with stack.database.begin() as session:
            held = await store.hold(session, chat_id)
        assert held is not None
        stack.fake.script(Behaviour(text="Six questions"))
        before = await stack.chat(chat_id)
        request = TitleRequest(chat_id, Naming.REGENERATE, held.isoformat())
        reply = await resources.temporal.title(request, before.owner_id)
    chat = await stack.chat(chat_id)
    assert (reply.outcome, chat.title, chat.title_locked_at) == (TitleOutcome.SAVED, "Six questions", None)
    assert chat.updated_at > before.updated_at
    assert chat.snapshot_version == before.snapshot_version
    asked = stack.fake.received[-1].body["messages"][1]["content"]
    assert titles.subject(asked) == "first question"
    assert "[... 2 earlier turns omitted ...]" in asked
    assert "question 3" not in asked
    for number in (4, 5, 6):
        assert f"user: question {number}" in asked


async def test_a_hold_that_was_lost_saves_nothing(stack: Stack) -> None:
    async with worker(stack) as resources:
        chat_id = await unnamed(stack, title="Mine")
        await stack.rest(chat_id)
        async with stack.database.begin() as session:
            held = await store.hold(session, chat_id)
        assert held is not None
        await write(stack, "UPDATE chats SET title_locked_at = now() WHERE id = %(id)s", id=chat_id)
        stack.fake.script(Behaviour(text="Theirs"))
        reply = await resources.temporal.title(TitleRequest(chat_id, Naming.REGENERATE, held.isoformat()), uuid4())
    assert reply.outcome is TitleOutcome.LOST
    assert (await stack.chat(chat_id)).title == "Mine"


@pytest.fixture
async def small(stack: Stack) -> Stack:
    """The stack, with a small model that labels may be asked of."""
    await provider_is(stack, "openai")
    await add_model(stack, "gpt-4o-mini")
    return stack


async def labelled(stack: Stack, answer: Behaviour) -> tuple[TitleReply, UUID]:
    stack.fake.script(Behaviour(text="A mutex is a lock."), answer)
    async with worker(stack):
        chat_id = await stack.create("what is a mutex?", signal="woken")
        chat = await stack.rest(chat_id)
        assert chat.last_turn_summary == summaries.FINISHED
        return await sought(stack, chat_id, Naming.LABEL), chat_id


async def watched(stack: Stack, chat_id: UUID, listening: asyncio.Event) -> Counter[str]:
    """What the owner's sidebar is told of the chat until its turn has been labelled anew."""
    kinds: Counter[str] = Counter()
    async with aclosing(stack.database.listen([CHATS])) as notices:
        async for notice in notices:
            listening.set()
            told = ChatNotice.decode(notice.payload) if notice else None
            kinds.update(told.watch if told and told.chat_id == chat_id else ())
            if kinds["summary_change"] == 2:
                break
    return kinds


async def test_the_sidebar_is_told_of_each_new_word_once(small: Stack) -> None:
    chat_id = await unnamed(small, signal="")
    listening = asyncio.Event()
    watching = asyncio.create_task(watched(small, chat_id, listening))
    await listening.wait()
    small.fake.script(Behaviour(text="A lock."), Behaviour(text="Mutex basics"), Behaviour(text="Explained mutexes"))
    async with worker(small):
        await small.temporal.nudge(chat_id, small.world.owner_id, 1)
        told = await watching
    chat = await small.chat(chat_id)
    assert (chat.title, chat.last_turn_summary) == ("Mutex basics", "Explained mutexes")
    assert told == {"status_change": 2, "title_change": 1, "summary_change": 2}


async def test_a_turn_that_rests_is_labelled_by_a_small_model(small: Stack) -> None:
    reply, chat_id = await labelled(small, Behaviour(text="Explained mutex basics."))
    chat = await small.chat(chat_id)
    assert (reply.outcome, chat.last_turn_summary) == (TitleOutcome.SAVED, "Explained mutex basics")
    assert small.fake.received[1].body["model"] == "gpt-4o-mini"
    assert "A mutex is a lock." in small.fake.received[1].body["messages"][1]["content"]
    assert chat.snapshot_version == 3
    assert len(await charged(small, chat_id)) == 1


async def test_a_label_that_is_none_leaves_the_plain_one(small: Stack) -> None:
    reply, chat_id = await labelled(small, Behaviour(text="The agent explained what a mutex is."))
    assert reply.outcome is TitleOutcome.UNCHANGED
    assert (await small.chat(chat_id)).last_turn_summary == summaries.FINISHED


async def test_without_a_small_model_no_label_is_sought(stack: Stack) -> None:
    async with worker(stack) as resources:
        chat_id = await stack.create("hello", signal="woken")
        await stack.rest(chat_id)
        own = stack.world.model_config_id
        for setting, expected in (("small", []), ("any", [own]), ("plain", [])):
            chosen = stack.settings.model_copy(update={"turn_summaries": setting})
            assert list((await small_models.for_labels(chosen, resources.database, own)).models) == expected
        await asyncio.sleep(aside.QUIET + 0.5)
    assert len(stack.fake.received) == 1


async def test_the_demo_provider_gives_titles_and_where_that_is_wanted_labels_too(stack: Stack) -> None:
    stack.settings = stack.settings.model_copy(update={"turn_summaries": "any"})
    await write(stack, "UPDATE ai_providers SET type = 'demo'")
    await write(stack, "UPDATE chat_model_configs SET model = 'demo-fast'")
    async with worker(stack):
        chat_id = await unnamed(stack)
        await sought(stack, chat_id)
        await sought(stack, chat_id, Naming.LABEL)
    chat = await stack.chat(chat_id)
    assert (chat.title, chat.last_turn_summary) == ("explain how a mutex works in", "Answered by the demo")


async def test_a_model_that_is_gone_is_replaced_by_the_default_as_for_a_turn(stack: Stack) -> None:
    gone = await add_model(stack, "gone-model")
    stack.fake.script(Behaviour(text="Answer"), Behaviour(text="Mutex basics"))
    chat_id = await unnamed(stack, signal="")
    await write(stack, "UPDATE chat_model_configs SET enabled = false WHERE id = %(id)s", id=gone)
    await write(stack, "UPDATE chats SET last_model_config_id = %(gone)s WHERE id = %(id)s", gone=gone, id=chat_id)
    async with worker(stack):
        await stack.temporal.nudge(chat_id, stack.world.owner_id, 1)
        await sought(stack, chat_id)
    assert [each.body["model"] for each in stack.fake.received] == ["fake-model", "fake-model"]
    assert (await stack.chat(chat_id)).title == "Mutex basics"


async def test_a_talk_that_went_on_is_not_labelled_for_its_last_turn(small: Stack) -> None:
    async with worker(small) as resources:
        chat_id = await small.create("hello", signal="woken")
        chat = await small.rest(chat_id)
        async with small.database.begin() as session:
            assert not await store.save_label(
                session, chat_id, "Old news", instead_of=summaries.FINISHED, snapshot_version=chat.snapshot_version - 1
            )
        small.fake.script(Behaviour(tokens=500, interval_ms=20))
        await small.send(chat_id, "and now?")
        await small.streaming(chat_id)
        reply = await Titling(resources).title(TitleRequest(chat_id, Naming.LABEL))
        await small.interrupt(chat_id)
        await small.rest(chat_id)
    assert reply.outcome is TitleOutcome.SKIPPED
