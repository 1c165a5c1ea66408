"""wire-api.md 2.7 and 2.8: each event of `/stream` and `/watch`, golden; told by a real server."""

import asyncio
from typing import Any

import pytest

from models.store import titles
from tests.api.live_stage import Stage
from tests.contracts.wire import golden
from tests.contracts.wire.live import Listener, a_drive, asking, kind, listening, watching

pytestmark = pytest.mark.asyncio(loop_scope="module")


def only(events: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    """The last event of this type or kind."""
    found: dict[str, Any] = [event for event in events if wanted in (event.get("type"), event.get("kind"))][-1]
    return found


async def test_2_7_the_events_of_a_stream(stage: Stage) -> None:
    drive = await a_drive(stage)
    async with listening(stage, drive) as listener:
        first = await listener.of("message", "status")
        golden.same("event_message", only(first, "message"))
        golden.same("event_status", only(first, "status"))
        await drive.open()
        await listener.until(kind("status"))
        await drive.stream("so far")
        golden.same("event_message_part", only(await listener.of("message_part"), "message_part"))
        await drive.say("queued")
        golden.same("event_queue_update", only(await listener.of("queue_update"), "queue_update"))
        await drive.retry()
        golden.same("event_retry", only(await listener.of("retry"), "retry"))
        await drive.open()
        golden.same("event_preview_reset", only(await listener.of("preview_reset"), "preview_reset"))
        await drive.answer("done")
        golden.same("event_queue_update_empty", only(await listener.of("queue_update", "message"), "queue_update"))
        await drive.open()
        await drive.require_action()
        golden.same("event_action_required", only(await listener.of("action_required"), "action_required"))
        await drive.edit("again")
        golden.same("event_history_reset", only(await listener.of("history_reset"), "history_reset"))
        await drive.open()
        await drive.fail()
        golden.same("event_error", only(await listener.of("error"), "error"))


async def test_2_7_a_cursor_that_claims_too_much_is_resynced(stage: Stage) -> None:
    drive = await a_drive(stage)
    async with listening(stage, drive, "?cursor=9999.9999.1.1") as listener:
        told = await listener.of("resync", "message", "status")
    golden.same("event_resync", only(told, "resync"))


async def test_2_8_the_events_of_a_sidebar(stage: Stage) -> None:
    async with watching(stage) as sidebar, asking(stage) as client:

        async def same(wanted: str) -> dict[str, Any]:
            event = only(await sidebar.of(wanted), wanted)
            golden.same(f"watch_{wanted}", event)
            return event

        drive = await a_drive(stage)
        await same("created")
        await drive.open()
        await same("status_change")
        await drive.require_action()
        await same("action_required")
        await client.patch(f"/{drive.chat_id}", json={"title": "renamed"})
        await same("title_change")
        await client.post(f"/{drive.chat_id}/interrupt")
        await _idle(sidebar)
        async with drive.database.begin() as session:
            chat = await titles.talk(session, drive.chat_id)
            assert chat is not None
            label, version = chat.chat["last_turn_summary"], chat.chat["snapshot_version"]
        if label is not None:
            async with drive.database.begin() as session:
                assert await titles.save_label(
                    session, drive.chat_id, "Looked.", instead_of=label, snapshot_version=version
                )
        await same("summary_change")
        await client.patch(f"/{drive.chat_id}", json={"archived": True})
        await same("deleted")


async def _idle(sidebar: Listener) -> None:
    async with asyncio.timeout(60):
        await sidebar.until(lambda event: event["chat"]["status"] == "waiting")
