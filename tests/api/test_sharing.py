"""Laws of sharing a chat: who may, what it gives, and what it never gives (wire-api.md 2.17, 8.5; admin.md 4)."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.store.database import Row, fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.api.trips import trips

GROUPS = "/api/v2/groups"
ORGANIZATIONS = "/api/v2/organizations"
NOT_FOUND = "Resource not found or you do not have access to this resource"


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


@pytest.fixture
async def boss(api: Api) -> Person:
    return await api.person("boss", org_roles=("organization-admin",))


async def change(somebody: Person, chat: UUID, **roles: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """PATCH the ACL; the status and the answer's body."""
    response = await somebody.client.patch(f"{CHATS}/{chat}/acl", json=roles)
    return response.status_code, response.json() if response.content else {}


async def acl(somebody: Person, chat: UUID) -> dict[str, Any]:
    response = await somebody.client.get(f"{CHATS}/{chat}/acl")
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()
    return shown


async def child_of(api: Api, chat: UUID) -> UUID:
    """A sub-agent chat."""
    child = uuid4()
    async with api.resources.database.begin() as session:
        await fetch(
            session,
            """INSERT INTO chats (id, owner_id, organization_id, last_model_config_id, parent_chat_id, root_chat_id)
               SELECT %(child)s, owner_id, organization_id, last_model_config_id, id, id
               FROM chats WHERE id = %(id)s""",
            {"child": child, "id": chat},
        )
    return child


async def group_of(boss: Person, name: str, *people: Person) -> str:
    group: str = (await boss.client.post(f"{ORGANIZATIONS}/default/groups", json={"name": name})).json()["id"]
    filled = await boss.client.patch(f"{GROUPS}/{group}", json={"add_users": [str(each.id) for each in people]})
    assert filled.status_code == 200, filled.text
    return group


async def audited(api: Api, chat: UUID) -> list[Row]:
    async with api.resources.database.read() as session:
        return await fetch(
            session,
            "SELECT * FROM audit_logs WHERE resource_id = %(id)s AND diff ?| '{user_acl,group_acl}' ORDER BY id",
            {"id": chat},
        )


async def row_of(api: Api, chat: UUID) -> Row:
    async with api.resources.database.read() as session:
        [row] = await fetch(session, "SELECT * FROM chats WHERE id = %(id)s", {"id": chat})
    return row


async def test_what_is_granted_is_shown_with_the_shapes_of_the_contract(
    talk: Talk, boss: Person, outsider: Person
) -> None:
    chat, organization = await talk.start(), str(talk.api.organization_id)
    assert await acl(talk.person, chat) == {"users": [], "groups": []}
    assert (await talk.get(chat))["shared"] is False
    group = await group_of(boss, "crew", outsider)
    granted = await change(
        talk.person, chat, user_roles={str(outsider.id): "read"}, group_roles={group: "read", organization: "read"}
    )
    assert granted == (204, {})
    shown = await acl(talk.person, chat)
    assert shown["users"] == [{"id": str(outsider.id), "username": "outsider", "role": "read"}]
    crew, everyone = shown["groups"]
    assert crew == {
        "id": group,
        "name": "crew",
        "display_name": "",
        "organization_id": organization,
        "organization_name": "default",
        "organization_display_name": everyone["organization_display_name"],
        "members": [],
        "total_member_count": 1,
        "avatar_url": "",
        "quota_allowance": 0,
        "source": "user",
        "role": "read",
    }
    assert (everyone["id"], everyone["name"], everyone["total_member_count"]) == (organization, "Everyone", 4)
    assert (await talk.get(chat))["shared"] is True
    assert await acl(outsider, chat) == shown


async def test_a_change_is_sparse_and_an_empty_role_takes_away(talk: Talk, boss: Person, outsider: Person) -> None:
    chat, organization = await talk.start(), str(talk.api.organization_id)
    await change(talk.person, chat, user_roles={str(outsider.id): "read", str(boss.id): "read"})
    await change(talk.person, chat, group_roles={organization: "read"})
    await change(talk.person, chat, user_roles={str(boss.id): ""})
    shown = await acl(talk.person, chat)
    assert [user["username"] for user in shown["users"]] == ["outsider"]
    assert [group["name"] for group in shown["groups"]] == ["Everyone"]
    # Twice is once, an id is an id however it is written, and nobody need be there to be taken away.
    again = {str(boss.id).upper(): "", str(uuid4()): "", outsider.id.hex: "read"}
    assert await change(talk.person, chat, user_roles=again) == (204, {})
    assert await acl(talk.person, chat) == shown
    assert await change(talk.person, chat) == (204, {})
    await change(talk.person, chat, user_roles={outsider.id.hex: ""}, group_roles={organization: ""})
    assert (await talk.get(chat))["shared"] is False


