"""MCP servers: who may configure them, what may be stored, what is shown to whom, and which of them chats may name."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from models.store.database import fetch
from tests.api.conftest import Api, Person

SERVERS = "/api/experimental/mcp/servers"
CHATS = "/api/experimental/chats"
SECRET = "planted-secret-0123456789"
PLAIN: dict[str, Any] = {
    "display_name": " Tracker ",
    "slug": "tracker",
    "transport": "streamable_http",
    "url": "https://tracker.example/mcp",
    "auth_type": "none",
    "availability": "default_off",
    "enabled": True,
    "tool_allow_list": [" look ", "", "look"],
}
OAUTH = {
    "auth_type": "oauth2",
    "oauth2_client_id": "us",
    "oauth2_client_secret": SECRET,
    "oauth2_auth_url": "https://auth.example/authorize",
    "oauth2_token_url": "https://auth.example/token",
    "oauth2_scopes": "read",
}
API_KEY = {"auth_type": "api_key", "api_key_header": "X-Key", "api_key_value": SECRET}
HEADERS = {"auth_type": "custom_headers", "custom_headers": {"X-One": SECRET}}


async def made(owner: Person, **change: Any) -> dict[str, Any]:
    response = await owner.client.post(SERVERS, json={**PLAIN, **change})
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_a_server_is_shown_in_the_documented_shape_under_both_prefixes(owner: Person, member: Person) -> None:
    server = await made(owner)
    assert server["display_name"] == "Tracker"
    assert server["tool_allow_list"] == ["look"]
    assert set(server) == {
        "id", "display_name", "slug", "description", "icon_url", "transport", "url", "auth_type", "has_oauth2_secret",
        "has_api_key", "has_custom_headers", "tool_allow_list", "tool_deny_list", "availability", "enabled",
        "model_intent", "allow_in_plan_mode", "forward_coder_headers", "trust_annotations", "created_at", "updated_at",
        "auth_connected",
    }  # fmt: skip
    for person in (owner, member):
        for prefix in (SERVERS, "/api/v2/mcp/servers"):
            assert (await person.client.get(prefix)).json() == [server]
            assert (await person.client.get(f"{prefix}/{server['id']}")).json() == server


async def test_secrets_go_in_and_never_come_out_and_only_admins_see_how_people_sign_in(
    api: Api, owner: Person, member: Person
) -> None:
    admins = {"oauth2_client_id", "oauth2_auth_url", "oauth2_token_url", "oauth2_scopes", "api_key_header"}
    auditor = await api.person("auditor", site_roles=("auditor",))
    kinds = ((OAUTH, "has_oauth2_secret"), (API_KEY, "has_api_key"), (HEADERS, "has_custom_headers"))
    for place, (kind, has) in enumerate(kinds):
        server = await made(owner, slug=f"s{place}", **kind)
        assert [name for name in server if name.startswith("has_") and server[name]] == [has]
        assert set(server) & admins == set(kind) & admins
        shown = await auditor.client.get(f"{SERVERS}/{server['id']}")
        assert shown.json() == server
        redacted = (await member.client.get(f"{SERVERS}/{server['id']}")).json()
        assert redacted == {name: value for name, value in server.items() if name not in admins}
        assert redacted["auth_connected"] is (kind is not OAUTH)
    assert SECRET not in (await owner.client.get(SERVERS)).text
    async with api.resources.database.read() as session:
        stored = await fetch(session, "SELECT * FROM mcp_server_configs", {})
        logged = await fetch(session, "SELECT diff FROM audit_logs WHERE resource_type = 'mcp_server_config'", {})
    assert SECRET not in str(stored) + str(logged)
    assert len(logged) == len(kinds)


async def test_a_disabled_server_is_there_for_those_only_who_may_read_the_settings(
    owner: Person, member: Person
) -> None:
    server = await made(owner, enabled=False)
    assert (await member.client.get(SERVERS)).json() == []
    assert (await member.client.get(f"{SERVERS}/{server['id']}")).status_code == 404
    assert (await owner.client.get(SERVERS)).json() == [server]
    for asked in (
        member.client.post(SERVERS, json=PLAIN),
        member.client.patch(f"{SERVERS}/{server['id']}", json={"enabled": True}),
        member.client.delete(f"{SERVERS}/{server['id']}"),
    ):
        assert (await asked).status_code == 403


NONSENSE: list[tuple[dict[str, Any], str]] = [
    *(({name: " "}, name) for name in ("display_name", "slug", "transport", "url", "auth_type", "availability")),
    ({"transport": "stdio"}, "transport"),
    ({"auth_type": "magic"}, "auth_type"),
    ({"availability": "sometimes"}, "availability"),
    *(({"slug": slug}, "slug") for slug in ("A", "a_b", "a--b", "-a", "x" * 41)),
    *(
        ({"url": url}, "url")
        for url in ("tracker", "ftp://x/", "http://", "http://u:p@x/", "http://x/#f", "http://x:y/")
    ),
    ({"icon_url": "javascript:alert(1)"}, "icon_url"),
    ({**OAUTH, "oauth2_token_url": ""}, "oauth2_token_url"),
    ({**OAUTH, "oauth2_auth_url": "nowhere"}, "oauth2_auth_url"),
    ({**API_KEY, "api_key_value": ""}, "api_key_value"),
    ({**API_KEY, "api_key_header": "X Key"}, "api_key_header"),
    ({**API_KEY, "api_key_header": "Host"}, "api_key_header"),
    ({**API_KEY, "api_key_value": "a\r\nb: c"}, "api_key_header"),
    ({**HEADERS, "custom_headers": {}}, "custom_headers"),
    ({**HEADERS, "custom_headers": {"Mcp-Session-Id": "x"}}, "custom_headers"),
    ({"tool_deny_list": [str(number) for number in range(501)]}, "tool_deny_list"),
]


async def test_a_field_that_makes_no_sense_is_named_and_nothing_is_written(owner: Person) -> None:
    server = await made(owner)
    for change, field in NONSENSE:
        new = await owner.client.post(SERVERS, json={**PLAIN, "slug": "new", **change})
        old = await owner.client.patch(f"{SERVERS}/{server['id']}", json=change)
        for response in (new, old):
            assert response.status_code == 400, (change, response.text)
            assert field in [each["field"] for each in response.json()["validations"]], change
    taken = await owner.client.post(SERVERS, json=PLAIN)
    other = await made(owner, slug="other")
    moved = await owner.client.patch(f"{SERVERS}/{other['id']}", json={"slug": "tracker"})
    assert (taken.status_code, moved.status_code) == (409, 409)
    assert {each["id"]: each for each in (await owner.client.get(SERVERS)).json()}[server["id"]] == server


async def test_another_kind_of_sign_in_clears_what_belonged_to_the_old_one(api: Api, owner: Person) -> None:
    server = await made(owner, **OAUTH)
    changed = (await owner.client.patch(f"{SERVERS}/{server['id']}", json=API_KEY)).json()
    assert (changed["auth_type"], changed["has_api_key"], changed["has_oauth2_secret"]) == ("api_key", True, False)
    assert "oauth2_client_id" not in changed
    kept = (await owner.client.patch(f"{SERVERS}/{server['id']}", json={"display_name": "New"})).json()
    assert (kept["display_name"], kept["has_api_key"], kept["api_key_header"]) == ("New", True, "X-Key")
    without = await owner.client.patch(f"{SERVERS}/{server['id']}", json={"auth_type": "custom_headers"})
    assert without.status_code == 400


async def test_chats_name_servers_that_exist_and_forget_those_that_are_deleted(
    api: Api, owner: Person, member: Person
) -> None:
    one, two = [(await made(owner, slug=slug))["id"] for slug in ("one", "two")]
    nowhere = str(uuid4())
    asked = {"organization_id": str(api.organization_id), "content": [{"type": "text", "text": "hi"}]}
    refused = await member.client.post(CHATS, json={**asked, "mcp_server_ids": [one, nowhere]})
    assert (refused.status_code, refused.json()["detail"]) == (400, f"Invalid IDs: {nowhere}")
    chat = (await member.client.post(CHATS, json={**asked, "mcp_server_ids": [one, two, one]})).json()
    assert chat["mcp_server_ids"] == [one, two]

    async def named() -> Any:
        return (await member.client.get(f"{CHATS}/{chat['id']}")).json()["mcp_server_ids"]

    async def send(**more: Any) -> int:
        said = {"content": asked["content"], **more}
        return (await member.client.post(f"{CHATS}/{chat['id']}/messages", json=said)).status_code

    assert (await send(), await named()) == (200, [one, two]), "absent keeps them"
    assert (await send(mcp_server_ids=[two]), await named()) == (200, [two]), "also when the message is queued"
    assert (await send(mcp_server_ids=[nowhere]), await named()) == (400, [two])
    assert (await owner.client.delete(f"{SERVERS}/{two}")).status_code == 204
    assert await named() == []
    assert (await send(mcp_server_ids=[]), await named()) == (200, [])
    assert (await owner.client.delete(f"{SERVERS}/{two}")).status_code == 404


async def test_a_chat_that_explores_keeps_the_servers_that_it_began_with(
    api: Api, owner: Person, member: Person
) -> None:
    one = (await made(owner))["id"]
    asked = {"organization_id": str(api.organization_id), "content": [{"type": "text", "text": "hi"}]}
    chat = (await member.client.post(CHATS, json={**asked, "mcp_server_ids": [one]})).json()
    async with api.resources.database.begin() as session:
        await fetch(session, "UPDATE chats SET mode = 'explore' WHERE id = %(id)s", {"id": UUID(chat["id"])})
    said = {"content": asked["content"], "mcp_server_ids": []}
    assert (await member.client.post(f"{CHATS}/{chat['id']}/messages", json=said)).status_code == 200
    assert (await member.client.get(f"{CHATS}/{chat['id']}")).json()["mcp_server_ids"] == [one]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, "does not use OAuth2"),
        ({**OAUTH, "enabled": False}, "not enabled"),
    ],
)
async def test_signing_in_needs_somewhere_to_sign_in(owner: Person, change: dict[str, Any], told: str) -> None:
    server = await made(owner, **change)
    response = await owner.client.get(f"{SERVERS}/{server['id']}/oauth2/connect")
    assert response.status_code == 400
    assert told in response.json()["message"]
