"""wire-api.md 4: `/stream` and `/watch`, on real servers; what one process does is heard at the other."""

import asyncio
from typing import Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from models.store import titles
from models.store.database import fetch
from models.store.moves import ClientResult
from tests.api.live_drive import CALL
from tests.api.live_stage import Stage, last_read, people_beside
from tests.contracts.wire import reference as ref
from tests.contracts.wire.live import a_drive, asking, kind, listening, status, watching
from tests.contracts.wire.reading import read
from tests.contracts.wire.world import NOWHERE

pytestmark = pytest.mark.asyncio(loop_scope="module")


def types(events: list[dict[str, Any]]) -> set[str]:
    return {event["type"] for event in events}


def text_of(events: list[dict[str, Any]]) -> str:
    parts = [event["message_part"]["part"] for event in events if event["type"] == "message_part"]
    return "".join(part.get("text", "") for part in parts)


async def test_1_5_a_message_of_the_stream_is_a_bare_array_and_is_not_compressed(stage: Stage) -> None:
    drive = await a_drive(stage)
    async with stage.socket(stage.one, f"/{drive.chat_id}/stream") as socket:
        assert socket.response is not None
        assert "sec-websocket-extensions" not in socket.response.headers
        async with asyncio.timeout(60):
            message = await socket.recv()
    assert isinstance(message, str)
    assert message.startswith("[{")
    assert message.endswith("]\n")
    for event in orjson.loads(message):
        read(ref.StreamEvent, event)


@pytest.mark.parametrize("path", ["/watch", ""])
async def test_1_5_a_client_that_sends_is_closed_for_a_policy_violation(stage: Stage, path: str) -> None:
    async with stage.socket(stage.one, path) as socket:
        await socket.send("{}")
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(60):
                while True:
                    await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize(
    ("path", "given", "refusal", "message"),
    [
        (f"/{NOWHERE}/stream", {}, 404, "Resource not found or you do not have access to this resource"),
        ("/nonsense/stream", {}, 400, 'Invalid UUID "chat".'),
        ("?after_id=x", {}, 400, "Invalid after_id parameter."),
        ("?after_id=-1", {}, 400, "Invalid after_id parameter."),
        ("", {"token": ""}, 401, "You are signed out or your session has expired. Please sign in again to continue."),
        ("", {"Origin": "https://elsewhere.example"}, 403, "Cross-origin WebSocket refused."),
    ],
)
async def test_4_1_refusals_come_before_the_upgrade(
    stage: Stage, path: str, given: dict[str, str], refusal: int, message: str
) -> None:
    address = path if path.startswith("/") else f"/{stage.drive.chat_id}/stream{path}"
    with pytest.raises(InvalidStatus) as refused:
        async with stage.socket(stage.one, address, **given):
            pass
    answer = refused.value.response
    body = orjson.loads(answer.body)
    read(ref.Error, body)
    assert (answer.status_code, body["message"]) == (refusal, message)


async def test_4_1_the_snapshot_is_what_is_stored_the_status_and_a_queue_if_there_is_one(stage: Stage) -> None:
    drive = await a_drive(stage, "one")
    async with listening(stage, drive) as listener:
        first = await listener.until(kind("status"))
    assert types(first) == {"message", "status"}, "an empty queue is not told"
    await drive.open()
    await drive.answer("two")
    await drive.say("three")
    await drive.say("queued")
    async with listening(stage, drive) as listener:
        told = await listener.of("status", "queue_update")
    messages = [event["message"] for event in told if event["type"] == "message"]
    assert [message["content"][0]["text"] for message in messages] == ["one", "two", "three"]
    assert [message["id"] for message in messages] == sorted(message["id"] for message in messages)
    [queue] = [event["queued_messages"] for event in told if event["type"] == "queue_update"]
    assert [each["content"][0]["text"] for each in queue] == ["queued"]
    async with listening(stage, drive, f"?after_id={messages[1]['id']}") as listener:
        later = await listener.of("status")
    assert [event["message"]["id"] for event in later if event["type"] == "message"] == [messages[2]["id"]]


