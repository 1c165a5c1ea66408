"""Laws of the sidebar's stream, and of who may follow a chat and has read it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from models.events import WatchEvent
from models.settings import Settings
from models.store.database import Database, fetch
from tests.api.live_drive import Drive, Screen
from tests.api.live_stage import Stage, heard, last_read, people_beside, show_until, staged


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[Stage]:
    async with staged(database, settings) as made:
        yield made


async def test_watch_tells_the_owner_what_happens_to_their_chats_in_order(stage: Stage) -> None:
    _, friend, token_of = await people_beside(stage)
    async with (
        stage.socket(stage.one, "/watch") as socket,
        stage.sse(stage.two, "/watch") as records,
        stage.socket(stage.one, "/watch", token=token_of[friend]) as other,
    ):
        drive = Drive(
            stage.drive.database,
            stage.drive.publisher,
            stage.drive.owner_id,
            stage.drive.organization_id,
            stage.drive.model_config_id,
        )
        await drive.create()
        told = [await _one(socket)]
        await drive.open()
        told.append(await _one(socket))
        await drive.require_action()
        told += [await _one(socket), await _one(socket)]
        assert [event["kind"] for event in told] == ["created", "status_change", "status_change", "action_required"]
        assert [(await asyncio.wait_for(records.take(), 60))["kind"] for _ in told] == [event["kind"] for event in told]
        for event in told:
            WatchEvent.model_validate(event)
            assert event["chat"]["id"] == str(drive.chat_id)
            assert event["chat"]["children"] == []
        assert told[3]["chat"]["status"] == "requires_action"
        assert told[3]["tool_calls"] == [{"tool_call_id": "c1", "tool_name": "look", "args": '{"a":"é\\u0000"}'}]
        theirs = Drive(drive.database, drive.publisher, friend, stage.organization_id, drive.model_config_id)
        await theirs.create()
        assert (await _one(other))["chat"]["owner_id"] == str(friend)


async def test_sidebars_are_ended_when_events_may_have_been_lost(stage: Stage) -> None:
    async with stage.socket(stage.one, "/watch") as socket:
        async with stage.drive.database.read() as session:
            await fetch(
                session,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN%'",
            )
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(60):
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


async def test_somebody_elses_chat_cannot_be_followed_unless_it_is_shared(stage: Stage) -> None:
    stranger, friend, token_of = await people_beside(stage)
    for process in (stage.one, stage.two):
        with pytest.raises(InvalidStatus) as refused:
            async with stage.socket(process, token=token_of[stranger]):
                pass
        assert refused.value.response.status_code == 404
    async with stage.drive.database.begin() as session:
        await fetch(
            session,
            'UPDATE chats SET user_acl = jsonb_build_object(%(user)s::text, \'{"permissions": ["read"]}\'::jsonb)',
            {"user": str(friend)},
        )
    async with stage.socket(stage.one, token=token_of[friend]) as socket:
        await heard(socket)
    await asyncio.sleep(0)
    assert await last_read(stage) is None


async def test_coming_and_going_the_owner_has_read_the_chat_and_no_version_moves(stage: Stage) -> None:
    await stage.drive.open()
    await stage.drive.answer("one")
    async with stage.socket(stage.one) as socket:
        screen = Screen().show(await heard(socket))
        before = screen.cursor
        await _until_read(stage, max(screen.messages))
        await stage.drive.say("two")
        await stage.drive.open()
        await stage.drive.answer("two")
        await show_until(screen, lambda: heard(socket), lambda each: len(each.messages) == 4)
    await _until_read(stage, max(screen.messages))
    async with stage.socket(stage.two, f"/{stage.drive.chat_id}/stream?cursor={before}") as socket:
        again = Screen().show(await heard(socket))
        await show_until(again, lambda: heard(socket), lambda each: len(each.messages) == 2)
        assert max(again.messages) == max(screen.messages)


async def _one(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(60):
        event: dict[str, Any] = orjson.loads(await socket.recv())
    return event


async def _until_read(stage: Stage, message_id: int) -> None:
    async with asyncio.timeout(60):
        while await last_read(stage) != message_id:
            await asyncio.sleep(0.02)
