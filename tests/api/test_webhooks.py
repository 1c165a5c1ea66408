"""Webhooks: whose they are, what is shown of them, and which changes of chats they hear of."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from models.store import moves, webhooks
from models.store.database import fetch
from models.store.moves import StepRow
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.models.store.chats import ASK

HOOKS = "/api/v2/webhooks"
URL = "https://example.com/hook"


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


@pytest.fixture
async def admin(api: Api) -> Person:
    return await api.person("orgadmin", org_roles=("organization-admin", "agents-access"))


def of_organization(api: Api) -> str:
    return f"/api/v2/organizations/{api.organization_id}/webhooks"


async def made(client: httpx.AsyncClient, path: str = HOOKS, **fields: Any) -> dict[str, Any]:
    response = await client.post(path, json={"url": URL, **fields})
    assert response.status_code == 201, response.text
    hook: dict[str, Any] = response.json()
    return hook


async def events(client: httpx.AsyncClient, hook: dict[str, Any], path: str = HOOKS) -> list[str]:
    """What the endpoint was told, oldest first."""
    response = await client.get(f"{path}/{hook['id']}/deliveries", params={"limit": 200})
    assert response.status_code == 200, response.text
    return [each["event"] for each in reversed(response.json()["deliveries"])]


async def test_a_webhook_is_made_changed_and_deleted_and_its_secret_is_shown_once(api: Api, member: Person) -> None:
    hook = await made(member.client, events=["chat.created", "chat.created"], description="ours")
    secret = hook.pop("secret")
    assert secret.startswith("whsec_")
    assert (hook["events"], hook["enabled"], hook["disabled_reason"]) == (["chat.created"], True, "")
    at = f"{HOOKS}/{hook['id']}"
    assert (await member.client.get(at)).json() == hook
    assert (await member.client.get(HOOKS)).json() == [hook]
    changed = (await member.client.patch(at, json={"enabled": False, "events": [], "url": URL + "2"})).json()
    assert (changed["enabled"], changed["events"], changed["url"]) == (False, [], URL + "2")
    assert changed["description"] == "ours"
    rotated = await member.client.post(f"{at}/rotate-secret")
    assert rotated.status_code == 200
    assert rotated.json()["secret"] not in ("", secret)
    async with api.resources.database.read() as session:
        [row] = await fetch(session, "SELECT * FROM webhook_endpoints")
    assert api.resources.cipher.decrypt(row["previous_secret"]) == secret
    assert secret not in str(row)
    assert (await member.client.delete(at)).status_code == 204
    assert (await member.client.get(at)).status_code == 404


async def test_a_repeated_request_makes_no_second_webhook_and_shows_no_secret_again(member: Person) -> None:
    headers = {"Idempotency-Key": "hook-1"}
    first, again = [await member.client.post(HOOKS, json={"url": URL}, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 409)
    assert len((await member.client.get(HOOKS)).json()) == 1


async def test_a_webhook_that_makes_no_sense_is_refused(member: Person) -> None:
    for body, field in (
        ({}, "url"),
        ({"url": "ftp://x"}, "url"),
        ({"url": URL, "events": ["chat.nothing"]}, "events"),
        ({"url": URL, "description": "x" * 501}, "description"),
    ):
        response = await member.client.post(HOOKS, json=body)
        assert (response.status_code, response.json()["validations"][0]["field"]) == (400, field), body
    for _ in range(webhooks.MOST_ENDPOINTS):
        await made(member.client)
    assert (await member.client.post(HOOKS, json={"url": URL})).status_code == 409


async def test_webhooks_are_their_holders_alone(api: Api, member: Person, admin: Person, owner: Person) -> None:
    mine, ours = await made(member.client), await made(admin.client, of_organization(api))
    assert ours["organization_id"] == str(api.organization_id)
    assert "organization_id" not in mine
    other, elsewhere = await api.person("other"), await api.person("elsewhere", org_roles=None)
    narrow = await api.sign_in(member.id, "member", ("chat:read",))
    for path in ("", "/deliveries"):
        for person in (other, admin, owner):
            assert (await person.client.get(f"{HOOKS}/{mine['id']}{path}")).status_code == 404
        at = f"{of_organization(api)}/{ours['id']}{path}"
        assert [(await each.client.get(at)).status_code for each in (member, elsewhere)] == [403, 404]
        assert (await admin.client.get(f"{HOOKS}/{ours['id']}{path}")).status_code == 404
        assert (await admin.client.get(f"{of_organization(api)}/{mine['id']}{path}")).status_code == 404
    for action in ("rotate-secret", "test", "deliveries/1/replay"):
        assert (await other.client.post(f"{HOOKS}/{mine['id']}/{action}")).status_code == 404
    assert (await other.client.patch(f"{HOOKS}/{mine['id']}", json={"enabled": False})).status_code == 404
    assert (await other.client.delete(f"{HOOKS}/{mine['id']}")).status_code == 404
    assert (await narrow.client.get(HOOKS)).status_code == 403
    assert (await owner.client.get(of_organization(api))).status_code == 200
    assert (await member.client.get(f"{HOOKS}/{mine['id']}")).json()["enabled"] is True


async def test_each_change_of_a_chat_is_told_to_its_owners_webhook(talk: Talk) -> None:
    hook = await made(talk.client)
    chat = await talk.start()
    assert await events(talk.client, hook) == ["chat.created"]
    await talk.answer(chat)
    assert sorted((await events(talk.client, hook))[1:]) == [
        "chat.status_change", "chat.status_change", "chat.summary_change", "chat.turn_finished"
    ]  # fmt: skip
    told = len(await events(talk.client, hook))
    await talk.say(chat, "again")
    await talk.fail(chat)
    assert "chat.turn_failed" in (await events(talk.client, hook))[told:]
    told = len(await events(talk.client, hook))
    assert (await talk.client.patch(f"{CHATS}/{chat}", json={"title": "Named"})).status_code == 204
    await talk.archive(chat)
    assert (await events(talk.client, hook))[told:] == ["chat.title_change", "chat.deleted"]
    fork = await talk.client.post(f"{CHATS}/{chat}/fork", json={})
    assert fork.status_code == 201
    listed = (await talk.client.get(f"{HOOKS}/{hook['id']}/deliveries", params={"limit": 3})).json()
    newest, deleted, named = listed["deliveries"]
    assert (newest["event"], newest["chat_id"]) == ("chat.created", fork.json()["id"])
    assert (deleted["payload"]["data"]["chat"]["archived"], deleted["status"]) == (True, "pending")
    assert named["payload"]["data"]["chat"]["title"] == "Named"
    assert named["payload"]["type"] == "chat.title_change"
    assert listed["has_more"] is True


async def test_a_client_that_is_waited_for_is_told_so(talk: Talk) -> None:
    hook = await made(talk.client, events=["chat.action_required"])
    chat = await talk.start()
    fence = await talk.begin(chat)
    async with talk.api.resources.database.begin() as session:
        await moves.commit_step(session, fence, [StepRow("assistant", [*said("calling"), ASK])])
    assert (await talk.get(chat))["status"] == "requires_action"
    assert await events(talk.client, hook) == ["chat.action_required"]


async def test_an_organizations_webhook_hears_of_all_its_chats_and_a_persons_of_their_own(
    talk: Talk, admin: Person
) -> None:
    path = of_organization(talk.api)
    all_of_them, own = await made(admin.client, path), await made(admin.client)
    disabled = await made(talk.client)
    await talk.client.patch(f"{HOOKS}/{disabled['id']}", json={"enabled": False})
    await talk.start()
    await Talk(talk.api, admin).start()
    assert await events(admin.client, all_of_them, path) == ["chat.created"] * 2
    assert await events(admin.client, own) == ["chat.created"]
    assert await events(talk.client, disabled) == []


async def test_what_is_rolled_back_is_not_told(talk: Talk) -> None:
    hook = await made(talk.client)
    body = {"organization_id": str(talk.api.organization_id), "content": said("x")}
    for extra in ({"model_config_id": str(uuid4())}, {"labels": {"": "x"}}):
        assert (await talk.client.post(CHATS, json=body | extra)).status_code == 400
    assert await events(talk.client, hook) == []


async def test_the_log_is_read_page_by_page_and_an_event_is_sent_again(talk: Talk) -> None:
    hook = await made(talk.client)
    at = f"{HOOKS}/{hook['id']}"
    sent = [(await talk.client.post(f"{at}/test")).json() for _ in range(3)]
    assert {each["event"] for each in sent} == {"webhook.test"}
    page = (await talk.client.get(f"{at}/deliveries", params={"limit": 2})).json()
    rest = (await talk.client.get(f"{at}/deliveries", params={"before_id": page["deliveries"][-1]["id"]})).json()
    ids = [each["id"] for each in page["deliveries"] + rest["deliveries"]]
    assert ids == [each["id"] for each in reversed(sent)]
    assert (page["has_more"], rest["has_more"]) == (True, False)
    async with talk.api.resources.database.begin() as session:
        await fetch(session, "UPDATE webhook_deliveries SET status = 'failed', attempts = 8, finished_at = now()")
    again = await talk.client.post(f"{at}/deliveries/{ids[0]}/replay")
    assert again.status_code == 202
    assert (again.json()["status"], again.json()["attempts"]) == ("pending", 0)
    assert again.json()["message_id"] == sent[-1]["message_id"]
    for number, status in (("0", 400), ("x", 400), (str(2**62), 404)):
        assert (await talk.client.post(f"{at}/deliveries/{number}/replay")).status_code == status
    assert (await talk.client.get(f"{at}/deliveries", params={"limit": 0})).status_code == 400
    other = await made(talk.client)
    assert (await talk.client.post(f"{HOOKS}/{other['id']}/deliveries/{ids[0]}/replay")).status_code == 404


async def test_deliveries_that_are_due_are_claimed_once_and_again_when_nothing_came_of_it(talk: Talk) -> None:
    hook = await made(talk.client)
    database = talk.api.resources.database
    database.bell = None  # it would claim them first
    await talk.start()
    async with database.begin() as session:
        [first] = await webhooks.claim_due(session, 10)
        assert first.endpoint_id == UUID(hook["id"])
        assert await webhooks.claim_due(session, 10) == []
    async with database.begin() as session:
        await fetch(session, "UPDATE webhook_deliveries SET due_at = now() - interval '1 s'")
        assert await webhooks.claim_due(session, 10) == [first]


async def test_an_endpoint_that_goes_takes_its_log_along_and_harms_no_chat(talk: Talk) -> None:
    hook = await made(talk.client)
    chat = await talk.start()
    assert (await talk.client.delete(f"{HOOKS}/{hook['id']}")).status_code == 204
    await talk.answer(chat)
    async with talk.api.resources.database.read() as session:
        assert await fetch(session, "SELECT id FROM webhook_deliveries") == []
