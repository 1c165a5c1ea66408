"""The same request under the same Idempotency-Key is done once."""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet

from models.store import idempotency
from models.store.database import fetch
from models.store.secrets import Cipher
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


def under(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


async def test_the_same_request_gets_the_same_answer_and_is_done_once(talk: Talk) -> None:
    body = {"organization_id": str(talk.api.organization_id), "content": said("hello <b>")}
    first = await talk.client.post(CHATS, json=body, headers=under("k"))
    again = await talk.client.post(CHATS, json=body, headers=under("k"))
    assert (first.status_code, "idempotency-replayed" in first.headers) == (201, False)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert len((await talk.client.get(CHATS)).json()) == 1


async def test_every_changing_request_can_be_repeated(talk: Talk) -> None:
    chat = await talk.start()
    queued = [(await talk.say(chat, words))["queued_message"]["id"] for words in ("a", "b")]
    [question] = (await talk.history(chat))["messages"]
    requests = [
        ("POST", f"{CHATS}/{chat}/queue/{queued[1]}/promote", None),
        ("POST", f"{CHATS}/{chat}/interrupt", None),
        ("POST", f"{CHATS}/{chat}/messages", {"content": said("c")}),
        ("PATCH", f"{CHATS}/{chat}/messages/{question['id']}", {"content": said("d")}),
    ]
    for number, (method, path, body) in enumerate(requests):
        first = await talk.client.request(method, path, json=body, headers=under(f"k{number}"))
        before = await talk.history(chat)
        again = await talk.client.request(method, path, json=body, headers=under(f"k{number}"))
        assert first.is_success
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert await talk.history(chat) == before


async def test_a_key_belongs_to_one_request_of_one_user(talk: Talk, owner: Person) -> None:
    chat = await talk.start()
    send = f"{CHATS}/{chat}/messages"
    assert (await talk.client.post(send, json={"content": said("a")}, headers=under("k"))).status_code == 200
    other_body = await talk.client.post(send, json={"content": said("b")}, headers=under("k"))
    assert other_body.status_code == 422
    assert other_body.json()["message"] == "Idempotency-Key was used for another request."
    other_path = await talk.client.post(f"{CHATS}/{chat}/interrupt", headers=under("k"))
    assert other_path.status_code == 422
    body = {"organization_id": str(talk.api.organization_id), "content": said("mine")}
    assert (await owner.client.post(CHATS, json=body, headers=under("k"))).status_code == 201
    assert len((await talk.history(chat))["queued_messages"]) == 1


async def test_of_many_at_once_one_is_done_and_the_rest_replay_it_or_are_told_to_wait(talk: Talk) -> None:
    chat = await talk.start()
    send = f"{CHATS}/{chat}/messages"
    responses = await asyncio.gather(
        *(talk.client.post(send, json={"content": said("a")}, headers=under("k")) for _ in range(12))
    )
    done = [response for response in responses if response.status_code == 200]
    assert {response.status_code for response in responses} <= {200, 409}
    assert len({response.content for response in done}) == 1
    assert sum("idempotency-replayed" not in response.headers for response in done) == 1
    assert len((await talk.history(chat))["queued_messages"]) == 1


async def test_a_request_whose_twin_still_runs_is_told_so(talk: Talk) -> None:
    chat = await talk.start()
    claim = idempotency.Claim(talk.person.id, "k", b"any", timedelta(hours=1))
    async with talk.api.resources.database.begin() as session:
        assert await idempotency.claim(session, claim) is None
        response = await talk.client.post(f"{CHATS}/{chat}/interrupt", headers=under("k"))
        assert response.status_code == 409
        assert "still running" in response.json()["message"]
    # It ended without an answer: the key is free again.
    assert (await talk.client.post(f"{CHATS}/{chat}/interrupt", headers=under("k"))).status_code == 200


async def test_a_refused_request_changed_nothing_and_may_be_tried_again(talk: Talk) -> None:
    chat = await talk.start()
    send = f"{CHATS}/{chat}/messages"
    for number in range(20):
        await talk.say(chat, str(number))
    body = {"content": said("late")}
    assert (await talk.client.post(send, json=body, headers=under("k"))).status_code == 429
    await talk.answer(chat)
    retried = await talk.client.post(send, json=body, headers=under("k"))
    assert (retried.status_code, "idempotency-replayed" in retried.headers) == (200, False)


async def test_keys_are_1_to_255_printable_ascii_characters(talk: Talk) -> None:
    chat = await talk.start()
    for key in (b"", b"x" * 256, b"a\tb", "é".encode()):
        response = await talk.client.post(f"{CHATS}/{chat}/interrupt", headers={b"Idempotency-Key": key})
        assert (response.status_code, response.json()["message"]) == (400, "Invalid Idempotency-Key."), key
    response = await talk.client.post(f"{CHATS}/{chat}/interrupt", headers=under("~ " + "x" * 253))
    assert response.status_code == 200


async def test_an_answer_is_forgotten_when_its_time_is_over(talk: Talk) -> None:
    chat = await talk.start()
    interrupt = f"{CHATS}/{chat}/interrupt"
    database, ttl = talk.api.resources.database, talk.api.resources.settings.idempotency_ttl
    for key in ("old", "purged", "new"):
        await talk.client.post(interrupt, headers=under(key))
    async with database.begin() as session:
        await fetch(
            session,
            "UPDATE idempotency_keys SET created_at = now() - %(ttl)s - interval '1 s' WHERE key <> 'new'",
            {"ttl": ttl},
        )
    # Expired but not yet purged: the request is done again, and its new answer is kept.
    assert "idempotency-replayed" not in (await talk.client.post(interrupt, headers=under("old"))).headers
    assert "idempotency-replayed" in (await talk.client.post(interrupt, headers=under("old"))).headers
    async with database.begin() as session:
        assert await idempotency.purge(session, ttl) == 1
        left = await fetch(session, "SELECT key FROM idempotency_keys ORDER BY key")
    assert [row["key"] for row in left] == ["new", "old"]


async def test_an_answer_is_kept_with_the_work_or_not_at_all(talk: Talk) -> None:
    claim = idempotency.Claim(talk.person.id, "k", b"f", timedelta(hours=1))
    database = talk.api.resources.database
    with pytest.raises(RuntimeError):
        async with database.begin() as session:
            await idempotency.claim(session, claim)
            await idempotency.keep(session, claim, 200, b"{}")
            raise RuntimeError("crash before the commit")
    async with database.begin() as session:
        assert await idempotency.claim(session, claim) is None


async def test_what_administrators_change_can_be_repeated(api: Api, owner: Person) -> None:
    client = owner.client
    provider = {"type": "openai", "name": "main", "base_url": "https://api.openai.com/v1", "enabled": True}
    user = {"username": "bob", "email": "bob@example.com", "organization_ids": [str(api.organization_id)]}
    carol = await api.person("carol", org_roles=None)
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/api/v2/users", user | {"password": "a long enough password"}),
        ("POST", "/api/v2/organizations", {"name": "second"}),
        ("POST", f"/api/v2/organizations/{api.organization_id}/members/{carol.id}", None),
        ("POST", "/api/v2/ai/providers", provider),
        ("PATCH", "/api/v2/ai/providers/main", {"api_keys": [{"api_key": "sk-0123456789abcdefghij"}]}),
    ]
    answers = []
    for number, (method, path, body) in enumerate(requests):
        first = await client.request(method, path, json=body, headers=under(f"k{number}"))
        again = await client.request(method, path, json=body, headers=under(f"k{number}"))
        assert first.is_success, first.text
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert "idempotency-replayed" in again.headers
        answers.append(first.json())
    model = {"ai_provider_id": answers[3]["id"], "model": "gpt-x", "context_limit": 1000}
    path = "/api/v2/chats/model-configs"
    first = await client.post(path, json=model, headers=under("m"))
    again = await client.post(path, json=model, headers=under("m"))
    assert (first.status_code, again.content) == (201, first.content)
    change = f"{path}/{first.json()['id']}"
    first = await client.patch(change, json={"display_name": "X"}, headers=under("c"))
    again = await client.patch(change, json={"display_name": "X"}, headers=under("c"))
    assert (first.status_code, again.content) == (200, first.content)
    assert "idempotency-replayed" in again.headers


