"""wire-api.md 8.6, 8.7: the live streams of a workspace, of chats that have none."""

import pytest

from tests.contracts.test_routes import ask
from tests.contracts.wire.world import NOT_FOUND, NOWHERE, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAMS = {"git": "Chat has no workspace to watch.", "desktop": "Chat has no workspace."}


@pytest.mark.parametrize("stream", STREAMS)
async def test_8_6_and_8_7_a_chat_without_a_workspace_has_nothing_to_watch(world: World, stream: str) -> None:
    chat = await world.talk.start()
    path = f"/{chat}/stream/{stream}"
    answer = await world.ask("GET", path)
    assert (answer.status_code, answer.json()) == (400, {"message": STREAMS[stream]})
    hidden = await world.ask("GET", path, by=world.other)
    assert (hidden.status_code, hidden.json()["message"]) == (404, NOT_FOUND)
    assert (await world.ask("GET", f"/x/stream/{stream}")).json()["message"] == 'Invalid UUID "chat".'
    for person, where, status in (
        (world.member, str(chat), 400),
        (world.other, str(chat), 404),
        (world.member, NOWHERE, 404),
    ):
        address = f"/api/experimental/chats/{where}/stream/{stream}"
        assert await ask(world.api, person.token, "WEBSOCKET", address) == status
