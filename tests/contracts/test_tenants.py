"""Two organizations on one deployment: whoever governs the one reaches nothing of the other, by no route, by no id.

The routes are those of the OpenAPI document, so a new one is asked as well. A path parameter that names something of a
tenant has its value in `Tenant.names`; one that does not is in DEPLOYMENT.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from models.store import agents, people, templates, workspaces
from models.store.database import fetch
from models.tables.debug import DebugRun
from models.tables.governance import InboxNotification
from models.tables.rows import metadata
from models.tables.webhooks import WebhookDelivery
from tests.api.conftest import Api, Person, api, settings
from tests.api.talk import CHATS, said
from tests.contracts.test_authorization import _status
from tests.contracts.test_routes import filled, routes
from tests.places import ended
from tests.seeds import insert

__all__ = ["api", "settings"]

# Words and numbers that name nothing by themselves.
PLAIN = {"scope": "user", "number": "1", "session": "1"}
# What belongs to the deployment: whoever may have it may have it in every organization.
DEPLOYMENT = frozenset(
    {"ai_provider", "id_or_name", "model_config", "context", "provider_config", "rest", "mcp_server", *PLAIN}
)
V2 = "/api/v2"
# What is not in one's own chat, wherever it may be, is as good as deleted.
NOTHING_THERE = {"DELETE /api/v2/chats/{chat}/queue/{queued_message}": 204}
# Of people who come by, not of what they reach.
SEEN: Mapping[str, frozenset[str]] = {
    "users": frozenset({"last_seen_at"}),
    "api_keys": frozenset({"last_used", "expires_at"}),
}


@dataclass(frozen=True)
class Tenant:
    """An organization with one of everything, and who governs it."""

    boss: Person
    names: dict[str, str]
    """By path parameter: what it is to name to reach something of this organization."""

    @property
    def ids(self) -> set[str]:
        return {each for each in self.names.values() if len(each) > 30}


async def tenant(api: Api, word: str, organization_id: UUID) -> Tenant:
    boss = await api.person(word, org_roles=("organization-admin", "agents-access"), organization_id=organization_id)
    organization = str(organization_id)

    async def made(method: str, path: str, **asked: Any) -> Any:
        response = await boss.client.request(method, path, **asked)
        assert response.is_success, (path, response.text)
        return response.json() if response.content else None

    file = await made("POST", f"{CHATS}/files?organization={organization}", content=b"words", headers=FILE)
    content = [*said("hello"), {"type": "file", "file_id": file["id"]}]
    chat = await made("POST", CHATS, json={"organization_id": organization, "content": content})
    queued = await made("POST", f"{CHATS}/{chat['id']}/messages", json={"content": said("more")})
    history = await made("GET", f"{CHATS}/{chat['id']}/messages")
    branch = {"git_branch": "main", "git_remote_origin": f"https://example.com/{word}.git"}
    await made("PUT", f"{CHATS}/{chat['id']}/diff-status", json=branch)
    group = await made("POST", f"{V2}/organizations/{organization}/groups", json={"name": word})
    await made("POST", f"{V2}/organizations/{organization}/members/roles", json={"name": f"{word}-role"})
    endpoint = {"url": "https://example.com/hook", "events": ["chat.turn_finished"]}
    held = [await made("POST", f"{V2}/{where}webhooks", json=endpoint) for where in ("", f"organizations/{word}/")]
    async with api.resources.database.begin() as session:
        template = await templates.create(session, organization_id, name=word, provisioner="local")
        await templates.add_version(session, template)
        version = (await templates.get(session, template))["active_version_id"]
        place = await workspaces.create(
            session,
            api.resources.cipher,
            organization_id=organization_id,
            owner_id=boss.id,
            name=word,
            template_id=template,
        )
        await ended(session, place.build_id)
        [agent] = await agents.of_builds(session, [place.build_id])
        run = DebugRun(chat_id=UUID(chat["id"]), kind="chat_turn", status="completed")
        await insert(session, run)
        await insert(
            session, *(WebhookDelivery(endpoint_id=UUID(each["id"]), event="chat.turn_finished") for each in held)
        )
        deliveries = await fetch(
            session,
            "SELECT id FROM webhook_deliveries WHERE endpoint_id = ANY(%(ids)s) ORDER BY id",
            {"ids": [UUID(each["id"]) for each in held]},
        )
        sign_in, _ = await people.create_token(session, boss.id, kind="session", lifetime=timedelta(hours=1))
        [token] = await people.tokens(session, boss.id)
        notice = InboxNotification(user_id=boss.id, template="x", title="x", content="x", details={})
        await insert(session, notice)
    names = {
        "user": boss.id,
        "subject": boss.id,
        "keyid": token["id"],
        "session": sign_in,
        "organization": organization,
        "role": f"{word}-role",
        "name": word,
        "group": group["id"],
        "webhook": held[0]["id"],
        "delivery": deliveries[0]["id"],
        "template": template,
        "version": version,
        "workspace": place.workspace_id,
        "agent": agent["id"],
        "build": place.build_id,
        "notification": notice.id,
        "chat": chat["id"],
        "file": file["id"],
        "message": history["messages"][0]["id"],
        "queued_message": queued["queued_message"]["id"],
        "debug_run": run.id,
        "shared_webhook": held[1]["id"],
        "shared_delivery": deliveries[1]["id"],
    }
    return Tenant(boss, {name: str(value) for name, value in names.items()})


FILE = {"Content-Type": "text/plain", "Content-Disposition": 'attachment; filename="words.txt"'}


def asked_routes(api: Api) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    """(method, path, a body that makes sense): of the document, and WebSockets, which it does not tell of."""
    document = api.app.openapi()
    for path, operations in document["paths"].items():
        if path.startswith("/api/experimental/"):
            continue  # test_routes holds that they are the same
        for method, operation in operations.items():
            told = operation.get("requestBody", {}).get("content", {}).get("application/json")
            yield method.upper(), path, told["example"] if told else None
    for method, path, _ in routes():
        if method == "WEBSOCKET" and not path.startswith("/api/experimental/"):
            yield method, path, None


def parameters(path: str) -> list[str]:
    return re.findall(r"{(\w+)", path)


def addresses(path: str, own: Mapping[str, str], other: Mapping[str, str]) -> Iterator[str]:
    """The path with each choice of whose the parameters name, but for that of one's own alone."""
    mine, theirs = dict(own), dict(other)
    if path.startswith(f"{V2}/organizations/") and "{webhook}" in path:
        for each, names in ((mine, own), (theirs, other)):
            each |= {"webhook": names["shared_webhook"], "delivery": names["shared_delivery"]}
    tenants = [each for each in parameters(path) if each not in DEPLOYMENT]
    for choice in itertools.product((False, True), repeat=len(tenants)):
        if any(choice):
            picked = {each: (theirs if foreign else mine)[each] for each, foreign in zip(tenants, choice, strict=True)}
            yield filled(path, **PLAIN, **picked)