async def test_a_token_is_made_once_and_never_kept(api: Api, member: Person) -> None:
    path = "/api/v2/users/me/keys/tokens"
    first = await member.client.post(path, json={"token_name": "ci"}, headers=under("k"))
    again = await member.client.post(path, json={"token_name": "ci"}, headers=under("k"))
    assert (first.status_code, again.status_code) == (201, 409)
    assert again.json()["message"] == "A token was made under this Idempotency-Key already."
    other = await member.client.post(path, json={"token_name": "else"}, headers=under("k"))
    assert other.status_code == 422
    assert [each["token_name"] for each in (await member.client.get(path)).json()].count("ci") == 1
    async with api.resources.database.read() as session:
        [kept] = await fetch(session, "SELECT body FROM idempotency_keys")
    assert kept["body"] == b""


async def test_what_is_kept_of_a_request_tells_nothing_without_our_key(api: Api, talk: Talk) -> None:
    chat = await talk.start()
    path = f"{CHATS}/{chat}/interrupt"
    await talk.client.post(path, headers=under("k"))
    async with api.resources.database.read() as session:
        [kept] = await fetch(session, "SELECT fingerprint FROM idempotency_keys")
    assert kept["fingerprint"] != hashlib.sha256(f"POST {path}?\n".encode()).digest()


def test_a_rotated_key_still_knows_its_requests() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    [before] = Cipher(old).fingerprints(b"request")
    newest, older = Cipher(f"{new},{old}").fingerprints(b"request")
    assert older == before != newest