async def test_sharing_moves_no_version_and_no_place_in_the_list_and_is_audited_once(
    talk: Talk, outsider: Person
) -> None:
    chat = await talk.start()
    before = await row_of(talk.api, chat)
    await talk.share(chat, outsider)
    await talk.share(chat, outsider)
    after = await row_of(talk.api, chat)
    grant = {str(outsider.id): {"permissions": ["read"]}}
    assert after == before | {"user_acl": grant}
    [entry] = await audited(talk.api, chat)
    assert (entry["action"], entry["resource_type"], entry["resource_target"]) == ("write", "chat", str(chat)[:8])
    assert (entry["user_id"], entry["organization_id"]) == (talk.person.id, talk.api.organization_id)
    assert (entry["status_code"], entry["diff"]) == (204, {"user_acl": {"old": {}, "new": grant, "secret": False}})


async def test_what_cannot_be_granted_is_named_and_nothing_is_granted(talk: Talk, outsider: Person) -> None:
    api, chat = talk.api, await talk.start()
    elsewhere = await api.person("elsewhere", org_roles=None)
    gone = await api.person("gone")
    async with api.resources.database.begin() as session:
        await fetch(session, "UPDATE users SET deleted = true WHERE id = %(id)s", {"id": gone.id})
    nobody, right = str(uuid4()), {str(outsider.id): "read"}
    missing = "{kind} with ID {id} does not exist"
    refusals: list[tuple[dict[str, dict[str, str]], list[tuple[str, str]]]] = [
        ({"user_roles": {**right, nobody: "read"}}, [("user_roles", missing.format(kind="user", id=nobody))]),
        ({"user_roles": {str(gone.id): "read"}}, [("user_roles", missing.format(kind="user", id=gone.id))]),
        # Somebody of another organization is nobody here.
        ({"user_roles": {str(elsewhere.id): "read"}}, [("user_roles", missing.format(kind="user", id=elsewhere.id))]),
        ({"group_roles": {nobody: "read"}}, [("group_roles", missing.format(kind="group", id=nobody))]),
        ({"group_roles": {str(outsider.id): "read"}}, [("group_roles", f"group with ID {outsider.id} does not exist")]),
        ({"user_roles": {str(outsider.id): "write"}}, [("user_roles", 'role "write" is not a valid chat role')]),
        ({"user_roles": {"not-a-uuid": "read"}}, [("user_roles", "not-a-uuid is not a valid UUID.")]),
        ({"user_roles": {"": ""}}, [("user_roles", " is not a valid UUID.")]),
        (
            {"user_roles": {**right, "x": "admin"}, "group_roles": {"\x00": "read"}},
            [
                ("group_roles", "\x00 is not a valid UUID."),
                ("user_roles", 'role "admin" is not a valid chat role'),
                ("user_roles", "x is not a valid UUID."),
            ],
        ),
    ]
    for roles, expected in refusals:
        status, body = await change(talk.person, chat, **roles)
        assert (status, body["message"]) == (400, "Invalid request to update chat ACL."), roles
        assert [(each["field"], each["detail"]) for each in body["validations"]] == expected
    assert (await row_of(api, chat))["user_acl"] == {}
    assert await audited(api, chat) == []


async def test_the_checks_come_in_the_documented_order(talk: Talk, boss: Person, outsider: Person) -> None:
    api, chat = talk.api, await talk.start()
    child = await child_of(api, chat)
    stranger = await api.person("stranger", org_roles=("agents-access",))
    mine = {str(talk.person.id): "read"}
    assert (await change(stranger, chat, user_roles={"x": "?"}))[1]["message"] == NOT_FOUND
    await talk.share(chat, outsider)
    root_first = {
        "message": "Chat ACLs can only be set on root chats.",
        "detail": f"Target the root chat (id: {chat}) instead.",
    }
    assert await change(outsider, child, user_roles={"x": "?"}) == (400, root_first)
    read = await outsider.client.get(f"{CHATS}/{child}/acl")
    assert (read.status_code, read.json()) == (400, root_first)
    assert (await change(outsider, chat, user_roles={"x": "?"}))[1]["message"] == "Forbidden."
    own = {"message": "Cannot change your own chat sharing role."}
    for written in (mine, {str(talk.person.id).upper(): ""}, {**mine, "x": "?"}):
        assert await change(talk.person, chat, user_roles=written) == (400, own)
    malformed = await talk.client.patch(f"{CHATS}/{chat}/acl", content=b"{")
    assert (malformed.status_code, malformed.json()["message"]) == (400, "Request body must be valid JSON.")
    assert (await outsider.client.patch(f"{CHATS}/{chat}/acl", content=b"{")).status_code == 403
    # An admin of the organization shares for others, and might name the owner, to whom it gives nothing new.
    assert (await change(boss, chat, user_roles=mine))[0] == 204