def about(body: Mapping[str, Any], own: Mapping[str, str]) -> dict[str, Any]:
    """The body, where it names something by its id with one's own or nothing: it is the path that must not pass."""
    named = {
        key: own[key.removesuffix("_id")] for key in body if key.endswith("_id") and key.removesuffix("_id") in own
    }
    return {
        **{key: value for key, value in body.items() if not key.endswith("_id")},
        **named,
        "template_id": own["template"],
    }


async def digests(api: Api) -> dict[str, str]:
    """Of each table, what is in it."""
    found = {}
    async with api.resources.database.read() as session:
        for table in metadata.sorted_tables:
            kept = [each.name for each in table.columns if each.name not in SEEN.get(table.name, ())]
            shown = ", ".join(f't."{name}"' for name in kept)
            statement: Any = (
                f"SELECT md5(coalesce(string_agg(r, E'\\n' ORDER BY r), '')) AS digest "
                f'FROM (SELECT ROW({shown})::text AS r FROM "{table.name}" t) AS rows'
            )
            found[table.name] = (await fetch(session, statement))[0]["digest"]
    return found


@pytest.fixture
async def pair(api: Api) -> tuple[Tenant, Tenant]:
    owner = await api.person("founder", org_roles=None, site_roles=("owner",))
    made = [(await owner.client.post(f"{V2}/organizations", json={"name": word})).json() for word in ("ours", "theirs")]
    for each in made:
        await owner.client.delete(f"{V2}/organizations/{each['id']}/members/founder")
    ours, theirs = [await tenant(api, each["name"], UUID(each["id"])) for each in made]
    return ours, theirs


