"""The Python client against a real API process; the test plays the worker."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest

from tests.turnstone.service import PATIENCE, PlayedWorker, Service, losing_the_first_answer
from turnstone.client import AsyncTurnstone, Transcript, Turnstone, file, file_reference
from turnstone.client.errors import (
    BadRequest,
    Conflict,
    ConnectionFailed,
    InvalidId,
    NotFound,
    QueueFull,
    Unauthenticated,
    WaitTimedOut,
)
from turnstone.client.events import MessagePartEvent, StreamEvent
from turnstone.client.parts import FileReferencePart, TextPart

T = TypeVar("T")
WEATHER = {"name": "get_weather", "description": "The weather.", "input_schema": {"type": "object"}}


@pytest.fixture
async def client(service: Service) -> AsyncIterator[AsyncTurnstone]:
    async with AsyncTurnstone(service.url, service.token) as opened:
        yield opened


async def blocking(service: Service, work: Callable[[Turnstone], T]) -> T:
    """What a program without a loop does, in a thread of its own."""

    def run() -> T:
        with Turnstone(service.url, service.token) as opened:
            return work(opened)

    return await asyncio.wait_for(asyncio.to_thread(run), PATIENCE)


async def told(client: AsyncTurnstone, chat_id: str, done: Callable[[Transcript], bool], **options: Any) -> Transcript:
    """What a chat's stream comes to, once it is that far."""
    transcript = Transcript()
    async with asyncio.timeout(PATIENCE), client.chats.stream(chat_id, **options) as events:
        async for event in events:
            transcript.tell(event)
            if done(transcript):
                break
    return transcript


def pieces(events: list[StreamEvent]) -> list[tuple[int, str]]:
    """The streamed text with its numbering, as it was told."""
    return [
        (event.seq, event.part.text)
        for event in events
        if isinstance(event, MessagePartEvent) and isinstance(event.part, TextPart)
    ]


async def shown(found: list[StreamEvent], count: int) -> None:
    """Wait until so many pieces were told."""
    async with asyncio.timeout(PATIENCE):
        while len(pieces(found)) < count:
            await asyncio.sleep(0.01)


