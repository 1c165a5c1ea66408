"""Every route that changes something is told of in the audit log, or stands here with the reason why not (admin.md 5).

To add a route, add its handler to `api.audited.AUDITED`, or to RECORDS if it records an entry itself, or to UNTOLD.
"""

from typing import Any
from uuid import UUID

from fastapi.routing import APIRoute

from api.app import create_app
from api.audited import AUDITED, CHANGING_GETS
from api.caller import SAFE_METHODS
from models.settings import Settings
from models.store.database import fetch
from tests.api.conftest import Api, Person, api, owner, settings

__all__ = ["api", "owner", "settings"]

RECORDS = {
    "create_chat": "create chat",
    "patch_chat": "write chat",
    "patch_chat_acl": "write chat",
    "fork_chat": "create chat",
    "import_chat": "create chat",
    "create_provider": "create ai_provider",
    "update_provider": "write ai_provider",
    "delete_provider": "delete ai_provider",
    "set_user_provider_key": "create or write user_ai_provider_key",
    "delete_user_provider_key": "delete user_ai_provider_key",
    "login": "login session, also one that is refused",
    "oidc_callback": "login user, also one that is refused",
    "set_login_type": "write user",
    "unlock_user": "unlock user",
    "end_session": "delete session",
    "end_all_sessions": "delete session",
    "create_organization_role": "create role",
    "update_organization_role": "write role",
    "delete_organization_role": "delete role",
    "create_mcp_server": "create mcp_server_config",
    "update_mcp_server": "write mcp_server_config",
    "delete_mcp_server": "delete mcp_server_config",
}
"""Handlers that know what an entry should say better than the table could."""

_TRANSCRIPT = "the transcript keeps it, with who wrote it and when"
UNTOLD = {
    "send_message": _TRANSCRIPT,
    "edit_message": _TRANSCRIPT,
    "submit_tool_results": _TRANSCRIPT,
    "compact_chat": _TRANSCRIPT,
    "interrupt_chat": "it stops a turn of one's own and changes nothing that anybody may see or spend",
    "delete_queued_message": "a message that was never part of the chat",
    "promote_queued_message": _TRANSCRIPT,
    "regenerate_title": "a title in a model's words; titles are secret, and nobody's rights depend on them",
    "propose_title": "it changes nothing",
    "validate_password": "it changes nothing",
    "try_provider": "it changes nothing",
    "put_diff_status": "what a repository says of itself",
    "upload_file": "files are linked, and so told of, by the messages that name them",
    "bring_file": "an agent's answer to a tool call, which the transcript keeps",
    "set_inbox_notification_read_status": "whether somebody has read a notice",
    "send_test": "a test changes nothing; the webhook's own log keeps it",
    "speak_mcp": "what its tools ask is told as the requests that it is",
    "test_webpush": "a test changes nothing",
    "_legacy": "the routes are gone: 410",
}


def changing(settings: Settings) -> dict[str, APIRoute]:
    return {
        route.endpoint.__name__: route
        for route in create_app(settings).routes
        if isinstance(route, APIRoute)
        and (set(route.methods) - SAFE_METHODS or route.endpoint.__name__ in CHANGING_GETS)
    }


def test_each_route_that_changes_something_is_told_of_or_has_a_reason(settings: Settings) -> None:
    routes = changing(settings)
    held = [*AUDITED, *RECORDS, *UNTOLD]
    assert sorted(routes) == sorted(held)
    assert len(held) == len(set(held))
    for name, kind in AUDITED.items():
        parameters = {field.name for field in routes[name].dependant.path_params}
        assert not kind.of or kind.of in parameters or "{" + kind.of + "}" in routes[name].path, name


async def told(api: Api, user_id: UUID) -> list[dict[str, Any]]:
    async with api.resources.database.read() as session:
        return await fetch(
            session,
            "SELECT * FROM audit_logs WHERE user_id = %(user)s ORDER BY time, id",
            {"user": user_id},
        )


ORGANIZATION = "/api/v2/organizations"
USER = {"username": "grace", "email": "grace@example.com", "password": "SomethingSecret1!"}


