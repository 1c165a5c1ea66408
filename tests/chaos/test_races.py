"""Many clients at once, and people who change their mind in the middle of an answer, on the whole stack."""

import asyncio
from datetime import timedelta

import httpx

from models.settings import Settings
from tests.chaos.api import CHATS
from tests.chaos.stack import CHAOS, Stack, ask, content, eventually, said, words
from tests.chaos.watcher import Watcher
from workflows.client import Temporal

pytestmark = CHAOS

CLIENTS, EACH = 20, 10
CROWDED = 8  # clients that all write to the first chat: more than its queue can hold


async def test_of_two_hundred_racing_messages_each_accepted_one_appears_once_in_order(stack: Stack) -> None:
    chats = [await stack.create(ask("opening", tokens=10, interval_ms=50)) for _ in range(10)]
    accepted: dict[str, list[tuple[int, str]]] = {chat_id: [] for chat_id in chats}
    refused: list[httpx.Response] = []
    longest = 0
    over = asyncio.Event()

    async def client(number: int) -> None:
        chat_id = chats[0 if number < CROWDED else number % 10]
        async with stack.api(number % 2) as api:
            for _ in range(EACH):
                text = ask(f"client {number}", tokens=2)
                sent = await api.http.post(f"{CHATS}/{chat_id}/messages", json=content(text))
                if sent.status_code == 200:
                    accepted[chat_id].append((number, text))
                else:
                    refused.append(sent)

    async def measure() -> None:
        nonlocal longest
        while not over.is_set():
            found = await stack.query("SELECT count(*) AS waiting FROM chat_queued_messages GROUP BY chat_id")
            longest = max([longest, *(row["waiting"] for row in found)])
            await asyncio.sleep(0.02)

    measuring = asyncio.create_task(measure())
    await asyncio.gather(*map(client, range(CLIENTS)))
    histories = dict(zip(chats, await asyncio.gather(*map(stack.rest, chats)), strict=True))
    over.set()
    await measuring
    assert refused, "the first chat's queue was never full: this test says nothing"
    for answer in refused:
        assert answer.status_code == 429
        assert answer.json() == {"message": "Message queue is full.", "detail": "Maximum 20 messages can be queued."}
    assert longest <= 20
    for chat_id, messages in histories.items():
        asked = said(messages, "user")[1:]
        assert sorted(asked) == sorted(text for _, text in accepted[chat_id])
        for number in range(CLIENTS):
            own = [text for sender, text in accepted[chat_id] if sender == number]
            assert [text for text in asked if text in own] == own
        assert said(messages) == [words(10), *[words(2)] * len(asked)]


async def test_a_chat_that_is_nudged_twice_and_late_has_one_turn(stack: Stack) -> None:
    text = ask("count", tokens=20, interval_ms=20)
    chat_id = await stack.create(text)
    [row] = await stack.query("SELECT * FROM chats WHERE id = %(id)s", id=chat_id)
    settings = Settings(
        temporal_address=stack.facts["temporal_address"], temporal_namespace=stack.facts["temporal_namespace"]
    )
    temporal = await Temporal.connect(settings)
    try:

        async def nudge() -> None:
            await temporal.nudge(row["id"], row["owner_id"], row["snapshot_version"])

        await asyncio.gather(nudge(), nudge())
        messages = await stack.rest(chat_id)
        await asyncio.gather(nudge(), nudge())

        async def nothing_runs() -> bool:
            return row["id"] not in await temporal.running_chats()

        await eventually(nothing_runs, "the late nudges were looked at")
    finally:
        await temporal.close()
    assert (said(messages), len(stack.requests(text))) == ([words(20)], 1)
    assert said(await stack.rest(chat_id)) == [words(20)]


async def test_an_interruption_keeps_the_partial_and_runs_the_head_of_the_queue(stack: Stack) -> None:
    text, first, second = ask("count", tokens=400, interval_ms=20), ask("first", tokens=3), ask("second", tokens=4)
    chat_id = await stack.create(text)
    async with Watcher(stack, chat_id, "websocket") as watcher, stack.api() as api:
        received = await stack.asked(text, tokens=20)
        await watcher.shows(10)
        for queued in (first, second):
            assert (await stack.send(chat_id, queued))["queued"]
        await api.post(f"{CHATS}/{chat_id}/interrupt")
        await asyncio.wait_for(received.ended.wait(), timedelta(seconds=30).total_seconds())
        assert received.closed_by_client_at is not None
        messages = await stack.rest(chat_id)
        await watcher.rests()
    assert said(messages, "user") == [text, first, second]
    partial, *answers = said(messages)
    assert answers == [words(3), words(4)]
    assert partial
    assert words(400).startswith(partial)
    assert len(partial) < len(words(400))
    [shown] = [pieces for pieces in watcher.episodes().values() if len("".join(pieces)) > len(words(4))]
    assert partial.startswith("".join(shown))
    assert watcher.answers() == said(messages)


async def test_an_edit_while_the_answer_streams_replaces_all_that_follows(stack: Stack) -> None:
    opening, text, queued = ask("opening", tokens=3), ask("count", tokens=400, interval_ms=20), ask("queued", tokens=4)
    chat_id = await stack.create(opening)
    before = await stack.rest(chat_id)
    sent = await stack.send(chat_id, text)
    edited = ask("edited", tokens=5)
    async with Watcher(stack, chat_id, "sse") as watcher, stack.api() as api:
        received = await stack.asked(text, tokens=20)
        await watcher.shows(10)
        assert (await stack.send(chat_id, queued))["queued"]
        changed = await api.http.patch(f"{CHATS}/{chat_id}/messages/{sent['message']['id']}", json=content(edited))
        assert changed.status_code == 200, changed.text
        await asyncio.wait_for(received.ended.wait(), timedelta(seconds=30).total_seconds())
        assert received.closed_by_client_at is not None
        messages = await stack.rest(chat_id)
        await watcher.rests()
    assert messages[: len(before)] == before
    assert said(messages, "user") == [opening, edited]
    assert said(messages) == [words(3), words(5)]
    assert watcher.count("history_reset") == 1
    assert watcher.messages() == messages
    [row] = await stack.query(
        "SELECT count(*) AS kept FROM chat_messages WHERE chat_id = %(id)s AND role = 'assistant' "
        "AND visibility <> 'model'",
        id=chat_id,
    )
    assert row["kept"] == 2  # the old attempt committed nothing, not even what was voided
