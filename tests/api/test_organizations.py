"""Organizations: who sees them, who belongs to them, who says so; and the table of who may do what."""

from uuid import UUID

import pytest

from models.principal import Principal, Scope
from tests.api.conftest import Api, Person

ORGANIZATIONS = "/api/v2/organizations"


async def test_the_default_organization_answers_to_id_name_and_alias(api: Api, member: Person) -> None:
    for name in (str(api.organization_id), str(api.organization_id).upper(), "default"):
        found = (await member.client.get(f"{ORGANIZATIONS}/{name}")).json()
        assert found["id"] == str(api.organization_id)
        assert found["is_default"]
    assert (await member.client.get(f"{ORGANIZATIONS}/nowhere")).status_code == 404


async def test_the_alias_stays_when_the_default_organization_has_another_name(api: Api, owner: Person) -> None:
    async with await api.resources.database.connect() as connection:
        await connection.execute("UPDATE organizations SET name = 'acme'")
    for name in ("acme", "default"):
        assert (await owner.client.get(f"{ORGANIZATIONS}/{name}")).json()["name"] == "acme"


async def test_an_organization_is_seen_by_its_members_and_those_who_run_the_deployment(
    api: Api, owner: Person, member: Person
) -> None:
    made = await owner.client.post(ORGANIZATIONS, json={"name": "secret", "display_name": "Secret", "icon": "x"})
    assert made.status_code == 201
    assert made.json()["display_name"] == "Secret"
    auditor = await api.person("auditor", org_roles=None, site_roles=("auditor",))
    for somebody, expected in ((owner, 200), (auditor, 200), (member, 404)):
        assert (await somebody.client.get(f"{ORGANIZATIONS}/secret")).status_code == expected
        names = [each["name"] for each in (await somebody.client.get(ORGANIZATIONS)).json()]
        assert ("secret" in names) == (expected == 200)
    mine = (await member.client.get("/api/v2/users/me/organizations")).json()
    assert [each["name"] for each in mine] == ["default"]


async def test_a_name_is_taken_once_and_some_never(owner: Person) -> None:
    assert (await owner.client.post(ORGANIZATIONS, json={"name": "acme"})).status_code == 201
    again = await owner.client.post(ORGANIZATIONS, json={"name": "acme"})
    assert (again.status_code, again.json()["message"]) == (409, "Organization already exists with that name.")
    for name in ("default", "two words", "", "x" * 37):
        assert (await owner.client.post(ORGANIZATIONS, json={"name": name})).status_code == 400


async def test_membership_and_roles_come_and_go(api: Api, owner: Person) -> None:
    guest = await api.person("guest", org_roles=None)
    path = f"{ORGANIZATIONS}/{api.organization_id}/members/guest"
    assert (await guest.client.get(f"{ORGANIZATIONS}/default")).status_code == 404
    added = await owner.client.post(path)
    assert (added.status_code, added.json()["roles"]) == (200, [])
    assert (await owner.client.post(path)).status_code == 409
    assert (await guest.client.get(f"{ORGANIZATIONS}/default")).status_code == 200
    given = await owner.client.put(f"{path}/roles", json={"roles": ["agents-access", "organization-auditor"]})
    assert given.json()["roles"] == [
        {"name": name, "display_name": shown, "organization_id": str(api.organization_id)}
        for name, shown in (("agents-access", "Agents Access"), ("organization-auditor", "Organization Auditor"))
    ]
    members = (await owner.client.get(f"{ORGANIZATIONS}/default/members")).json()
    assert [each["username"] for each in members] == ["admin", "guest"]
    assert members[0]["global_roles"] == [{"name": "owner", "display_name": "Owner"}]
    assert (await owner.client.delete(path)).status_code == 204
    assert (await owner.client.delete(path)).status_code == 404
    assert (await owner.client.put(f"{path}/roles", json={"roles": []})).status_code == 404
    assert (await guest.client.get(f"{ORGANIZATIONS}/default")).status_code == 404


async def test_only_admins_of_the_organization_give_its_roles(api: Api, owner: Person, member: Person) -> None:
    boss = await api.person("boss", org_roles=("organization-admin",))
    clerk = await api.person("clerk", site_roles=("user-admin",))
    path = f"{ORGANIZATIONS}/default/members/member/roles"
    for somebody, expected in ((member, 403), (clerk, 403), (boss, 200), (owner, 200)):
        response = await somebody.client.put(path, json={"roles": ["agents-access"]})
        assert response.status_code == expected, somebody.username
    unknown = await boss.client.put(path, json={"roles": ["emperor"]})
    assert unknown.json()["message"] == "Invalid roles."
    own = await boss.client.put(f"{ORGANIZATIONS}/default/members/me/roles", json={"roles": []})
    assert own.json()["message"] == "You cannot change your own organization roles."