async def test_tokens_share_within_their_scopes(talk: Talk, outsider: Person) -> None:
    chat = await talk.start()
    for scopes, expected in (
        (("chat:read",), (200, 403)),
        (("chat:read", "chat:update"), (200, 403)),
        (("chat:share",), (404, 404)),
        (("chat:read", "chat:share"), (200, 204)),
        (("chat:*",), (200, 204)),
    ):
        limited = await talk.api.sign_in(talk.person.id, "member", scopes)
        read = await limited.client.get(f"{CHATS}/{chat}/acl")
        changed = await change(limited, chat, user_roles={str(outsider.id): "read"})
        assert (read.status_code, changed[0]) == expected, scopes


async def test_a_reader_reads_everything_and_changes_nothing(talk: Talk, boss: Person, outsider: Person) -> None:
    api, chat = talk.api, await talk.start()
    child = await child_of(api, chat)
    upload = await talk.client.post(
        f"{CHATS}/files",
        params={"organization": str(api.organization_id)},
        content=b"# notes",
        headers={"Content-Type": "text/markdown", "Content-Disposition": "attachment; filename=notes.md"},
    )
    file = upload.json()["id"]
    await talk.answer(chat)
    sent = await talk.client.post(
        f"{CHATS}/{chat}/messages", json={"content": [*said("look"), {"type": "file", "file_id": file}]}
    )
    assert sent.status_code == 200, sent.text
    message = sent.json()["message"]["id"]
    queued = (await talk.say(chat, "next"))["queued_message"]["id"]
    group = await group_of(boss, "readers", outsider)
    reads = ("", "/messages", "/prompts", "/cost", "/explain", "/debug/runs", "/acl")
    actions: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/messages", {"content": said("no")}),
        ("PATCH", f"/messages/{message}", {"content": said("no")}),
        ("POST", f"/queue/{queued}/promote", {}),
        ("DELETE", f"/queue/{queued}", {}),
        ("POST", "/interrupt", {}),
        ("POST", "/compact", {}),
        ("POST", "/tool-results", {"results": []}),
        ("POST", "/title/regenerate", {}),
        ("POST", "/title/propose", {}),
        ("PATCH", "", {"title": "no"}),
        ("PATCH", "", {"archived": True}),
        ("PATCH", "", {"pin_order": 1}),
        ("PATCH", "", {"labels": {}}),
    ]
    for given in ({"user_roles": {str(outsider.id): "read"}}, {"group_roles": {group: "read"}}):
        assert (await change(talk.person, chat, **given))[0] == 204
        before = await talk.get(chat), await talk.history(chat)
        for path in reads:
            assert (await outsider.client.get(f"{CHATS}/{chat}{path}")).status_code == 200, path
        assert [each["id"] for each in (await outsider.client.get(f"{CHATS}/{chat}")).json()["children"]] == [
            str(child)
        ]
        assert (await outsider.client.get(f"{CHATS}/{child}")).json()["shared"] is True
        assert (await outsider.client.get(f"{CHATS}/files/{file}")).content == b"# notes"
        assert (await outsider.client.get(CHATS)).json() == []
        for method, path, body in actions:
            refused = await outsider.client.request(method, f"{CHATS}/{chat}{path}", json=body)
            assert (refused.status_code, refused.json()["message"]) == (404, NOT_FOUND), (method, path)
        assert (await change(outsider, chat, user_roles={}))[0] == 403
        assert (await talk.get(chat), await talk.history(chat)) == before
        taken = {name: dict.fromkeys(roles, "") for name, roles in given.items()}
        assert (await change(talk.person, chat, **taken))[0] == 204
        for path in (f"{CHATS}/{chat}", f"{CHATS}/{child}", f"{CHATS}/files/{file}"):
            assert (await outsider.client.get(path)).status_code == 404


async def test_who_leaves_the_group_or_the_organization_reads_no_longer(
    talk: Talk, boss: Person, outsider: Person
) -> None:
    chat, address = await talk.start(), f"{ORGANIZATIONS}/default/members/outsider"
    group = await group_of(boss, "crew", outsider)
    await change(talk.person, chat, group_roles={group: "read"})
    assert (await outsider.client.get(f"{CHATS}/{chat}")).status_code == 200
    await boss.client.patch(f"{GROUPS}/{group}", json={"remove_users": [str(outsider.id)]})
    assert (await outsider.client.get(f"{CHATS}/{chat}")).status_code == 404
    await talk.share(chat, outsider)
    assert (await outsider.client.get(f"{CHATS}/{chat}")).status_code == 200
    left = await boss.client.delete(address)
    assert left.status_code in (200, 204), left.text
    assert (await outsider.client.get(f"{CHATS}/{chat}")).status_code == 404


