"""Laws of the audit log of chats: what is told of a chat that is made or changed, and who reads it (admin.md 5)."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.api.test_providers import OPENAI, PROVIDERS

AUDIT = "/api/v2/audit"
MASKED = {"old": "", "new": "", "secret": True}


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def read(person: Person, q: str = "", **query: Any) -> list[dict[str, Any]]:
    answer = await person.client.get(AUDIT, params={"q": q, **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["audit_logs"]
    return found


async def of(person: Person, chat: UUID) -> list[dict[str, Any]]:
    """What is told of a chat, oldest first."""
    return (await read(person, f"resource_id:{chat}"))[::-1]


def shown(old: Any, new: Any) -> dict[str, Any]:
    return {"old": old, "new": new, "secret": False}


async def test_a_new_chat_is_told_of_without_its_title(talk: Talk, owner: Person) -> None:
    made = await talk.client.post(
        CHATS,
        json={
            "organization_id": str(talk.api.organization_id),
            "content": said("hunter2 is my password"),
            "labels": {"team": "red"},
            "plan_mode": "plan",
        },
    )
    chat = made.json()["id"]
    [entry] = await of(owner, UUID(chat))
    assert (entry["action"], entry["resource_type"], entry["status_code"]) == ("create", "chat", 201)
    assert (entry["resource_target"], entry["resource_link"]) == (chat[:8], f"/agents/{chat}")
    assert (entry["user"]["username"], entry["organization"]["name"]) == ("member", "default")
    assert entry["request_id"] == made.headers["x-request-id"]
    assert (entry["description"], entry["is_deleted"]) == ("{user} created chat {target}", False)
    assert entry["diff"] == {
        "id": shown("", chat),
        "owner_id": shown("", str(talk.person.id)),
        "labels": shown({}, {"team": "red"}),
        "plan_mode": shown("", "plan"),
        "title": MASKED,
    }
    assert "hunter2" not in str(entry)


async def test_a_change_is_one_entry_that_shows_what_has_changed(talk: Talk, owner: Person) -> None:
    chat = await talk.start()
    change = {"title": "hunter2", "labels": {"a": "b"}, "pin_order": 7, "plan_mode": "plan"}
    assert (await talk.client.patch(f"{CHATS}/{chat}", json=change)).status_code == 204
    for body in ({"archived": True}, {"archived": False, "plan_mode": ""}):
        assert (await owner.client.patch(f"{CHATS}/{chat}", json=body)).status_code == 204
    _, first, archived, back = await of(owner, chat)
    assert (first["action"], first["status_code"], first["user"]["username"]) == ("write", 204, "member")
    assert first["diff"] == {
        "title": MASKED,
        "labels": shown({}, {"a": "b"}),
        "pin_order": shown(0, 1),
        "plan_mode": shown("", "plan"),
    }
    assert archived["diff"] == {"archived": shown(False, True), "pin_order": shown(1, 0)}
    assert back["diff"] == {"archived": shown(True, False), "plan_mode": shown("plan", "")}
    assert back["user"]["username"] == "admin"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 204),
        ({"title": "hello there", "labels": {}, "pin_order": 0, "plan_mode": ""}, 204),
        ({"title": "new", "archived": False}, 400),
        ({"labels": {"": "x"}}, 400),
    ],
)
async def test_what_changes_nothing_is_not_told(talk: Talk, owner: Person, change: dict[str, Any], status: int) -> None:
    chat = await talk.start()
    assert (await talk.client.patch(f"{CHATS}/{chat}", json=change)).status_code == status
    assert [entry["action"] for entry in await of(owner, chat)] == ["create"]


async def test_a_replayed_request_is_told_once(talk: Talk, owner: Person) -> None:
    asked = {"organization_id": str(talk.api.organization_id), "content": said("hello")}
    for _ in range(2):
        made = await talk.client.post(CHATS, json=asked, headers={"Idempotency-Key": "once"})
        changed = await talk.client.patch(
            f"{CHATS}/{made.json()['id']}", json={"labels": {"a": "b"}}, headers={"Idempotency-Key": "twice"}
        )
        assert (made.status_code, changed.status_code) == (201, 204)
    assert [entry["action"] for entry in await of(owner, UUID(made.json()["id"]))] == ["create", "write"]


async def test_forks_and_imports_are_told_of_as_new_chats(talk: Talk, owner: Person) -> None:
    chat = await talk.start()
    forked = await talk.client.post(f"{CHATS}/{chat}/fork", json={})
    document = (await talk.client.get(f"{CHATS}/{chat}/export")).json()
    asked = {"organization_id": str(talk.api.organization_id), "document": document}
    brought = await talk.client.post(f"{CHATS}/import", json=asked)
    for made in (forked, brought):
        assert made.status_code == 201, made.text
        [entry] = await of(owner, UUID(made.json()["id"]))
        assert (entry["action"], entry["status_code"]) == ("create", 201)
        assert set(entry["diff"]) == {"id", "owner_id", "title"}
        assert entry["request_id"] == made.headers["x-request-id"]


async def test_the_log_is_for_auditors_and_each_organization_has_its_own_part(api: Api, owner: Person) -> None:
    other = UUID((await owner.client.post("/api/v2/organizations", json={"name": "other"})).json()["id"])
    here = await Talk(api, await api.person("here", org_roles=("agents-access",))).start()
    stranger = await api.person("there", org_roles=("agents-access",), organization_id=other)
    asked = {"organization_id": str(other), "content": said("hello")}
    there = (await stranger.client.post(CHATS, json=asked)).json()["id"]
    auditor = await api.person("auditor", org_roles=None, site_roles=("auditor",))
    watcher = await api.person("watcher", org_roles=("organization-auditor",))
    boss = await api.person("boss", organization_id=other, org_roles=("organization-admin",))
    for somebody, seen in (
        (owner, {str(here), there}),
        (auditor, {str(here), there}),
        (watcher, {str(here)}),
        (boss, {there}),
    ):
        assert {entry["resource_id"] for entry in await read(somebody, "resource_type:chat")} == seen, somebody.username
    scoped = await api.sign_in(boss.id, "boss", scopes=("chat:*",))
    for refused in (stranger, scoped, await api.person("clerk", site_roles=("user-admin",))):
        answer = await refused.client.get(AUDIT)
        assert (answer.status_code, answer.json()["message"]) == (403, "Forbidden.")


async def test_entries_are_found_by_what_they_say(talk: Talk, owner: Person) -> None:
    chat = await talk.start()
    made = await talk.client.patch(f"{CHATS}/{chat}", json={"labels": {"a": "b"}})
    await Talk(talk.api, owner).start()
    everything = await read(owner, "resource_type:chat")
    assert len(everything) == 3
    day = everything[0]["time"][:10]
    for q, count in (
        (f"resource_target:{str(chat)[:8]} resource_id:{chat}", 2),
        ("resource_type:chat action:create", 2),
        ("action:WRITE", 1),
        ("username:Member", 2),
        ("email:member@example.com action:create", 1),
        ("organization:default resource_type:chat", 3),
        ("organization:nowhere", 0),
        (f"organization:{talk.api.organization_id} resource_type:chat", 3),
        (f"request_id:{made.headers['x-request-id']}", 1),
        (f"date_from:{day} date_to:{day} resource_type:chat", 3),
        ("date_to:2001-01-01", 0),
        ("date_from:2999-01-01", 0),
        (f"resource_id:{uuid4()}", 0),
    ):
        answer = (await owner.client.get(AUDIT, params={"q": q})).json()
        assert (len(answer["audit_logs"]), answer["count"]) == (count, count), q
    first = (await owner.client.get(AUDIT, params={"q": "resource_type:chat", "limit": 1})).json()
    assert (first["audit_logs"], first["count"]) == (everything[:1], 3)
    assert await read(owner, "resource_type:chat", limit=2, offset=1) == everything[1:]
    assert await read(owner, "resource_type:chat", after_id=everything[0]["id"]) == everything[1:]


async def test_a_search_that_makes_no_sense_is_explained(owner: Person) -> None:
    for q, field, detail in (
        ("word", "q", 'unsupported search term: "word"'),
        ("colour:red", "colour", 'Query param "colour" is not a valid query param'),
        ("resource_id:7", "resource_id", 'Query param "resource_id" must be a valid uuid'),
        ("date_from:today", "date_from", 'Query param "date_from" must be a date such as 2026-06-01'),
        ("date_to:9999-12-31", "date_to", 'Query param "date_to" must be a date such as 2026-06-01'),
        ("action:a action:b", "action", 'Query param "action" provided more than once, found 2 times.'),
    ):
        answer = await owner.client.get(AUDIT, params={"q": q})
        assert answer.status_code == 400, q
        assert answer.json() == {
            "message": "Invalid audit search query.",
            "validations": [{"field": field, "detail": detail}],
        }
    too_many = await owner.client.get(AUDIT, params={"limit": 1001})
    assert (too_many.status_code, too_many.json()) == (400, {"message": "Invalid limit parameter (0-1000)."})


async def test_providers_are_told_of_without_their_secrets(owner: Person) -> None:
    asked = {**OPENAI, "name": "sealed", "base_url": "https://me:hunter2@llm.example.com/v1?key=hunter2"}
    made = await owner.client.post(PROVIDERS, json={**asked, "api_keys": ["sk-hunter2"]})
    path = f"{PROVIDERS}/{made.json()['id']}"
    for change in ({"enabled": False}, {"api_keys": [{"api_key": "sk-hunter2-again"}]}, {"enabled": False}):
        assert (await owner.client.patch(path, json=change)).status_code == 200
    assert (await owner.client.delete(path)).status_code == 204
    gone, key, off, new = await read(owner, "resource_type:ai_provider resource_target:sealed")
    assert [entry["action"] for entry in (new, off, key, gone)] == ["create", "write", "write", "delete"]
    assert [entry["status_code"] for entry in (new, off, key, gone)] == [201, 200, 200, 204]
    assert new["diff"]["base_url"] == shown("", "https://llm.example.com/v1")
    assert (new["diff"]["enabled"], new["diff"]["api_keys"]) == (shown(False, True), MASKED)
    assert (off["diff"], key["diff"]) == ({"enabled": shown(True, False)}, {"api_keys": MASKED})
    assert gone["diff"]["name"] == shown("sealed", "")
    assert (gone["is_deleted"], gone["description"]) == (True, "{user} deleted AI provider {target}")
    assert "hunter2" not in str([gone, key, off, new])


async def test_an_entry_outlives_its_chat_and_says_so(talk: Talk, owner: Person) -> None:
    chat = await talk.start()
    async with talk.api.resources.database.begin() as session:
        await fetch(session, "DELETE FROM chats WHERE id = %(id)s", {"id": chat})
    [entry] = await of(owner, chat)
    assert entry["is_deleted"]