async def test_no_route_answers_or_changes_anything_for_an_id_of_another_organization(
    api: Api, pair: tuple[Tenant, Tenant]
) -> None:
    ours, theirs = pair
    unknown = {each for _, path, _ in asked_routes(api) for each in parameters(path)} - DEPLOYMENT - set(ours.names)
    assert not unknown, "say in `tenant` what these name, or in DEPLOYMENT that they are nobody's"
    before, wrong, asked = await digests(api), [], 0
    for method, path, body in asked_routes(api):
        for address in addresses(path, ours.names, theirs.names):
            status = await _status(api, ours.boss.token, method, address, about(body or {}, ours.names))
            asked += 1
            if status not in (403, 404) and NOTHING_THERE.get(f"{method} {path}") != status:
                wrong.append(f"{method} {path} at {address}: {status}")
    assert not wrong, "\n".join(wrong)
    assert asked > 150
    assert await digests(api) == before


async def test_nothing_that_is_read_tells_of_another_organization(api: Api, pair: tuple[Tenant, Tenant]) -> None:
    ours, theirs = pair
    told = 0
    for method, path, _ in asked_routes(api):
        if method == "GET" and not set(parameters(path)) & DEPLOYMENT and "/stream" not in path:
            response = await ours.boss.client.get(filled(path, **ours.names))
            assert not {each for each in theirs.ids if each in response.text}, path
            told += response.status_code == 200
    assert told > 50


async def test_an_id_of_another_organization_in_a_body_is_as_good_as_none(
    api: Api, pair: tuple[Tenant, Tenant]
) -> None:
    ours, theirs = pair
    mine, its = ours.names, theirs.names
    chat, organization = f"{CHATS}/{mine['chat']}", f"{V2}/organizations/{mine['organization']}"
    file = [{"type": "file", "file_id": its["file"]}]
    place = {"name": "spot", "template_id": its["template"]}
    requests: list[tuple[str, str, dict[str, Any], int]] = [
        ("POST", CHATS, {"organization_id": its["organization"], "content": said("hi")}, 403),
        ("POST", CHATS, {"organization_id": mine["organization"], "content": file}, 400),
        (
            "POST",
            CHATS,
            {"organization_id": mine["organization"], "content": said("hi"), "workspace_id": its["workspace"]},
            400,
        ),
        ("POST", f"{chat}/messages", {"content": file}, 400),
        ("PATCH", chat, {"workspace_id": its["workspace"]}, 400),
        ("PATCH", f"{chat}/acl", {"user_roles": {its["user"]: "read"}}, 400),
        ("PATCH", f"{chat}/acl", {"group_roles": {its["group"]: "read"}}, 400),
        ("POST", f"{chat}/fork", {"message_id": int(its["message"])}, 404),
        (
            "POST",
            f"{V2}/users",
            {"username": "x", "email": "x@example.com", "organization_ids": [its["organization"]]},
            403,
        ),
        ("PATCH", f"{V2}/groups/{mine['group']}", {"add_users": [its["user"]]}, 400),
        ("PUT", f"{organization}/members/me/roles", {"roles": [its["role"]]}, 400),
        ("POST", f"{V2}/users/me/workspaces", place, 400),
        ("POST", f"{organization}/members/me/workspaces", place, 400),
        ("PATCH", f"{V2}/templates/{mine['template']}/versions", {"id": its["version"]}, 404),
        (
            "POST",
            f"{V2}/workspaces/{mine['workspace']}/builds",
            {"transition": "start", "template_version_id": its["version"]},
            404,
        ),
    ]
    before = await digests(api)
    for method, path, body, expected in requests:
        response = await ours.boss.client.request(method, path, content=orjson.dumps(body))
        assert response.status_code == expected, (method, path, body, response.text)
    assert await digests(api) == before
