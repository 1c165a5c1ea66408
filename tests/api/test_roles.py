"""Roles that an organization makes: who makes them, what they allow, and what becomes of those who have them."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from models.principal import CHAT_RIGHTS, Grants, OrgRole, Principal, Scope
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said

ORGANIZATION = "/api/v2/organizations/default"
ROLES = f"{ORGANIZATION}/members/roles"


@pytest.fixture
async def boss(api: Api) -> Person:
    return await api.person("boss", org_roles=("organization-admin",))


def permissions(*actions: str, **more: Any) -> list[dict[str, Any]]:
    return [{"resource_type": "chat", "action": each, "negate": False, **more} for each in actions]


async def made(boss: Person, name: str = "reader", **fields: Any) -> dict[str, Any]:
    response = await boss.client.post(ROLES, json={"name": name, **fields})
    assert response.status_code == 200, response.text
    role: dict[str, Any] = response.json()
    return role


async def test_a_roles_life_in_coders_shape(api: Api, boss: Person, member: Person) -> None:
    role = await made(boss, display_name="Reader", organization_permissions=permissions("read"))
    assert role == {
        "name": "reader",
        "display_name": "Reader",
        "organization_id": str(api.organization_id),
        "site_permissions": [],
        "organization_permissions": permissions("read"),
        "user_permissions": [],
        "organization_member_permissions": [],
    }
    changed = {"name": "READER", "organization_member_permissions": permissions("*")}
    after = (await boss.client.put(ROLES, json=changed)).json()
    assert (after["name"], after["display_name"], after["organization_permissions"]) == ("reader", "reader", [])
    assert after["organization_member_permissions"] == permissions("create", "delete", "read", "share", "update")
    listed = {each["name"]: each for each in (await boss.client.get(ROLES)).json()}
    assert set(listed) == {*map(str, OrgRole), "reader"}
    assert {name: each["built_in"] for name, each in listed.items()} == {name: name != "reader" for name in listed}
    assert all(each["assignable"] for each in listed.values())
    seen = (await member.client.get(ROLES)).json()
    assert [each["name"] for each in seen] == list(listed)
    assert not any(each["assignable"] for each in seen)
    assert (await boss.client.delete(f"{ROLES}/Reader")).status_code == 204
    assert (await boss.client.delete(f"{ROLES}/reader")).status_code == 404
    assert (await boss.client.put(ROLES, json=changed)).status_code == 404


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"name": "organization-admin"}, 400, "Reserved role name"),
    ({"name": "Owner"}, 400, "Reserved role name"),
    ({"name": "a b"}, 400, "Invalid role name"),
    ({"name": ""}, 400, "Invalid role name"),
    ({"name": "taken"}, 409, 'Role "taken" already exists.'),
    ({"name": "Taken"}, 409, 'Role "Taken" already exists.'),
    (
        {"name": "x", "site_permissions": permissions("read")},
        400,
        "Invalid request, not allowed to assign site wide permissions for an organization role.",
    ),
    (
        {"name": "x", "user_permissions": permissions("read")},
        400,
        "Invalid request, not allowed to assign user permissions for an organization role.",
    ),
    ({"name": "x", "organization_permissions": permissions("rule")}, 400, "Validation failed."),
    ({"name": "x", "organization_permissions": permissions("read", negate=True)}, 400, "Validation failed."),
    ({"name": "x", "organization_permissions": permissions("read", resource_type="user")}, 400, "Validation failed."),
]


async def test_a_role_that_makes_no_sense_is_refused_and_leaves_nothing(boss: Person, owner: Person) -> None:
    await made(boss, "taken")
    before = (await boss.client.get(ROLES)).json()
    for body, status, message in REFUSED:
        refused = await boss.client.post(ROLES, json=body)
        assert (refused.status_code, refused.json()["message"]) == (status, message), body
    assert (await boss.client.get(ROLES)).json() == before
    audit = (await owner.client.get("/api/v2/audit?q=resource_type:custom_role")).json()
    assert [(each["action"], each["resource_target"]) for each in audit["audit_logs"]] == [("create", "taken")]


async def test_a_role_is_given_changed_and_taken_away_with_what_it_allows(
    api: Api, boss: Person, member: Person, outsider: Person
) -> None:
    chat = await Talk(api, member).start()
    path = f"{ORGANIZATION}/members/outsider/roles"

    async def may() -> tuple[int, int, int]:
        client, mine = outsider.client, {"organization_id": str(api.organization_id), "content": said("hi")}
        return (
            (await client.get(f"{CHATS}/{chat}")).status_code,
            (await client.patch(f"{CHATS}/{chat}", json={"title": "theirs"})).status_code,
            (await client.post(CHATS, json=mine)).status_code,
        )

    await made(boss, organization_permissions=permissions("read"))
    assert (await boss.client.put(path, json={"roles": ["writer"]})).json()["message"] == "Invalid roles."
    assert await may() == (404, 404, 403)
    given_ = (await boss.client.put(path, json={"roles": ["reader"]})).json()
    assert [each["name"] for each in given_["roles"]] == ["reader"]
    assert await may() == (200, 404, 403)
    more = {"name": "reader", "organization_permissions": permissions("read", "update")}
    await boss.client.put(ROLES, json={**more, "organization_member_permissions": permissions("create")})
    assert await may() == (200, 204, 201)
    # Its own chats are driven by their owner alone, whatever the role.
    sent = await outsider.client.post(f"{CHATS}/{chat}/messages", json={"content": said("in your name")})
    assert sent.status_code == 403
    await boss.client.delete(f"{ROLES}/reader")
    assert await may() == (404, 404, 403)
    # One of the same name is another role, which nobody has.
    await made(boss, organization_permissions=permissions("read"))
    assert await may() == (404, 404, 403)
    other = await api.person("other", org_roles=("organization-user-admin",))
    for method, asked in (("POST", ROLES), ("PUT", ROLES), ("DELETE", f"{ROLES}/reader")):
        refused = await other.client.request(method, asked, json={"name": "reader"})
        assert refused.status_code == 403


async def test_nobody_is_left_with_a_role_that_is_deleted_while_it_is_given(boss: Person, outsider: Person) -> None:
    path = f"{ORGANIZATION}/members/outsider/roles"
    for _ in range(4):
        await made(boss)
        await asyncio.gather(boss.client.put(path, json={"roles": ["reader"]}), boss.client.delete(f"{ROLES}/reader"))
        member = (await boss.client.get(path.removesuffix("/roles"))).json()
        assert member["roles"] == []


async def test_organization_user_admins_keep_members_and_groups_but_no_roles(
    api: Api, owner: Person, member: Person
) -> None:
    clerk = await api.person("clerk", org_roles=("organization-user-admin",))
    new = {"username": "bob", "email": "bob@example.com", "organization_ids": [str(api.organization_id)]}
    assert (await clerk.client.post("/api/v2/users", json=new)).status_code == 201
    group = (await clerk.client.post(f"{ORGANIZATION}/groups", json={"name": "crew"})).json()
    path = f"/api/v2/groups/{group['id']}"
    filled = (await clerk.client.patch(path, json={"add_users": [str(member.id)]})).json()
    for asked in (
        f"{ORGANIZATION}/groups/crew",
        path,
    ):
        assert (await clerk.client.get(asked)).json() == filled
    listed = (await clerk.client.get(f"/api/v2/groups?organization=default&has_member={member.id}")).json()
    assert [each["name"] for each in listed] == ["crew", "Everyone"]
    assert (await member.client.get("/api/v2/groups?has_member=me")).json() == []
    assert (await clerk.client.get(f"/api/v2/groups?organization={uuid4()}")).status_code == 404
    assert (await clerk.client.get(f"{ORGANIZATION}/groups/nobodys")).status_code == 404
    assert (await clerk.client.delete(path)).status_code == 200
    assert (await clerk.client.put(f"{ORGANIZATION}/members/bob/roles", json={"roles": []})).status_code == 403
    assert (await clerk.client.delete(f"{ORGANIZATION}/members/bob")).status_code == 204
    # Whom they do not see, they do not add.
    await api.person("stranger", org_roles=None)
    assert (await clerk.client.post(f"{ORGANIZATION}/members/stranger")).status_code == 404
    assert (await owner.client.post(f"{ORGANIZATION}/members/stranger")).status_code == 200


RIGHTS = st.frozensets(st.sampled_from(CHAT_RIGHTS))
HERE, ME, SOMEBODY = uuid4(), uuid4(), uuid4()


@given(everywhere=RIGHTS, own=RIGHTS, scopes=RIGHTS, roles=st.frozensets(st.sampled_from(OrgRole)), mine=st.booleans())
@examples(max_examples=200)
def test_a_scope_takes_away_and_a_role_only_adds(
    everywhere: frozenset[Scope], own: frozenset[Scope], scopes: frozenset[Scope], roles: frozenset[str], mine: bool
) -> None:
    whose = ME if mine else SOMEBODY

    def rights(grants: Grants, scopes: frozenset[str]) -> set[Scope]:
        me = Principal(ME, "me", organizations={HERE: roles}, grants={HERE: grants}, scopes=scopes)
        found = {Scope.CHAT_CREATE} if me.may_create_chat(HERE) else set()
        found |= {Scope.CHAT_READ} if me.may_read_chat(whose, HERE) else set()
        found |= {Scope.CHAT_UPDATE} if me.may_update_chat(whose, HERE) else set()
        found |= {Scope.CHAT_SHARE} if me.may_share_chat(whose, HERE) else set()
        assert not me.may_read_deployment() or Scope.ALL in scopes
        return found

    everything = frozenset({Scope.ALL})
    granted = rights(Grants(everywhere, own), everything)
    assert rights(Grants(), everything) <= granted
    assert rights(Grants(everywhere, own), frozenset(scopes) or frozenset({"none"})) == granted & scopes
    assert everywhere - {Scope.CHAT_DELETE} <= granted
    assert (own if mine else frozenset()) - {Scope.CHAT_DELETE} <= granted
    elsewhere = Principal(ME, "me", organizations={}, grants={HERE: Grants(everywhere, own)})
    assert not elsewhere.may_read_chat(whose, HERE)
    assert not elsewhere.may_create_chat(HERE)