async def test_what_is_done_is_told_once_with_whom_from_where_and_without_secrets(api: Api, owner: Person) -> None:
    client, here = owner.client, str(api.organization_id)
    client.headers["user-agent"] = "law/1"

    async def done(method: str, path: str, json: Any = None, **headers: str) -> Any:
        answer = await client.request(method, path, json=json, headers=headers)
        assert answer.is_success, (path, answer.text)
        return answer.json() if answer.content else None

    grace = await done("POST", "/api/v2/users", {**USER, "organization_ids": [here]})
    await done("PUT", f"/api/v2/users/{grace['id']}/roles", {"roles": ["auditor"]})
    await done("PUT", "/api/v2/users/grace/status/suspend")
    await done("PUT", "/api/v2/users/grace/status/activate")
    await done("PUT", "/api/v2/users/grace/password", {"password": "SomethingElse2!"})
    made = await done("POST", "/api/v2/users/grace/keys/tokens", {"token_name": "ci", "scopes": ["chat:read"]})
    await done("PUT", f"{ORGANIZATION}/default/members/grace/roles", {"roles": ["agents-access"]})
    group = {"name": "crew", "display_name": "Crew"}
    for _ in range(2):
        crew = await done("POST", f"{ORGANIZATION}/{here}/groups", group, **{"Idempotency-Key": "once"})
    await done("PATCH", f"/api/v2/groups/{crew['id']}", {"display_name": "The crew", "add_users": [grace["id"]]})
    await done("DELETE", f"/api/v2/groups/{crew['id']}")
    hook = await done("POST", "/api/v2/webhooks", {"url": "https://hooks.example.com/x?key=hidden"})
    await done("POST", f"/api/v2/webhooks/{hook['id']}/rotate-secret")
    await done("PUT", "/api/v2/chats/config/auto-archive-days", {"auto_archive_days": 9})
    await done("PUT", "/api/v2/chats/config/system-prompt", {"system_prompt": "hidden in a prompt"})
    await done("DELETE", f"{ORGANIZATION}/default/members/grace")
    await done("DELETE", "/api/v2/users/grace")
    refused = await client.put("/api/v2/chats/config/auto-archive-days", json={"auto_archive_days": -1})
    assert refused.status_code == 400
    await done("POST", "/api/v2/users/logout")

    rows = await told(api, owner.id)
    assert [(row["action"], row["resource_type"], row["resource_target"], row["status_code"]) for row in rows] == [
        ("create", "user", "grace", 201),
        ("write", "user", "grace", 200),
        ("suspend", "user", "grace", 200),
        ("activate", "user", "grace", 200),
        ("write", "user", "grace", 204),
        ("create", "api_key", rows[5]["resource_target"], 201),
        ("write", "organization_member", "grace", 200),
        ("create", "group", "crew", 201),
        ("write", "group", "crew", 200),
        ("delete", "group", "crew", 200),
        ("create", "webhook", hook["id"][:8], 201),
        ("rotate", "webhook", hook["id"][:8], 200),
        ("write", "setting", "auto-archive-days", 204),
        ("write", "setting", "system-prompt", 204),
        ("delete", "organization_member", "grace", 204),
        ("delete", "user", "grace", 200),
        ("logout", "session", owner.username, 200),
    ]
    assert {(row["ip"], row["user_agent"], bool(row["request_id"])) for row in rows} == {("127.0.0.1", "law/1", True)}
    assert rows[1]["diff"] == {"roles": {"old": [], "new": ["auditor"], "secret": False}}
    assert rows[4]["diff"] == {"password": {"old": "", "new": "", "secret": True}}
    assert rows[8]["diff"]["display_name"] == {"old": "Crew", "new": "The crew", "secret": False}
    assert rows[12]["diff"] == {"auto_archive_days": {"old": 0, "new": 9, "secret": False}}
    within = [row["organization_id"] for row in rows if row["resource_type"] in ("group", "organization_member")]
    assert set(within) == {api.organization_id}
    for secret in ("Something", "hidden", made["key"], hook["secret"]):
        assert secret not in str(rows)


async def test_who_comes_in_and_who_does_not_is_told(api: Api, owner: Person) -> None:
    await owner.client.post("/api/v2/users", json={**USER, "organization_ids": [str(api.organization_id)]})
    for email, password, status in (
        ("grace@example.com", USER["password"], 201),
        ("grace@example.com", "wrong", 401),
        ("a password, typed into the wrong field", "x", 401),
    ):
        answer = await owner.client.post("/api/v2/users/login", json={"email": email, "password": password})
        assert answer.status_code == status
    found = (await owner.client.get("/api/v2/audit", params={"q": "action:login"})).json()["audit_logs"]
    assert [(each["status_code"], (each["user"] or {}).get("username")) for each in found] == [
        (401, None),
        (401, "grace"),
        (201, "grace"),
    ]
    assert "typed" not in str(found)