async def test_an_admin_of_one_organization_is_nobody_in_another(api: Api, owner: Person) -> None:
    boss = await api.person("boss", org_roles=("organization-admin",))
    other = (await owner.client.post(ORGANIZATIONS, json={"name": "other"})).json()["id"]
    assert (await boss.client.get(f"{ORGANIZATIONS}/other/members")).status_code == 404
    assert (await boss.client.post(f"{ORGANIZATIONS}/{other}/members/boss")).status_code == 404
    assert (await boss.client.post(ORGANIZATIONS, json={"name": "mine"})).status_code == 403


async def test_members_are_listed_for_admins_and_auditors(api: Api, outsider: Person) -> None:
    watcher = await api.person("watcher", org_roles=("organization-auditor",))
    clerk = await api.person("clerk", org_roles=None, site_roles=("user-admin",))
    path = f"{ORGANIZATIONS}/default/members"
    for somebody, expected in ((watcher, 200), (clerk, 200), (outsider, 403)):
        assert (await somebody.client.get(path)).status_code == expected, somebody.username
    assert (await outsider.client.get(f"{path}/me")).json()["username"] == "outsider"
    assert (await outsider.client.get(f"{path}/watcher")).status_code == 404


# admin.md 3.3, for what exists: may they create a chat of their own; read, change somebody else's in the organization;
# read and change the deployment's configuration; administer users.
MATRIX = {
    "owner": (("owner",), (), "create read update config-read config-write users"),
    "organization admin": ((), ("organization-admin",), "create read update"),
    "member with agents-access": ((), ("agents-access",), "create"),
    "member without a role": ((), (), ""),
    "template admin": (("template-admin",), (), ""),
    "user admin": (("user-admin",), (), "users"),
    "auditor": (("auditor",), (), "config-read"),
    "organization auditor": ((), ("organization-auditor",), ""),
    "somebody from elsewhere": ((), None, ""),
}


@pytest.mark.parametrize("row", MATRIX)
async def test_the_matrix_of_permissions_holds(api: Api, member: Person, row: str) -> None:
    site_roles, org_roles, allowed = MATRIX[row]
    somebody = await api.person("somebody", site_roles=site_roles, org_roles=org_roles)
    asked = {"organization_id": str(api.organization_id), "content": [{"type": "text", "text": "hello"}]}
    chat = (await member.client.post("/api/v2/chats", json=asked)).json()["id"]

    async def status(method: str, path: str, **options: object) -> int:
        return (await somebody.client.request(method, path, **options)).status_code  # type: ignore[arg-type]

    found = {
        "create": await status("POST", "/api/v2/chats", json=asked) == 201,
        "read": await status("GET", f"/api/v2/chats/{chat}") == 200,
        "update": await status("POST", f"/api/v2/chats/{chat}/interrupt") == 200,
        "config-read": await status("GET", "/api/v2/ai/providers") == 200,
        "config-write": await status("POST", "/api/v2/ai/providers", json={}) == 400,
        "users": await status("GET", "/api/v2/users") == 200,
    }
    assert {name for name, right in found.items() if right} == set(allowed.split())
    # Nobody but its owner says anything in a chat: it runs with its owner's credentials.
    send = await status("POST", f"/api/v2/chats/{chat}/messages", json={"content": asked["content"]})
    assert send == (403 if "update" in allowed else 404)


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        ({"all"}, "create read update"),
        ({"chat:*"}, "create read update"),
        ({"chat:read"}, "read"),
        ({"chat:create", "chat:update"}, "create update"),
        ({"chat:share"}, ""),
    ],
)
def test_a_token_may_do_what_both_its_user_and_its_scopes_allow(scopes: set[str], may: str) -> None:
    here, me = UUID(int=1), UUID(int=2)
    caller = Principal(me, "ada", organizations={here: frozenset({"agents-access"})}, scopes=frozenset(scopes))
    found = {
        "create": caller.may_create_chat(here),
        "read": caller.may_read_chat(me, here),
        "update": caller.may_update_chat(me, here),
    }
    assert {name for name, right in found.items() if right} == set(may.split())
    assert not caller.may_read_chat(UUID(int=3), here)
    assert caller.has_scope(Scope.ALL) == (scopes == {"all"})