async def test_4_1_who_arrives_during_a_step_gets_what_it_said_so_far(stage: Stage) -> None:
    drive = await a_drive(stage)
    await drive.open()
    await drive.stream("so ", "far ")
    async with listening(stage, drive) as listener:
        told = await listener.of("status", "message_part", "message_part")
        assert text_of(told) == "so far "
        await drive.stream("so good")
        assert text_of(await listener.of("message_part")) == "so good"


async def test_4_1_parts_are_deltas_and_the_message_replaces_them(stage: Stage) -> None:
    drive = await a_drive(stage)
    async with listening(stage, drive) as listener:
        await listener.of("status")
        await drive.open()
        await drive.stream(
            {"type": "reasoning", "text": "hm"},
            "a",
            "b",
            {"type": "tool-call", "tool_call_id": "c1", "tool_name": "look", "args_delta": '{"a"'},
            {"type": "tool-call", "tool_call_id": "c1", "tool_name": "look", "args_delta": ":1}"},
            {"type": "tool-call", "tool_call_id": "c1", "tool_name": "look", "args": {"a": 1}},
        )
        told = await listener.of(*["message_part"] * 6)
        parts = [event["message_part"]["part"] for event in told if event["type"] == "message_part"]
        assert text_of(told) == "hmab"
        assert "".join(part.get("args_delta", "") for part in parts) == '{"a":1}'
        assert parts[-1]["args"] == {"a": 1}
        assert {event["message_part"]["role"] for event in told if event["type"] == "message_part"} == {"assistant"}
        await drive.answer("ab")
        ended = await listener.until(status("waiting"))
        [stored] = [event["message"] for event in ended if event["type"] == "message"]
        assert (stored["role"], stored["content"]) == ("assistant", [{"type": "text", "text": "ab"}])
        await drive.say("still there?")
        assert "message" in types(await listener.of("message")), "it is not closed when a turn ends"


async def test_4_1_a_back_off_is_told_and_a_newcomer_learns_of_it(stage: Stage) -> None:
    drive = await a_drive(stage)
    await drive.open()
    async with listening(stage, drive) as listener:
        await listener.of("status")
        await drive.retry()
        [told] = [event["retry"] for event in await listener.of("retry") if event["type"] == "retry"]
    assert (told["attempt"], told["delay_ms"], told["kind"]) == (1, 1000, "overloaded")
    async with listening(stage, drive) as newcomer:
        assert "retry" in types(await newcomer.of("status", "retry"))


async def test_4_1_an_error_is_terminal_and_the_chat_holds_the_same(stage: Stage) -> None:
    drive = await a_drive(stage)
    async with listening(stage, drive) as listener, asking(stage) as client:
        await drive.open()
        await listener.until(status("running"))
        await drive.fail()
        told = await listener.of("status", "error")
        [error] = [event["error"] for event in told if event["type"] == "error"]
        shown = (await client.get(f"/{drive.chat_id}")).json()
    assert (shown["status"], shown["last_error"]) == ("error", error)


async def test_4_1_a_queue_that_ran_empty_is_told_without_its_key(stage: Stage) -> None:
    drive = await a_drive(stage)
    await drive.open()
    await drive.say("next")
    async with listening(stage, drive) as listener:
        await listener.of("status", "queue_update")
        await drive.answer("done")
        told = await listener.of("queue_update", "message", "message")
    [update] = [event for event in told if event["type"] == "queue_update"]
    assert "queued_messages" not in update


async def test_4_1_a_call_for_action_names_the_calls_with_arguments_as_text(stage: Stage) -> None:
    drive = await a_drive(stage)
    async with listening(stage, drive) as listener:
        await listener.of("status")
        await drive.open()
        await drive.require_action()
        told = await listener.until(kind("action_required"))
        assert {"status", "message"} <= types(told)
        [calls] = [event["action_required"]["tool_calls"] for event in told if event["type"] == "action_required"]
        assert calls == [{"tool_call_id": "c1", "tool_name": "look", "args": orjson.dumps(CALL["args"]).decode()}]
        await drive.submit(ClientResult("c1", 42, False))
        assert "message" in types(await listener.until(status("pending")))