async def test_a_chat_is_created_followed_and_read(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    chat = await client.chats.create("hello", labels={"team": "sea"})
    assert (chat.title, chat.status, dict(chat.labels), chat.rests) == ("hello", "pending", {"team": "sea"}, False)
    await worker.answer("Good ", "day")
    transcript = await told(client, chat.id, lambda so_far: so_far.rests)
    assert transcript.text == "Good day"
    assert transcript.preview == ()
    stored = [message async for message in client.chats.messages(chat.id)]
    assert stored == list(transcript.messages)
    assert [(message.role, message.text) for message in stored] == [("user", "hello"), ("assistant", "Good day")]
    assert (await client.chats.get(chat.id)).status == "waiting"


async def test_the_blocking_client_does_the_same(service: Service, worker: PlayedWorker) -> None:
    chat = await blocking(service, lambda client: client.chats.create("hello"))
    await worker.answer("Good ", "day")

    def read(client: Turnstone) -> list[StreamEvent]:
        found = []
        with client.chats.stream(chat.id) as events:
            for event in events:
                found.append(event)
                if Transcript.fold(found).rests:
                    break
        assert [message.text for message in client.chats.messages(chat.id)] == ["hello", "Good day"]
        return found

    assert Transcript.fold(await blocking(service, read)).text == "Good day"


async def test_an_api_that_is_killed_mid_stream_makes_no_gap_and_no_repeat(
    service: Service, worker: PlayedWorker, client: AsyncTurnstone
) -> None:
    chat = await client.chats.create("count")
    turn = await worker.take()
    awaited: list[StreamEvent] = []
    waited: list[StreamEvent] = []
    losses: list[str] = []

    def follow(other: Turnstone) -> None:
        for event in other.chats.stream(chat.id, lost=lambda: losses.append("blocking")):
            waited.append(event)
            if Transcript.fold(waited).rests:
                return

    async def follow_async() -> None:
        async with client.chats.stream(chat.id, lost=lambda: losses.append("async")) as events:
            async for event in events:
                awaited.append(event)
                if Transcript.fold(awaited).rests:
                    return

    following = asyncio.gather(blocking(service, follow), follow_async())
    try:
        await turn.say("one ")
        await turn.say("two ")
        await shown(awaited, 2)
        await shown(waited, 2)
        service.kill()
        await turn.say("three ")
        await asyncio.to_thread(service.start)
        await turn.say("four")
        await shown(awaited, 4)
        await shown(waited, 4)
    finally:
        await turn.end()  # whatever failed: a thread that follows for ever would keep the whole run from ending
    await asyncio.wait_for(following, PATIENCE)
    assert set(losses) == {"async", "blocking"}
    for found in (awaited, waited):
        assert pieces(found) == [(1, "one "), (2, "two "), (3, "three "), (4, "four")]
        assert Transcript.fold(found).text == "one two three four"
        assert [event.message.role for event in found if event.type == "message"] == ["user", "assistant"]


async def test_a_stream_goes_on_where_another_client_left_it(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    chat = await client.chats.create("count")
    turn = await worker.take()
    await turn.say("one ")
    before = await told(client, chat.id, lambda so_far: so_far.text == "one ")
    await turn.say("two")
    await turn.end()
    found: list[StreamEvent] = []
    async with client.chats.stream(chat.id, cursor=before.cursor) as events:
        async for event in events:
            found.append(event)
            before.tell(event)
            if before.rests:
                break
    assert before.text == "one two"
    assert "user" not in [event.message.role for event in found if event.type == "message"]


async def test_a_send_whose_answer_is_lost_is_done_once(
    service: Service, client: AsyncTurnstone, worker: PlayedWorker
) -> None:
    chat = await client.chats.create("first")
    await worker.answer("one")
    async with (
        losing_the_first_answer(f"POST /api/v2/chats/{chat.id}/messages ", service) as url,
        AsyncTurnstone(url, service.token) as unlucky,
    ):
        sent = await unlucky.chats.send(chat.id, "only once please")
        assert sent.message is not None
        assert not sent.queued
    await worker.answer("two")
    await client.chats.wait(chat.id, timeout=PATIENCE)
    asked = [message.text async for message in client.chats.messages(chat.id) if message.role == "user"]
    assert asked == ["first", "only once please"]


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_the_calls_of_a_clients_tools_are_answered_until_the_turn_is_over(
    service: Service, client: AsyncTurnstone, worker: PlayedWorker, is_blocking: bool
) -> None:
    chat = await client.chats.create("what is the weather?", tools=[WEATHER])
    asked: list[str] = []

    def look(city: str) -> dict[str, str]:
        asked.append(city)
        return {"sky": f"blue over {city}"}

    async def look_async(city: str) -> dict[str, str]:
        return look(city)

    async def play() -> None:
        await (await worker.take()).ask("get_weather", {"city": "Köln"})
        await worker.answer("It is blue.")

    playing = asyncio.create_task(play())
    if is_blocking:
        done = await blocking(service, lambda other: other.chats.run_tools(chat.id, {"get_weather": look}))
    else:
        done = await client.chats.run_tools(chat.id, {"get_weather": look_async}, timeout=PATIENCE)
    await playing
    assert (done.status, asked) == ("waiting", ["Köln"])
    results = [part async for message in client.chats.messages(chat.id) for part in message.content]
    assert [part.result for part in results if part.type == "tool-result"] == [{"sky": "blue over Köln"}]


async def test_a_later_call_runs_also_when_its_id_was_used_before(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    chat = await client.chats.create("and tomorrow?", tools=[WEATHER])
    days: list[str] = []
    running = asyncio.create_task(
        client.chats.run_tools(chat.id, {"get_weather": lambda day: days.append(day)}, timeout=PATIENCE)
    )
    for day in ("today", "tomorrow"):
        await (await worker.take()).ask("get_weather", {"day": day})
    await worker.answer("Blue and blue.")
    assert (await running).status == "waiting"
    assert days == ["today", "tomorrow"]


async def test_a_tool_that_fails_or_is_missing_tells_the_model_why(
    client: AsyncTurnstone, worker: PlayedWorker
) -> None:
    def broken() -> None:
        raise ValueError("the sky is closed")

    for tools, why in (({"get_weather": broken}, "the sky is closed"), ({}, "This client has no tool 'get_weather'.")):
        chat = await client.chats.create("what is the weather?", tools=[WEATHER])
        running = asyncio.create_task(client.chats.run_tools(chat.id, tools, timeout=PATIENCE))
        await (await worker.take()).ask("get_weather", {})
        await worker.answer("I do not know.")
        assert (await running).status == "waiting"
        parts = [part async for message in client.chats.messages(chat.id) for part in message.content]
        [result] = [part for part in parts if part.type == "tool-result"]
        assert (result.is_error, result.result) == (True, why)


async def test_waiting_ends_when_the_chat_is_there_or_the_time_is_over(
    service: Service, client: AsyncTurnstone, worker: PlayedWorker
) -> None:
    chat = await client.chats.create("wait for it")
    with pytest.raises(WaitTimedOut):
        await client.chats.wait(chat.id, timeout=0.3)
    with pytest.raises(WaitTimedOut):
        await blocking(service, lambda other: other.chats.wait(chat.id, until="error", timeout=0.3))
    turn = await worker.take()
    assert (await client.chats.wait(chat.id, until="running", timeout=PATIENCE)).status == "running"
    await turn.fail(message="The model is overloaded.", kind="overloaded", retryable=True)
    failed = await client.chats.wait(chat.id, timeout=PATIENCE)
    assert failed.last_error is not None
    assert (failed.status, failed.last_error.kind, failed.last_error.retryable) == ("error", "overloaded", True)


async def test_messages_that_wait_are_listed_promoted_and_deleted(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    chat = await client.chats.create("first")
    turn = await worker.take()
    sent = [await client.chats.send(chat.id, text) for text in ("second", "third")]
    waiting = await client.chats.queue.list(chat.id)
    assert [each.text for each in waiting] == ["second", "third"]
    assert [each.queued_message for each in sent] == waiting
    await client.chats.queue.delete(chat.id, waiting[0].id)
    await client.chats.queue.promote(chat.id, waiting[1].id)
    await turn.stop()
    await worker.answer("answer")
    await client.chats.wait(chat.id, timeout=PATIENCE)
    assert [each.text for each in await client.chats.prompts(chat.id)] == ["third", "first"]
    assert await client.chats.queue.list(chat.id) == []


async def test_a_full_queue_is_told_at_once(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    chat = await client.chats.create("first")
    turn = await worker.take()
    for number in range(20):
        await client.chats.send(chat.id, f"message {number}")
    with pytest.raises(QueueFull) as full:
        await client.chats.send(chat.id, "one too many")
    assert (full.value.status, full.value.detail) == (429, "Maximum 20 messages can be queued.")
    await client.chats.archive(chat.id)
    await turn.stop()


async def test_an_edit_is_told_as_a_new_history(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    chat = await client.chats.create("what is 2 + 3?")
    await worker.answer("five")
    before = await told(client, chat.id, lambda so_far: so_far.rests)
    edited = await client.chats.edit(chat.id, before.messages[0].id, "what is 3 + 3?")
    await worker.answer("six")
    async with client.chats.stream(chat.id, cursor=before.cursor) as events:
        async for event in events:
            before.tell(event)
            if before.rests and before.text == "six":
                break
    assert [message.text for message in before.messages] == ["what is 3 + 3?", "six"]
    assert before.messages[0] == edited


async def test_messages_come_page_after_page_in_either_direction(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    chat = await client.chats.create("0")
    await worker.answer("answer 0")
    for number in range(1, 3):
        await client.chats.send(chat.id, str(number))
        await worker.answer(f"answer {number}")
    await client.chats.wait(chat.id, timeout=PATIENCE)
    everything = [message async for message in client.chats.messages(chat.id)]
    assert [message.text for message in everything] == ["0", "answer 0", "1", "answer 1", "2", "answer 2"]
    for limit in (1, 2, 4, 5, 6):
        assert [each async for each in client.chats.messages(chat.id, limit=limit)] == everything
        newest_first = [each async for each in client.chats.messages(chat.id, limit=limit, newest_first=True)]
        assert newest_first == everything[::-1]
        floor = everything[2].id
        assert [each async for each in client.chats.messages(chat.id, limit=limit, after_id=floor)] == everything[3:]
        down = [e async for e in client.chats.messages(chat.id, limit=limit, after_id=floor, newest_first=True)]
        assert down == everything[:2:-1]


async def test_chats_are_listed_changed_and_put_away(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    made = [await client.chats.create(f"chat {number}", labels={"of": "listing"}) for number in range(3)]
    for _ in made:
        await worker.answer("done")
    listed = await client.chats.list(labels={"of": "listing"})
    assert {chat.id for chat in listed} == {chat.id for chat in made}
    first_page = await client.chats.list(labels={"of": "listing"}, limit=2)
    second_page = await client.chats.list(labels={"of": "listing"}, limit=2, after_id=first_page[-1].id)
    assert first_page + second_page == listed
    await client.chats.update(made[0].id, title="renamed", labels={"of": "listing", "x": "y"}, pin_order=1)
    everything = [chat async for chat in client.chats.all(labels={"of": "listing"})]
    assert (everything[0].title, everything[0].pin_order, dict(everything[0].labels)) == (
        "renamed",
        1,
        {"of": "listing", "x": "y"},
    )
    await client.chats.archive(made[1].id)
    assert (await client.chats.get(made[1].id)).archived
    with pytest.raises(BadRequest) as twice:
        await client.chats.archive(made[1].id)
    assert twice.value.message == "Chat is already archived."
    await client.chats.unarchive(made[1].id)
    assert not (await client.chats.get(made[1].id)).archived


async def test_what_is_known_about_a_chat_can_be_asked(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    chat = await client.chats.create("stop me")
    turn = await worker.take()
    await turn.say("It begins")
    assert (await client.chats.interrupt(chat.id)).status == "interrupting"
    await turn.stop()
    await client.chats.wait(chat.id, timeout=PATIENCE)
    explained = await client.chats.explain(chat.id)
    assert (explained.chat_id, explained.status, explained.state) == (chat.id, "waiting", "W")
    assert (await client.chats.cost(chat.id)).root_chat_id == chat.id
    assert await client.chats.debug_runs(chat.id) == []
    me = await client.users.me()
    assert (me.username, chat.owner_id) == ("admin", me.id)
    assert chat.organization_id in [each.id for each in await client.organizations.list()]
    assert chat.last_model_config_id in [each.id for each in await client.models.list()]
    with pytest.raises(Conflict):
        await client.chats.tool_results(chat.id, {"c1": "too late"})


async def test_files_go_up_into_messages_and_down_again(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    name = 'Übersicht "2026".md'
    file_id = await client.chats.files.upload(b"# Notes\n", name=name, media_type="text/markdown")
    chat = await client.chats.create(
        ["Read this:", file(file_id), file_reference("main.py", "print()", start_line=1, end_line=1)]
    )
    await worker.answer("read")
    down = await client.chats.files.download(file_id)
    assert (down.name, down.data) == (name, b"# Notes\n")
    assert down.media_type.startswith("text/")
    assert [each.id for each in (await client.chats.get(chat.id)).files] == [file_id]
    [asked] = [message async for message in client.chats.messages(chat.id) if message.role == "user"]
    assert [part.type for part in asked.content] == ["text", "file", "file-reference"]
    assert isinstance(asked.content[2], FileReferencePart)
    assert asked.content[2].content == "print()"


async def test_a_chat_is_forked_exported_imported_and_shared(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    chat = await client.chats.create("first")
    await worker.answer("one")
    await client.chats.wait(chat.id)
    fork = await client.chats.fork(chat.id, title="another way")
    document = await client.chats.export(chat.id, include_files=True)
    copy = await client.chats.import_document(document)
    for each in (fork, copy):
        assert [message.text async for message in client.chats.messages(each.id)] == ["first", "one"]
    assert (fork.title, copy.status) == ("another way", "waiting")
    assert "one" in await client.chats.export_markdown(chat.id)
    everyone = chat.organization_id
    await client.chats.share(chat.id, groups={everyone: True})
    assert [group["id"] for group in (await client.chats.readers(chat.id))["groups"]] == [everyone]
    await client.chats.share(chat.id, groups={everyone: False})
    assert (await client.chats.readers(chat.id))["groups"] == []


async def test_what_happens_to_ones_chats_is_heard(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    async with asyncio.timeout(PATIENCE), client.chats.watch() as events:
        first = asyncio.ensure_future(anext(events))
        while not first.done():  # it is heard once the watcher is there
            await client.chats.create("watched")
            await asyncio.wait([first], timeout=0.2)
            await worker.answer("seen")
        assert (first.result().kind, first.result().chat.title) == ("created", "watched")


async def test_refusals_are_exceptions_that_say_what_the_service_said(service: Service, client: AsyncTurnstone) -> None:
    with pytest.raises(NotFound) as missing:
        await client.chats.get("01a204a5-1320-76f5-8fe1-f9199ca9a0fd")
    assert missing.value.message == "Resource not found or you do not have access to this resource"
    assert missing.value.request_id
    assert str(missing.value).endswith("(404)")
    with pytest.raises(BadRequest) as bad:
        await client.chats.create("x", labels={"not allowed!": "x"})
    assert (bad.value.message, [each.field for each in bad.value.validations]) == ("Invalid labels.", ["labels"])
    with pytest.raises(InvalidId):
        await client.chats.get("..")
    async with AsyncTurnstone(service.url, "wrong") as stranger:
        with pytest.raises(Unauthenticated):
            await stranger.users.me()
        with pytest.raises(Unauthenticated):
            await anext(stranger.chats.stream("01a204a5-1320-76f5-8fe1-f9199ca9a0fd"))
    with pytest.raises(NotFound):
        await anext(client.chats.stream("01a204a5-1320-76f5-8fe1-f9199ca9a0fd"))
    async with AsyncTurnstone("http://127.0.0.1:9", first_patience=0) as nowhere:
        with pytest.raises(ConnectionFailed):
            await nowhere.users.me()
        with pytest.raises(ConnectionFailed):
            await anext(nowhere.chats.stream("01a204a5-1320-76f5-8fe1-f9199ca9a0fd"))


async def test_any_other_route_can_be_asked_as_well(client: AsyncTurnstone) -> None:
    assert "version" in await client.request("get", "/api/v2/buildinfo")


def test_the_environment_says_where_and_who(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNSTONE_URL", "http://127.0.0.1:1234/")
    monkeypatch.setenv("TURNSTONE_TOKEN", "ts_token_x")
    with Turnstone.from_env() as client:
        assert client.url == "http://127.0.0.1:1234"
        assert client.driver.http.headers["Coder-Session-Token"] == "ts_token_x"
    with pytest.raises(ValueError, match="is not a URL"):
        Turnstone("nowhere")


def test_the_package_imports_nothing_of_the_server() -> None:
    code = (
        "import sys, turnstone.client; print(*{'litellm', 'temporalio', 'sqlalchemy', 'sqlmodel', 'fastapi', 'psycopg',"
        " 'pydantic', 'models', 'api', 'typer'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
