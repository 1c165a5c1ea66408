"""Groups: who makes them, who is in them, and what Everyone is."""

import uuid
from typing import Any

import pytest

from models.store import secrets
from tests.api.conftest import Api, Person

ORGANIZATIONS = "/api/v2/organizations"
GROUPS = "/api/v2/groups"


@pytest.fixture
async def boss(api: Api) -> Person:
    return await api.person("boss", org_roles=("organization-admin",))


async def made(somebody: Person, name: str = "engineering", **fields: Any) -> dict[str, Any]:
    response = await somebody.client.post(f"{ORGANIZATIONS}/default/groups", json={"name": name, **fields})
    assert response.status_code == 201, response.text
    group: dict[str, Any] = response.json()
    return group


def names(group: dict[str, Any]) -> list[str]:
    return [member["username"] for member in group["members"]]


async def test_everyone_is_a_group_whose_id_is_the_organizations(api: Api, owner: Person, member: Person) -> None:
    everyone = (await owner.client.get(f"{GROUPS}/{api.organization_id}")).json()
    assert (everyone["name"], everyone["organization_id"]) == ("Everyone", str(api.organization_id))
    assert names(everyone) == ["admin", "member"]
    other = (await owner.client.post(ORGANIZATIONS, json={"name": "other"})).json()["id"]
    assert names((await owner.client.get(f"{GROUPS}/{other}")).json()) == ["admin"]


async def test_everyone_cannot_be_renamed_filled_emptied_or_deleted(api: Api, owner: Person, member: Person) -> None:
    path = f"{GROUPS}/{api.organization_id}"
    for change in ({"name": "all"}, {"add_users": [str(member.id)]}, {"remove_users": [str(member.id)]}):
        assert (await owner.client.patch(path, json=change)).status_code == 400
    assert (await owner.client.delete(path)).status_code == 400
    shown = await owner.client.patch(path, json={"name": "Everyone", "display_name": "All of us"})
    assert (shown.status_code, shown.json()["display_name"]) == (200, "All of us")
    for name in ("Everyone", "EVERYONE", "  everyone "):
        refused = await owner.client.post(f"{ORGANIZATIONS}/default/groups", json={"name": name})
        assert (refused.status_code, refused.json()["message"]) == (400, '"Everyone" is a reserved group name')


async def test_a_groups_life(boss: Person, member: Person, outsider: Person) -> None:
    group = await made(boss, display_name="Engineering")
    assert (group["members"], group["total_member_count"], group["source"]) == ([], 0, "user")
    assert (group["organization_name"], group["quota_allowance"]) == ("default", 0)
    path = f"{GROUPS}/{group['id']}"
    both = [str(member.id), str(outsider.id), str(member.id)]
    filled = (await boss.client.patch(path, json={"add_users": both, "name": "builders"})).json()
    assert (filled["name"], filled["display_name"], names(filled)) == (
        "builders",
        "Engineering",
        ["member", "outsider"],
    )
    left = (await boss.client.patch(path, json={"remove_users": [str(outsider.id)]})).json()
    assert names(left) == ["member"]
    listed = (await boss.client.get(f"{ORGANIZATIONS}/default/groups")).json()
    assert [each["name"] for each in listed] == ["builders", "Everyone"]
    assert listed[0] == (await boss.client.get(path)).json()
    assert (await boss.client.delete(path)).json() == {"message": "Successfully deleted group!"}
    assert (await boss.client.get(path)).status_code == 404


async def test_a_name_is_taken_once_in_an_organization(boss: Person) -> None:
    await made(boss)
    other = await made(boss, "design")
    again = await boss.client.post(f"{ORGANIZATIONS}/default/groups", json={"name": "engineering"})
    renamed = await boss.client.patch(f"{GROUPS}/{other['id']}", json={"name": "engineering"})
    for refused in (again, renamed):
        assert (refused.status_code, refused.json()["message"]) == (
            409,
            'A group named "engineering" already exists.',
        )
    assert (await boss.client.post(f"{ORGANIZATIONS}/default/groups", json={"name": " "})).status_code == 400


async def test_only_members_of_the_organization_come_into_its_groups(api: Api, boss: Person, member: Person) -> None:
    stranger = await api.person("stranger", org_roles=None)
    group = await made(boss)
    for nobody in (stranger.id, uuid.uuid4()):
        both = [str(member.id), str(nobody)]
        refused = await boss.client.patch(f"{GROUPS}/{group['id']}", json={"add_users": both, "name": "x"})
        assert refused.status_code == 400
        assert str(nobody) in refused.json()["message"]
    assert (await boss.client.get(f"{GROUPS}/{group['id']}")).json() == group


async def test_who_leaves_the_organization_leaves_its_groups(boss: Person, owner: Person, member: Person) -> None:
    group = await made(boss)
    path = f"{GROUPS}/{group['id']}"
    await boss.client.patch(path, json={"add_users": [str(member.id)]})
    assert (await boss.client.delete(f"{ORGANIZATIONS}/default/members/member")).status_code == 204
    assert (await owner.client.post(f"{ORGANIZATIONS}/default/members/member")).status_code == 200
    assert names((await boss.client.get(path)).json()) == []
    await boss.client.patch(path, json={"add_users": [str(member.id)]})
    assert (await owner.client.delete("/api/v2/users/member")).status_code == 200
    assert names((await boss.client.get(path)).json()) == []


async def test_a_caller_is_known_with_their_groups_as_soon_as_they_are_in_them(
    api: Api, boss: Person, member: Person
) -> None:
    async def known() -> frozenset[uuid.UUID]:
        found = await api.resources.principals.find(secrets.digest(member.token))
        assert found is not None
        return found.groups

    assert await known() == {api.organization_id}
    group = await made(boss)
    await boss.client.patch(f"{GROUPS}/{group['id']}", json={"add_users": [str(member.id)]})
    assert await known() == {api.organization_id, uuid.UUID(group["id"])}
    await boss.client.delete(f"{GROUPS}/{group['id']}")
    assert await known() == {api.organization_id}


async def test_groups_are_for_admins_to_change_and_for_auditors_to_see(
    api: Api, boss: Person, member: Person, outsider: Person
) -> None:
    auditor = await api.person("auditor", org_roles=("organization-auditor",))
    elsewhere = await api.person("elsewhere", org_roles=None)
    group = await made(boss)
    path, everything = f"{GROUPS}/{group['id']}", f"{ORGANIZATIONS}/default/groups"
    expected = {
        auditor: (200, 200, 403, 403),
        member: (200, 200, 403, 403),
        outsider: (404, 403, 404, 403),
        elsewhere: (404, 404, 404, 404),
    }
    for somebody, statuses in expected.items():
        found = (
            (await somebody.client.get(path)).status_code,
            (await somebody.client.get(everything)).status_code,
            (await somebody.client.patch(path, json={"name": "x"})).status_code,
            (await somebody.client.post(everything, json={"name": "x"})).status_code,
        )
        assert found == statuses, somebody.username
        assert (await somebody.client.delete(path)).status_code == statuses[2]
    assert (await boss.client.get(path)).json() == group
