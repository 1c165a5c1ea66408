"""What watchers hear of a chat that is renamed, put away and brought back: real servers, real sockets."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection

from models.settings import Settings
from models.store.database import Database
from tests.api.live_drive import Screen
from tests.api.live_stage import PREFIX, Stage, heard, show_until, staged


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[Stage]:
    async with staged(database, settings) as made:
        yield made


async def patch(stage: Stage, **body: Any) -> None:
    async with httpx.AsyncClient(headers={"Coder-Session-Token": stage.token}, timeout=60) as client:
        response = await client.patch(f"http://{stage.one.address}{PREFIX}/{stage.drive.chat_id}", json=body)
    assert response.status_code == 204, response.text


async def told(sidebar: ClientConnection) -> tuple[str, dict[str, Any]]:
    event = orjson.loads(await sidebar.recv())
    return event["kind"], event["chat"]


async def test_the_sidebar_hears_of_a_new_name_of_archiving_and_of_the_return(stage: Stage) -> None:
    async with stage.socket(stage.two, "/watch") as sidebar:
        await patch(stage, title="On mutexes", labels={"a": "b"})
        kind, chat = await told(sidebar)
        assert (kind, chat["title"], chat["labels"]) == ("title_change", "On mutexes", {"a": "b"})
        await patch(stage, title="On mutexes", pin_order=1, plan_mode="plan")  # nothing to tell
        await patch(stage, archived=True)
        for expected in ("status_change", "deleted"):
            kind, chat = await told(sidebar)
            assert (kind, chat["archived"], chat["status"]) == (expected, True, "interrupting")
        await patch(stage, archived=False)
        kind, chat = await told(sidebar)
        assert (kind, chat["archived"], chat["status"]) == ("created", False, "interrupting")


async def test_who_follows_a_chat_sees_it_stop_and_stays_when_it_is_archived(stage: Stage) -> None:
    await stage.drive.open()
    async with stage.socket(stage.two) as socket:
        screen = Screen().show(await heard(socket))
        await stage.drive.stream("half an ans")
        await patch(stage, archived=True)
        await show_until(screen, lambda: heard(socket), lambda each: each.status == "interrupting")
        await patch(stage, title="while it stops")
        await patch(stage, archived=False)
    async with stage.socket(stage.one) as socket:
        assert (Screen().show(await heard(socket))).status == "interrupting"
