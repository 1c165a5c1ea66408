"""wire-api.md 3.1, 3.3, 3.5, 8.6, 8.7: where chats work, and the live streams of their workspaces."""

from typing import Any
from uuid import UUID

import pytest

from models.store import bindings
from models.store.database import fetch
from tests.contracts.test_routes import ask
from tests.contracts.wire.world import NO_ID, NOT_FOUND, NOWHERE, World, forbidden, refused
from tests.workplace import Workplace, furnish

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


async def furnished(world: World, name: str) -> Workplace:
    return await furnish(world.api.resources.database, world.member.id, UUID(world.organization), name=name)


async def test_3_1_and_3_5_a_chat_names_where_it_works(world: World) -> None:
    place = await furnished(world, "named")
    made = await world.ask("POST", "", world.new(workspace_id=str(place.workspace_id)))
    chat = made.json()
    assert (made.status_code, chat["workspace_id"]) == (201, str(place.workspace_id))
    assert not {"build_id", "agent_id"} & chat.keys()
    async with world.api.resources.database.begin() as session:
        await bindings.bind(session, UUID(chat["id"]), build_id=place.build_id, agent_id=place.agent_id)
    bound = (await world.ask("GET", f"/{chat['id']}")).json()
    assert (bound["build_id"], bound["agent_id"]) == (str(place.build_id), str(place.agent_id))
    other = await furnished(world, "rebound")
    assert (await world.ask("PATCH", f"/{chat['id']}", {"workspace_id": str(other.workspace_id)})).status_code == 204
    moved = (await world.ask("GET", f"/{chat['id']}")).json()
    assert moved["workspace_id"] == str(other.workspace_id)
    assert not {"build_id", "agent_id"} & moved.keys()
    assert moved["updated_at"] == chat["updated_at"]
    assert (await world.ask("PATCH", f"/{chat['id']}", {"workspace_id": NO_ID})).status_code == 204
    assert "workspace_id" not in (await world.ask("GET", f"/{chat['id']}")).json()


async def test_3_1_and_3_5_a_workspace_of_somebody_else_is_not_there(world: World) -> None:
    place = await furnished(world, "hidden")
    for person in (world.other, world.boss):
        made = await world.ask("POST", "", world.new(workspace_id=str(place.workspace_id)), by=person)
        refused(made, 400, "Workspace not found or you do not have access to this resource")


async def test_3_3_the_chat_of_a_workspace_that_was_used_last(world: World) -> None:
    place = await furnished(world, "found")
    first = await world.talk.start(workspace_id=str(place.workspace_id))
    query = f"/by-workspace?workspace_ids={place.workspace_id},{NOWHERE}"
    assert (await world.ask("GET", query)).json() == {str(place.workspace_id): str(first)}
    assert (await world.ask("GET", query, by=world.other)).json() == {}
    second = await world.talk.start(workspace_id=str(place.workspace_id))
    assert (await world.ask("GET", query)).json() == {str(place.workspace_id): str(second)}
    await world.talk.answer(second)
    await world.talk.archive(second)
    assert (await world.ask("GET", query)).json() == {str(place.workspace_id): str(first)}


async def test_8_6_each_reason_not_to_watch(world: World) -> None:
    place = await furnished(world, "unwatched")
    chat = await world.talk.start(workspace_id=str(place.workspace_id))
    path = f"/{chat}/stream/git"

    async def write(statement: Any) -> None:
        async with world.api.resources.database.begin() as session:
            await fetch(session, statement, {"id": place.workspace_id})

    state = 'Agent state is "{}", it must be in the "connected" state.'
    refused(await world.ask("GET", path), 400, state.format("connecting"))
    forbidden(await world.ask("GET", path, by=world.boss))
    await write(
        "UPDATE workspace_agents SET created_at = now() - interval '1 hour' WHERE workspace_id = %(id)s",
    )
    refused(await world.ask("GET", path), 400, state.format("timeout"))
    await write("UPDATE workspace_agents SET last_seen_at = now() WHERE workspace_id = %(id)s")
    assert (await world.ask("GET", path)).status_code == 426
    await write("UPDATE workspace_agents SET disconnected_at = now() WHERE workspace_id = %(id)s")
    refused(await world.ask("GET", path), 400, state.format("disconnected"))
    await write("DELETE FROM workspace_agents WHERE workspace_id = %(id)s")
    refused(await world.ask("GET", path), 400, "Chat workspace has no agents.")
    await write("UPDATE workspaces SET deleted = true WHERE id = %(id)s")
    refused(await world.ask("GET", path), 400, "Chat workspace not found.")


async def test_8_7_each_reason_not_to_see_the_desktop(world: World) -> None:
    place = await furnished(world, "unseen")
    chat = await world.talk.start(workspace_id=str(place.workspace_id))
    path = f"/{chat}/stream/desktop"

    async def write(statement: Any) -> None:
        async with world.api.resources.database.begin() as session:
            await fetch(session, statement, {"id": place.workspace_id})

    refused(await world.ask("GET", path), 400, 'Agent state is "connecting", must be connected.')
    forbidden(await world.ask("GET", path, by=world.boss))
    await write("UPDATE workspace_agents SET last_seen_at = now() WHERE workspace_id = %(id)s")
    off = ("Failed to connect to agent desktop.", "The virtual desktop is switched off here.")
    refused(await world.ask("GET", path), 400, *off)
    await write("INSERT INTO site_configs (key, value) VALUES ('agents_desktop_enabled', 'true')")
    assert (await world.ask("GET", path)).status_code == 426
    await write("DELETE FROM site_configs WHERE key = 'agents_desktop_enabled'")
    await write("DELETE FROM workspace_agents WHERE workspace_id = %(id)s")
    refused(await world.ask("GET", path), 400, "Chat workspace has no agents.")
    await write("UPDATE workspaces SET deleted = true WHERE id = %(id)s")
    refused(await world.ask("GET", path), 400, "Chat workspace not found.")
