"""Where a chat works: bound when it is created or changed, by whoever may work there, and told to watchers."""

from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest

from models.store import bindings, organizations
from models.store.database import fetch
from models.store.notices import CHATS as TOLD
from models.store.notices import ChatNotice
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.workplace import Workplace, furnish, rebuild

NO_ID = str(UUID(int=0))
NOT_THERE = {"message": "Workspace not found or you do not have access to this resource"}


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


@pytest.fixture
async def place(api: Api, member: Person) -> Workplace:
    return await furnish(api.resources.database, member.id, api.organization_id)


async def create(talk: Talk, workspace_id: UUID, **more: Any) -> Any:
    body = {"organization_id": str(talk.api.organization_id), "content": said("hello"), **more}
    return await talk.client.post(CHATS, json={**body, "workspace_id": str(workspace_id)})


async def bind(talk: Talk, chat: UUID, workspace_id: object) -> None:
    response = await talk.client.patch(f"{CHATS}/{chat}", json={"workspace_id": str(workspace_id)})
    assert (response.status_code, response.content) == (204, b""), response.text


async def stored(talk: Talk, chat: UUID) -> dict[str, Any]:
    async with talk.api.resources.database.read() as session:
        [row] = await fetch(session, "SELECT * FROM chats WHERE id = %(id)s", {"id": chat})
    return row


async def write(api: Api, statement: Any, **params: Any) -> None:
    async with api.resources.database.begin() as session:
        await fetch(session, statement, params)


async def test_a_chat_is_created_where_it_works_and_shows_it_everywhere(talk: Talk, place: Workplace) -> None:
    made = await create(talk, place.workspace_id)
    assert made.status_code == 201, made.text
    chat = UUID(made.json()["id"])
    shown = (made.json(), await talk.get(chat), (await talk.client.get(CHATS)).json()[0])
    for each in shown:
        assert each["workspace_id"] == str(place.workspace_id)
        assert not {"build_id", "agent_id"} & each.keys()
    async with talk.api.resources.database.begin() as session:
        await bindings.bind(session, chat, build_id=place.build_id, agent_id=place.agent_id)
    bound = await talk.get(chat)
    assert (bound["build_id"], bound["agent_id"]) == (str(place.build_id), str(place.agent_id))


async def test_a_chat_is_bound_rebound_and_unbound_without_a_new_version(talk: Talk, place: Workplace) -> None:
    chat = await talk.start()
    before = await stored(talk, chat)
    await bind(talk, chat, place.workspace_id)
    assert await stored(talk, chat) == before | {"workspace_id": place.workspace_id}
    async with talk.api.resources.database.begin() as session:
        await bindings.bind(session, chat, build_id=place.build_id, agent_id=place.agent_id)
    other = await furnish(talk.api.resources.database, talk.person.id, talk.api.organization_id, name="other")
    await bind(talk, chat, other.workspace_id)
    assert await stored(talk, chat) == before | {"workspace_id": other.workspace_id}
    await bind(talk, chat, NO_ID)
    assert await stored(talk, chat) == before


async def test_sub_agents_work_where_their_root_does(talk: Talk, place: Workplace) -> None:
    root, child, other = [await talk.start() for _ in range(3)]
    adopt: LiteralString = "UPDATE chats SET parent_chat_id = %(root)s, root_chat_id = %(root)s WHERE id = %(id)s"
    await write(talk.api, adopt, root=root, id=child)
    for workspace_id in (place.workspace_id, None):
        await bind(talk, root, workspace_id or NO_ID)
        places = [(await stored(talk, each))["workspace_id"] for each in (root, child, other)]
        assert places == [workspace_id, workspace_id, None]
    await bind(talk, child, place.workspace_id)
    assert (await stored(talk, root))["workspace_id"] is None, "what a sub-agent's chat is bound to is its own"


async def test_the_zero_uuid_creates_a_chat_without_a_workspace(talk: Talk) -> None:
    made = await create(talk, UUID(int=0))
    assert (made.status_code, "workspace_id" in made.json()) == (201, False)


async def test_only_who_may_work_in_a_workspace_binds_a_chat_to_it(api: Api, owner: Person, member: Person) -> None:
    database = api.resources.database
    place = await furnish(database, member.id, api.organization_id)
    scoped = await api.sign_in(member.id, "member", ("chat:*",))
    boss = await api.person("boss", org_roles=("organization-admin",))
    other = await api.person("other", org_roles=("agents-access",))
    for person, may in ((member, True), (owner, True), (boss, False), (other, False), (scoped, False)):
        talk = Talk(api, person)
        made = await create(talk, place.workspace_id)
        assert made.status_code == (201 if may else 400), person.username
        if not may:
            assert made.json() == NOT_THERE
        chat = await talk.start()
        changed = await talk.client.patch(f"{CHATS}/{chat}", json={"workspace_id": str(place.workspace_id)})
        assert changed.status_code == (204 if may else 400), person.username
        if not may:
            assert changed.json() == NOT_THERE
            assert "workspace_id" not in await talk.get(chat)


