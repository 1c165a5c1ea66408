"""Laws of a deployment in which nothing is shared: what was shared is hidden at once, and nobody shares anything."""

from uuid import UUID

import pytest

from models.settings import Settings
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk

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
