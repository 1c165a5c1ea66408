"""Laws of a deployment in which nothing is shared: what was shared is hidden at once, and nobody shares anything."""

import asyncio
from uuid import UUID

import orjson
import pytest

from models.settings import Settings
from models.store import secrets
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk
from tests.api.test_chats import child_of

DISABLED = {"message": "Chat sharing is disabled for this deployment."}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"disable_chat_sharing": True})


@pytest.fixture
async def shared(api: Api, member: Person, outsider: Person) -> UUID:
    """A chat that was shared with a person and with everybody before sharing was switched off."""
    chat = await Talk(api, member).start()
    async with api.resources.database.begin() as session:
        await fetch(
            session,
            """UPDATE chats SET user_acl = jsonb_build_object(%(user)s::text, '{"permissions": ["read"]}'::jsonb),
                   group_acl = jsonb_build_object(organization_id::text, '{"permissions": ["read"]}'::jsonb)
               WHERE id = %(id)s""",
            {"user": str(outsider.id), "id": chat},
        )
    return chat


async def test_what_was_shared_is_hidden_from_its_readers(shared: UUID, outsider: Person, member: Person) -> None:
    for path in ("", "/messages", "/acl"):
        assert (await outsider.client.get(f"{CHATS}/{shared}{path}")).status_code == 404, path
    events = {"Accept": "text/event-stream"}
    assert (await outsider.client.get(f"{CHATS}/{shared}/stream", headers=events)).status_code == 404
    assert (await member.client.get(f"{CHATS}/{shared}")).status_code == 200


async def test_nobody_reads_or_changes_who_shares_a_chat(
    shared: UUID, member: Person, owner: Person, outsider: Person
) -> None:
    for somebody in (member, owner):
        read = await somebody.client.get(f"{CHATS}/{shared}/acl")
        assert (read.status_code, read.json()) == (403, DISABLED)
        changed = await somebody.client.patch(f"{CHATS}/{shared}/acl", json={"user_roles": {str(outsider.id): ""}})
        assert (changed.status_code, changed.json()) == (403, DISABLED)


async def test_a_chat_that_nobody_else_can_read_does_not_say_that_it_is_shared(
    api: Api, shared: UUID, member: Person
) -> None:
    talk = Talk(api, member)
    child = await child_of(api, shared)
    found = await talk.get(shared)
    [listed] = (await member.client.get(CHATS)).json()
    assert [found["shared"], listed["shared"]] == [False, False]
    assert [(each["id"], each["shared"]) for each in listed["children"]] == [(str(child), False)]
    principal = await api.resources.principals.find(secrets.digest(member.token))
    assert principal is not None
    await api.resources.live.listening()
    with api.resources.live.sidebar(principal) as watcher:
        told = asyncio.Event()
        watcher.on_ready = told.set
        interrupted = await member.client.post(f"{CHATS}/{shared}/interrupt")
        await asyncio.wait_for(told.wait(), 60)
        events = [orjson.loads(each.data) for each in watcher.take()]
    assert interrupted.json()["shared"] is False
    assert {event["chat"]["shared"] for event in events} == {False}


async def test_nobody_looks_for_people_to_share_with(api: Api, member: Person, owner: Person) -> None:
    for path in ("members", "groups"):
        path = f"/api/v2/organizations/{api.organization_id}/{path}"
        assert (await member.client.get(path)).status_code == 403
        assert (await owner.client.get(path)).status_code == 200