async def test_what_is_deleted_or_nobodys_or_was_never_there_is_not_found(talk: Talk, place: Workplace) -> None:
    chat = await talk.start()
    spare = await furnish(talk.api.resources.database, talk.person.id, talk.api.organization_id, name="spare")
    await write(talk.api, "UPDATE workspaces SET owner_id = NULL WHERE id = %(id)s", id=spare.workspace_id)
    await write(talk.api, "UPDATE workspaces SET deleted = true WHERE id = %(id)s", id=place.workspace_id)
    for workspace in (place.workspace_id, spare.workspace_id, uuid4()):
        assert (await create(talk, workspace)).json() == NOT_THERE
        response = await talk.client.patch(f"{CHATS}/{chat}", json={"workspace_id": str(workspace)})
        assert (response.status_code, response.json()) == (400, NOT_THERE)


async def test_a_workspace_of_another_organization_is_named_so_in_both_places(api: Api, owner: Person) -> None:
    async with api.resources.database.begin() as session:
        elsewhere = await organizations.create(session, name="elsewhere")
        await organizations.add(session, elsewhere["id"], owner.id, ())
    place = await furnish(api.resources.database, owner.id, elsewhere["id"])
    talk = Talk(api, owner)
    made = await create(talk, place.workspace_id)
    assert (made.status_code, made.json()) == (
        400,
        {"message": "Workspace does not belong to the specified organization."},
    )
    response = await talk.client.patch(f"{CHATS}/{await talk.start()}", json={"workspace_id": str(place.workspace_id)})
    assert response.json() == {"message": "Workspace does not belong to this chat's organization."}


async def test_each_change_of_a_binding_is_told_once_and_what_holds_already_is_not(
    talk: Talk, place: Workplace
) -> None:
    database = talk.api.resources.database
    chat = await talk.start()
    listening = database.listen([TOLD])
    assert await anext(listening) is None
    again = await rebuild(database, place)
    for _ in range(2):
        await bind(talk, chat, place.workspace_id)
    for _ in range(2):
        async with database.begin() as session:
            await bindings.attach(session, chat, place.workspace_id, place.build_id)
    for place_now in (place, place, again):
        async with database.begin() as session:
            await bindings.bind(session, chat, build_id=place_now.build_id, agent_id=place_now.agent_id)
    for _ in range(2):
        await bind(talk, chat, NO_ID)
    await write(talk.api, "SELECT pg_notify(%(channel)s, 'done')", channel=TOLD)
    told = []
    while (notice := await anext(listening)) is not None and notice.payload != "done":
        told.append(ChatNotice.decode(notice.payload))
    await listening.aclose()
    assert [(each.chat_id, each.watch) for each in told] == [(chat, ("status_change",))] * 5


async def test_the_tools_bind_a_build_before_its_agent_is_known(talk: Talk, place: Workplace) -> None:
    chat = await talk.start()
    async with talk.api.resources.database.begin() as session:
        await bindings.attach(session, chat, place.workspace_id, place.build_id)
    shown = await talk.get(chat)
    assert (shown["workspace_id"], shown["build_id"]) == (str(place.workspace_id), str(place.build_id))
    assert "agent_id" not in shown


async def test_a_workspace_leads_to_the_chat_that_was_used_last_of_those_one_sees(
    talk: Talk, place: Workplace, owner: Person
) -> None:
    api = talk.api
    first, second = await talk.start(), await talk.start()
    for chat in (first, second):
        await bind(talk, chat, place.workspace_id)
    other = await furnish(api.resources.database, talk.person.id, api.organization_id, name="other")

    async def asked(person: Person) -> Any:
        ids = f"{place.workspace_id}, {other.workspace_id}"
        response = await person.client.get(f"{CHATS}/by-workspace", params={"workspace_ids": ids})
        assert response.status_code == 200, response.text
        return response.json()

    await write(api, "UPDATE chats SET updated_at = now() + interval '1 hour' WHERE id = %(id)s", id=first)
    assert await asked(talk.person) == await asked(owner) == {str(place.workspace_id): str(first)}
    assert await asked(await api.person("other", org_roles=("agents-access",))) == {}
    assert (await talk.client.patch(f"{CHATS}/{first}", json={"archived": True})).status_code == 204
    assert await asked(talk.person) == {str(place.workspace_id): str(second)}