async def test_4_1_after_an_edit_all_that_is_left_is_sent_again(stage: Stage) -> None:
    drive = await a_drive(stage, "one")
    await drive.open()
    await drive.answer("two")
    await drive.say("three")
    async with listening(stage, drive) as listener:
        await listener.of("status", *["message"] * 3)
        await drive.edit("three again")
        told = await listener.of(*["message"] * 3)
    texts = [event["message"]["content"][0]["text"] for event in told if event["type"] == "message"]
    assert texts == ["one", "two", "three again"]


async def test_4_1_readers_may_listen_and_only_the_owner_has_read(stage: Stage) -> None:
    _, friend, token_of = await people_beside(stage)
    await stage.drive.open()
    await stage.drive.answer("an answer")
    async with stage.drive.database.begin() as session:
        await fetch(
            session,
            'UPDATE chats SET user_acl = jsonb_build_object(%(user)s::text, \'{"permissions": ["read"]}\'::jsonb) '
            "WHERE id = %(id)s",
            {"user": str(friend), "id": stage.drive.chat_id},
        )
    async with listening(stage, stage.drive, token=token_of[friend]) as listener:
        told = await listener.of("status", "message", "message")
    newest = max(event["message"]["id"] for event in told if event["type"] == "message")
    assert await last_read(stage) is None
    async with listening(stage, stage.drive) as listener:
        await listener.of("status")
    async with asyncio.timeout(60):
        while await last_read(stage) != newest:
            await asyncio.sleep(0.02)


async def test_4_3_each_action_is_told_to_the_sidebar(stage: Stage) -> None:
    async with watching(stage) as sidebar, asking(stage) as client:

        async def told(*kinds: str) -> list[dict[str, Any]]:
            events = await sidebar.of(*kinds)
            assert sorted(event["kind"] for event in events) == sorted(kinds)
            return events

        drive = await a_drive(stage)
        [created] = await told("created")
        assert (created["chat"]["id"], created["chat"]["status"]) == (str(drive.chat_id), "pending")
        await drive.open()
        [started] = await told("status_change")
        assert started["chat"]["status"] == "running"
        await drive.answer("done")
        ended = await told("status_change", "summary_change")
        assert ended[-1]["chat"]["last_turn_summary"]
        assert (await client.patch(f"/{drive.chat_id}", json={"title": "renamed"})).status_code == 204
        [renamed] = await told("title_change")
        assert renamed["chat"]["title"] == "renamed"
        async with drive.database.begin() as session:
            held = await titles.hold(session, drive.chat_id)
        async with drive.database.begin() as session:
            assert held is not None
            assert await titles.save_held(session, drive.chat_id, "regenerated", held)
        await told("title_change")
        assert (await client.patch(f"/{drive.chat_id}", json={"archived": True})).status_code == 204
        [deleted] = await told("deleted")
        assert deleted["chat"]["archived"] is True
        assert (await client.patch(f"/{drive.chat_id}", json={"archived": False})).status_code == 204
        await told("created")
        await drive.say("look")
        await told("status_change")
        await drive.open()
        await drive.require_action()
        action = (await told("status_change", "status_change", "action_required"))[-1]
        assert action["tool_calls"][0]["tool_name"] == "look"
        assert (await client.patch(f"/{drive.chat_id}", json={"archived": True})).status_code == 204
        await told("status_change", "summary_change", "deleted")
        for event in sidebar.told:
            assert (event["chat"]["children"], event["chat"]["has_unread"]) == ([], False)
            assert "files" not in event["chat"]


async def test_4_3_a_failed_turn_is_a_change_of_status(stage: Stage) -> None:
    async with watching(stage) as sidebar:
        drive = await a_drive(stage)
        await drive.open()
        await drive.fail()
        told = await sidebar.of("created", "status_change", "status_change")
    assert told[-1]["chat"]["last_error"]["message"] == "It broke."
