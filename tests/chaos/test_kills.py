"""Any process is killed in the middle of a turn; the answer arrives whole, once, and whoever watches sees it so."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.chaos.stack import CHAOS, Stack, ask, eventually, said, words
from tests.chaos.watcher import Watcher

pytestmark = CHAOS


async def test_a_worker_that_is_killed_mid_stream_hands_its_turn_to_another(stack: Stack) -> None:
    async with stack.second_worker() as second:
        text = ask("count", tokens=60, interval_ms=40)
        chat_id = await stack.create(text)
        async with watched(stack, chat_id) as watchers:
            victim = stack.worker_of(await stack.asked(text, tokens=15))
            for watcher in watchers:
                await watcher.shows(10)
            if victim == second.pid:
                second.kill()
            else:
                replaced = await stack.kill("worker")
            await taken_over(stack, chat_id, text, watchers)
            if victim != second.pid:
                await replaced


async def test_a_worker_that_is_killed_mid_stream_and_alone_is_started_again(stack: Stack) -> None:
    text = ask("count", tokens=60, interval_ms=40)
    chat_id = await stack.create(text)
    async with watched(stack, chat_id) as watchers:
        await stack.asked(text, tokens=15)
        for watcher in watchers:
            await watcher.shows(10)
        replaced = await stack.kill("worker")
        await taken_over(stack, chat_id, text, watchers)
    await replaced


@asynccontextmanager
async def watched(stack: Stack, chat_id: str) -> AsyncIterator[tuple[Watcher, Watcher]]:
    """A watcher on each transport."""
    async with Watcher(stack, chat_id, "sse") as sse, Watcher(stack, chat_id, "websocket") as websocket:
        yield sse, websocket


async def taken_over(stack: Stack, chat_id: str, text: str, watchers: Sequence[Watcher]) -> None:
    """The turn ends by itself, with one answer; its watchers were told once that the preview begins again."""
    messages = await stack.rest(chat_id)
    for watcher in watchers:
        await watcher.rests()
    assert said(messages) == [words(60)]
    assert len(stack.requests(text)) == 2
    for watcher in watchers:
        assert watcher.answers() == [words(60)]
        assert watcher.count("preview_reset") == 1
        assert "".join(watcher.episodes()[max(watcher.episodes())]) == words(60)
        assert (watcher.count("resync"), watcher.connections) == (0, 1)


async def test_an_api_that_is_killed_costs_its_watchers_nothing(stack: Stack) -> None:
    text = ask("count", tokens=80, interval_ms=40)
    chat_id = await stack.create(text)
    first, second = stack.facts["api_urls"]
    async with (
        Watcher(stack, chat_id, "sse", [first]) as returning,
        Watcher(stack, chat_id, "websocket", [first, second]) as moving,
        Watcher(stack, chat_id, "sse", [second]) as untouched,
    ):
        for watcher in (returning, moving, untouched):
            await watcher.shows(20)
        replaced = await stack.kill("api", stack.pids("api")[0])
        await replaced
        messages = await stack.rest(chat_id)
        for watcher in (returning, moving, untouched):
            await watcher.rests()
    assert said(messages) == [words(80)]
    assert len(stack.requests(text)) == 1
    for watcher in (returning, moving, untouched):
        assert watcher.answers() == [words(80)]
        assert (watcher.count("preview_reset"), watcher.count("resync")) == (0, 0)
    for watcher in (moving, untouched):
        assert ["".join(pieces) for pieces in watcher.episodes().values()] == [words(80)]
    # Its API may be back only when the turn is over; what it was shown of the step has no gap all the same.
    [shown] = returning.episodes().values()
    assert words(80).startswith("".join(shown))
    assert returning.connections > 1
    assert moving.connections > 1
    assert untouched.connections == 1


async def test_what_is_accepted_while_temporal_is_away_reaches_its_end(stack: Stack) -> None:
    running = ask("count", tokens=60, interval_ms=40)
    chat_id = await stack.create(running)
    await stack.asked(running, tokens=10)
    replaced = await stack.kill("temporal")
    queued, fresh = ask("queued", tokens=3), ask("fresh", tokens=4)
    assert (await stack.send(chat_id, queued))["queued"]
    other = await stack.create(fresh)
    await replaced
    assert said(await stack.rest(chat_id)) == [words(60), words(3)]
    assert said(await stack.rest(other)) == [words(4)]


async def test_what_was_accepted_before_postgres_was_killed_reaches_its_end(stack: Stack) -> None:
    running, queued = ask("count", tokens=60, interval_ms=40), ask("queued", tokens=3)
    chat_id = await stack.create(running)
    async with Watcher(stack, chat_id, "sse") as watcher:
        await stack.asked(running, tokens=10)
        await watcher.shows(5)
        assert (await stack.send(chat_id, queued))["queued"]
        replaced = await stack.kill("postgres")
        fresh = ask("fresh", tokens=4)
        other = await stack.create(fresh)  # repeated with one key until it is accepted
        await replaced
        messages = await stack.rest(chat_id)
        await watcher.rests()
    assert said(messages) == [words(60), words(3)]
    assert said(messages, "user") == [running, queued]
    assert watcher.answers() == [words(60), words(3)]
    answered = await stack.rest(other)
    assert (said(answered), said(answered, "user")) == ([words(4)], [fresh])


async def test_a_stack_that_is_killed_whole_finishes_its_turns_when_it_is_started_again(stack: Stack) -> None:
    running, queued = ask("count", tokens=60, interval_ms=40), ask("queued", tokens=3)
    chat_id = await stack.create(running)
    await stack.asked(running, tokens=10)
    assert (await stack.send(chat_id, queued))["queued"]
    await stack.kill_everything()
    await stack.start()
    messages = await stack.rest(chat_id)
    assert said(messages) == [words(60), words(3)]
    assert said(messages, "user") == [running, queued]


async def test_all_roles_killed_in_turn_while_many_chats_run_lose_none(stack: Stack) -> None:
    texts = [ask("one of many", tokens=50, interval_ms=60) for _ in range(8)]
    chats = await asyncio.gather(*map(stack.create, texts))
    await asyncio.gather(*(stack.asked(text, tokens=5) for text in texts))
    for role in ("worker", "api", "temporal", "postgres"):
        await stack.kill(role, stack.pids(role)[0])
        await asyncio.sleep(0.5)
    for chat_id, text in zip(chats, texts, strict=True):
        messages = await stack.rest(chat_id)
        assert (said(messages, "user"), said(messages)) == ([text], [words(50)])

    await eventually(stack.is_whole, "the stack is whole again")


async def test_a_worker_that_is_told_to_stop_hands_its_turn_over(stack: Stack) -> None:
    async with stack.second_worker() as second:
        text = ask("count", tokens=60, interval_ms=40)
        chat_id = await stack.create(text)
        async with watched(stack, chat_id) as watchers:
            worker = stack.worker_of(await stack.asked(text, tokens=15))
            for watcher in watchers:
                await watcher.shows(10)
            os.kill(worker, signal.SIGTERM)
            await taken_over(stack, chat_id, text, watchers)
        if worker != second.pid:
            await stack.replaced("worker", worker)


async def test_tools_that_have_answered_are_not_called_again_by_the_worker_that_takes_over(stack: Stack) -> None:
    call = {"name": "current_time", "arguments": {"timezone": "UTC"}, "id": "call_once"}
    text = ask("what time is it", tool_calls=[call], tokens=0, then={"tokens": 60, "interval_ms": 40})
    chat_id = await stack.create(text)
    await stack.asked(text, tokens=15, count=2)
    before = [message for message in await stack.messages(chat_id) if message["role"] != "user"]
    replaced = await stack.kill("worker")
    messages = await stack.rest(chat_id)
    await replaced
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1:3] == before
    assert said(messages)[-1] == words(60)
    assert len(stack.requests(text)) == 3


async def test_each_message_that_a_storm_of_kills_lets_through_is_answered_once(stack: Stack) -> None:
    chats = [await stack.create(ask("opening", tokens=3)) for _ in range(4)]
    texts: dict[str, list[str]] = {chat_id: [] for chat_id in chats}

    async def talk(chat_id: str) -> None:
        for _ in range(12):
            text = ask("in the storm", tokens=4, interval_ms=60)
            texts[chat_id].append(text)
            await stack.send(chat_id, text)  # repeated with one key until it is accepted
            await asyncio.sleep(0.2)

    talking = asyncio.gather(*map(talk, chats))
    for role in ("api", "postgres", "worker", "api", "temporal", "postgres", "api", "worker"):
        await stack.kill(role, *stack.pids(role)[:1])
        await asyncio.sleep(0.7)
    await talking
    for chat_id in chats:
        messages = await stack.rest(chat_id)
        assert said(messages, "user")[1:] == texts[chat_id]
        assert said(messages) == [words(3), *[words(4)] * 12]
    await eventually(stack.is_whole, "the stack is whole again")