async def test_whoever_is_gone_is_left_out_and_a_foreign_entry_is_not_shown_as_reading(
    talk: Talk, boss: Person, outsider: Person
) -> None:
    chat = await talk.start()
    group = await group_of(boss, "crew", outsider)
    await change(talk.person, chat, user_roles={str(outsider.id): "read"}, group_roles={group: "read"})
    assert (await boss.client.delete(f"{GROUPS}/{group}")).status_code == 200
    async with talk.api.resources.database.begin() as session:
        await fetch(
            session,
            """UPDATE chats SET user_acl = user_acl || jsonb_build_object(
                   %(boss)s::text, '{"permissions": ["read", "update"]}'::jsonb, 'no-id', '{}'::jsonb,
                   %(nobody)s::text, '{"permissions": ["read"]}'::jsonb)
               WHERE id = %(id)s""",
            {"boss": str(boss.id), "nobody": str(uuid4()), "id": chat},
        )
    shown = await acl(talk.person, chat)
    assert [(user["username"], user["role"]) for user in shown["users"]] == [("boss", ""), ("outsider", "read")]
    assert shown["groups"] == []


async def test_a_repeated_share_under_one_key_is_answered_and_not_done_again(talk: Talk, outsider: Person) -> None:
    chat, body = await talk.start(), {"user_roles": {str(outsider.id): "read"}}
    for replayed in (None, "true"):
        sent = await talk.client.patch(f"{CHATS}/{chat}/acl", json=body, headers={"Idempotency-Key": "share-1"})
        assert (sent.status_code, sent.headers.get("Idempotency-Replayed")) == (204, replayed)
    assert len(await audited(talk.api, chat)) == 1


async def test_of_shares_at_once_none_is_lost(talk: Talk) -> None:
    chat = await talk.start()
    readers = [await talk.api.person(f"reader{number}") for number in range(8)]
    shared, renamed = await asyncio.gather(
        asyncio.gather(*(change(talk.person, chat, user_roles={str(reader.id): "read"}) for reader in readers)),
        talk.client.patch(f"{CHATS}/{chat}", json={"title": "meanwhile"}),
    )
    assert [status for status, _ in shared] == [renamed.status_code] * len(readers) == [204] * len(readers)
    assert {user["id"] for user in (await acl(talk.person, chat))["users"]} == {str(reader.id) for reader in readers}
    assert len(await audited(talk.api, chat)) == len(readers)
    assert (await talk.get(chat))["title"] == "meanwhile"


async def test_reading_an_acl_is_one_round_trip_however_many_are_named(talk: Talk, outsider: Person) -> None:
    chat = await talk.start()
    for roles in ({}, {str(outsider.id): "read"}):
        await change(talk.person, chat, user_roles=roles)
        with trips(talk.api.resources.database) as made:
            await acl(talk.person, chat)
        assert made.count == 1


async def test_who_has_chats_to_share_finds_people_and_groups_by_name_and_no_more(
    talk: Talk, boss: Person, outsider: Person
) -> None:
    here = f"/api/v2/organizations/{talk.api.organization_id}"
    made = await boss.client.post(f"{here}/groups", json={"name": "crew"})
    group = f"/api/v2/groups/{made.json()['id']}"
    await boss.client.patch(group, json={"add_users": [str(outsider.id), str(boss.id)]})
    people = (await talk.client.get(f"{here}/members")).json()
    assert {each["username"] for each in people} >= {"boss", "member", "outsider"}
    assert {(each["email"], *each["roles"], *each["global_roles"]) for each in people} == {("",)}
    groups = (await talk.client.get(f"{here}/groups")).json()
    assert [(each["name"], each["members"], each["total_member_count"]) for each in groups] == [
        ("crew", [], 2),
        ("Everyone", [], len(people)),
    ]
    assert (await talk.client.get(group)).json() == groups[0]
    chat = await talk.start()
    found = next(each["user_id"] for each in people if each["username"] == "outsider")
    assert await change(talk.person, chat, user_roles={found: "read"}, group_roles={groups[0]["id"]: "read"}) == (
        204,
        {},
    )
    for nobody in (outsider, await talk.api.sign_in(talk.person.id, "member", scopes=("chat:read",))):
        for path in ("members", "groups"):
            assert (await nobody.client.get(f"{here}/{path}")).status_code == 403


async def test_a_child_is_shared_as_its_root_is_also_when_it_is_stopped(talk: Talk, outsider: Person) -> None:
    chat = await talk.start()
    child = await child_of(talk.api, chat)
    for shared in (False, True):
        stopped = (await talk.client.post(f"{CHATS}/{child}/interrupt")).json()
        assert (stopped["id"], stopped["shared"], (await talk.get(child))["shared"]) == (str(child), shared, shared)
        await talk.share(chat, outsider)
