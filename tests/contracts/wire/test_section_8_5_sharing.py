"""wire-api.md 8.5 and 2.17: sharing a chat."""

from typing import Any
from uuid import UUID

import pytest

from tests.api.talk import said
from tests.contracts.wire import golden
from tests.contracts.wire.world import NOWHERE, World, forbidden, not_found, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID = "Invalid request to update chat ACL."


async def shared(world: World, **roles: Any) -> UUID:
    """A chat of the member's that the other one may read."""
    chat = await world.talk.start()
    change = {"user_roles": {str(world.other.id): "read"}, **roles}
    response = await world.ask("PATCH", f"/{chat}/acl", change)
    assert (response.status_code, response.content) == (204, b"")
    return chat


async def test_8_5_a_chat_is_shared_with_people_and_groups_and_taken_back(world: World) -> None:
    chat = await shared(world, group_roles={world.organization: "read"})
    shown = (await world.ask("GET", f"/{chat}/acl")).json()
    [user], [group] = shown["users"], shown["groups"]
    assert (user["id"], user["username"], user["role"]) == (str(world.other.id), "other", "read")
    assert (group["id"], group["name"], group["role"]) == (world.organization, "Everyone", "read")
    assert not group.get("members")
    golden.same("acl", {**shown, "groups": [{**group, "total_member_count": 6}]})
    assert (await world.talk.get(chat))["shared"] is True
    change = {"user_roles": {str(world.other.id): ""}, "group_roles": {world.organization: ""}}
    assert (await world.ask("PATCH", f"/{chat}/acl", change)).status_code == 204
    assert (await world.ask("GET", f"/{chat}/acl")).json() == {"users": [], "groups": []}
    assert (await world.talk.get(chat))["shared"] is False


async def test_8_5_what_is_absent_stays(world: World) -> None:
    chat = await shared(world)
    for change in ({}, {"group_roles": {world.organization: "read"}}, {"group_roles": {world.organization: ""}}):
        assert (await world.ask("PATCH", f"/{chat}/acl", change)).status_code == 204
        assert len((await world.ask("GET", f"/{chat}/acl")).json()["users"]) == 1


@pytest.mark.parametrize("path", ["", "/messages", "/prompts", "/cost", "/acl", "/diff"])
async def test_8_5_a_reader_reads(world: World, path: str) -> None:
    chat = await shared(world)
    assert (await world.ask("GET", f"/{chat}{path}", by=world.other)).status_code == 200
    not_found(await world.ask("GET", f"/{chat}{path}", by=world.outsider))


async def test_8_5_a_reader_sees_children_by_their_roots_list(world: World) -> None:
    root, child = await world.family()
    change = {"user_roles": {str(world.other.id): "read"}}
    assert (await world.ask("PATCH", f"/{root}/acl", change)).status_code == 204
    shown = (await world.ask("GET", f"/{child}", by=world.other)).json()
    assert (shown["id"], shown["shared"]) == (str(child), True)
    message, detail = "Chat ACLs can only be set on root chats.", f"Target the root chat (id: {root}) instead."
    refused(await world.ask("PATCH", f"/{child}/acl", change), 400, message, detail)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"title": "mine"}),
        ("PATCH", "", {"archived": True}),
        ("PATCH", "", {"pin_order": 1}),
        ("POST", "/messages", {"content": said("x")}),
        ("PATCH", "/messages/1", {"content": said("x")}),
        ("POST", "/queue/1/promote", None),
        ("DELETE", "/queue/1", None),
        ("POST", "/interrupt", None),
        ("POST", "/tool-results", {"results": []}),
        ("POST", "/title/regenerate", None),
    ],
)
async def test_8_5_a_reader_changes_nothing(world: World, method: str, path: str, body: Any) -> None:
    chat = await shared(world)
    not_found(await world.ask(method, f"/{chat}{path}", body, by=world.other))


async def test_8_5_who_may_not_share_is_refused(world: World) -> None:
    chat = await shared(world)
    change = {"user_roles": {str(world.outsider.id): "read"}}
    forbidden(await world.ask("PATCH", f"/{chat}/acl", change, by=world.other))
    not_found(await world.ask("PATCH", f"/{chat}/acl", change, by=world.outsider))
    assert (await world.ask("PATCH", f"/{chat}/acl", change, by=world.boss)).status_code == 204


async def test_8_5_nobody_changes_their_own_role(world: World) -> None:
    chat = await world.talk.start()
    change = {"user_roles": {str(world.member.id): "read"}}
    refused(await world.ask("PATCH", f"/{chat}/acl", change), 400, "Cannot change your own chat sharing role.")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"user_roles": {"nonsense": "read"}}, "user_roles"),
        ({"user_roles": {NOWHERE: "read"}}, "user_roles"),
        ({"group_roles": {"nonsense": "read"}}, "group_roles"),
        ({"group_roles": {NOWHERE: "read"}}, "group_roles"),
    ],
)
async def test_8_5_unknown_people_and_groups_are_told_by_field(world: World, change: Any, field: str) -> None:
    chat = await world.talk.start()
    response = await world.ask("PATCH", f"/{chat}/acl", change)
    refused(response, 400, INVALID, None, "*")
    assert {each["field"] for each in response.json()["validations"]} == {field}


async def test_8_5_a_role_that_there_is_not(world: World) -> None:
    chat = await world.talk.start()
    change = {"user_roles": {str(world.other.id): "write"}}
    validations = [("user_roles", 'role "write" is not a valid chat role')]
    refused(await world.ask("PATCH", f"/{chat}/acl", change), 400, INVALID, None, validations)
    assert (await world.ask("GET", f"/{chat}/acl")).json() == {"users": [], "groups": []}
