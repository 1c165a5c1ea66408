"""Who may do what with whose chat (admin.md 3.3), as far as routes exist; what SQL shows is what `may_see` allows."""

import itertools
from uuid import UUID, uuid4

import orjson
import pytest

from models.errors import NotFound
from models.principal import Principal
from models.store import chats
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def share(api: Api, chat: UUID, column: str, subject: UUID, actions: tuple[str, ...] = ("read",)) -> None:
    """An ACL as it lies in the database, also one that the route would not write."""
    async with api.resources.database.begin() as session:
        acl = orjson.dumps({str(subject): {"permissions": list(actions)}}).decode()
        await fetch(session, f"UPDATE chats SET {column} = %(acl)s WHERE id = %(id)s", {"acl": acl, "id": chat})


# caller: site roles, organization roles (None: not in the organization), scopes
# expected: create, read, interrupt (update), send (own only)
MATRIX = [
    ("owner", (), ("agents-access",), (), (201, 200, 200, 200)),
    ("owner", (), ("organization-admin",), (), (201, 200, 200, 200)),
    ("owner", (), (), (), (403, 404, 404, 404)),
    ("owner", (), None, (), (403, 404, 404, 404)),
    ("owner", (), ("agents-access",), ("chat:*",), (201, 200, 200, 200)),
    ("owner", (), ("agents-access",), ("chat:read",), (403, 200, 404, 404)),
    ("owner", (), ("agents-access",), ("chat:create",), (201, 404, 404, 404)),
    ("owner", (), ("agents-access",), ("chat:update",), (403, 404, 200, 200)),
    ("other", ("owner",), (), (), (201, 200, 200, 403)),
    ("other", ("owner",), None, (), (403, 200, 200, 403)),
    ("other", (), ("organization-admin",), (), (201, 200, 200, 403)),
    ("other", (), ("agents-access",), (), (201, 404, 404, 404)),
    ("other", (), (), (), (403, 404, 404, 404)),
    ("other", ("auditor", "user-admin", "template-admin"), ("organization-auditor",), (), (403, 404, 404, 404)),
]


async def test_the_matrix_of_roles(talk: Talk) -> None:
    api = talk.api
    for number, (relation, site_roles, org_roles, scopes, expected) in enumerate(MATRIX):
        caller = await api.person(f"p{number}", site_roles=site_roles, org_roles=org_roles, scopes=scopes)
        chat = await talk.start()
        if relation == "owner":
            async with api.resources.database.begin() as session:
                await fetch(session, "UPDATE chats SET owner_id = %(o)s WHERE id = %(c)s", {"o": caller.id, "c": chat})
        body = {"organization_id": str(api.organization_id), "content": said("hi")}
        answered = (
            (await caller.client.post(CHATS, json=body)).status_code,
            (await caller.client.get(f"{CHATS}/{chat}")).status_code,
            (await caller.client.post(f"{CHATS}/{chat}/interrupt")).status_code,
            (await caller.client.post(f"{CHATS}/{chat}/messages", json={"content": said("hi")})).status_code,
        )
        assert answered == expected, (relation, site_roles, org_roles, scopes)


async def test_without_the_role_ones_own_chats_are_hidden_until_it_returns(talk: Talk) -> None:
    chat = await talk.start()

    async def roles(given: str) -> None:
        async with talk.api.resources.database.begin() as session:
            await fetch(
                session,
                "UPDATE organization_members SET roles = %(roles)s::text[] WHERE user_id = %(user)s",
                {"roles": given, "user": talk.person.id},
            )
        talk.api.resources.principals.forget()

    await roles("{}")
    assert (await talk.client.get(CHATS)).json() == []
    assert (await talk.client.get(f"{CHATS}/{chat}")).status_code == 404
    await roles("{agents-access}")
    assert [row["id"] for row in (await talk.client.get(CHATS)).json()] == [str(chat)]


async def test_a_reader_by_sharing_reads_the_whole_family_and_changes_nothing(talk: Talk, outsider: Person) -> None:
    api = talk.api
    chat, child = await talk.start(), uuid4()
    async with api.resources.database.begin() as session:
        await fetch(
            session,
            """INSERT INTO chats (id, owner_id, organization_id, last_model_config_id, parent_chat_id, root_chat_id)
               SELECT %(child)s, owner_id, organization_id, last_model_config_id, id, id
               FROM chats WHERE id = %(id)s""",
            {"child": child, "id": chat},
        )
    # The Everyone group's id is its organization's.
    for column, subject in (("user_acl", outsider.id), ("group_acl", api.organization_id)):
        await share(api, chat, column, subject)
        for path in (f"{CHATS}/{chat}", f"{CHATS}/{child}", f"{CHATS}/{chat}/messages", f"{CHATS}/{chat}/explain"):
            assert (await outsider.client.get(path)).status_code == 200, (column, path)
        assert (await outsider.client.get(f"{CHATS}/{child}")).json()["shared"] is True
        assert (await outsider.client.get(CHATS)).json() == []
        for path in ("messages", "interrupt", "queue/1/promote"):
            assert (await outsider.client.post(f"{CHATS}/{chat}/{path}")).status_code == 404
        await share(api, chat, column, subject, actions=())
        assert (await outsider.client.get(f"{CHATS}/{chat}")).status_code == 404
        await share(api, chat, column, uuid4())
        assert (await outsider.client.get(f"{CHATS}/{chat}")).status_code == 404


async def test_sql_shows_exactly_what_may_see_allows(talk: Talk) -> None:
    """Every combination of what decides, once through the database and once through the pure function."""
    api, database = talk.api, talk.api.resources.database
    chat = await talk.start()
    async with database.read() as session:
        [row] = await fetch(session, "SELECT * FROM chats WHERE id = %(id)s", {"id": chat})
    me, group, organization = uuid4(), uuid4(), api.organization_id
    seen = 0
    for owns, site, roles, scope, user_acl, group_acl in itertools.product(
        (True, False),
        (frozenset[str](), frozenset({"owner"}), frozenset({"auditor"})),
        (None, frozenset[str](), frozenset({"agents-access"}), frozenset({"organization-admin"})),
        ("all", "chat:read", "chat:update"),
        ({}, {str(me): {"permissions": ["read"]}}, {str(me): {"permissions": []}}),
        ({}, {str(group): {"permissions": ["read"]}}),
    ):
        caller = Principal(
            user_id=talk.person.id if owns else me,
            username="x",
            site_roles=site,
            organizations={} if roles is None else {organization: roles},
            groups=frozenset({group}),
            scopes=frozenset({scope}),
        )
        allowed = chats.may_see(caller, row | {"user_acl": user_acl, "group_acl": group_acl})
        async with database.begin() as session:
            await fetch(
                session,
                "UPDATE chats SET user_acl = %(user)s, group_acl = %(group)s WHERE id = %(id)s",
                {"user": orjson.dumps(user_acl).decode(), "group": orjson.dumps(group_acl).decode(), "id": chat},
            )
            try:
                await chats.load(session, caller, chat)
                shown = True
            except NotFound:
                shown = False
        assert shown == allowed, (owns, site, roles, scope, user_acl, group_acl)
        seen += shown
    assert 0 < seen < 432
