"""The laws of people's own provider keys: they go in, work, are told of in the audit log, and never come out."""

import logging
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from models.store.database import Row, fetch
from models.store.people import delete as delete_person
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS
from tests.api.talk import said as words
from tests.api.test_providers import OPENAI, PROVIDERS

KEYS = "/api/experimental/users/me/ai-provider-keys"
MINE = "sk-of-my-own-0123456789"


async def add_provider(owner: Person, **change: Any) -> str:
    made = await owner.client.post(PROVIDERS, json={**OPENAI, **change})
    assert made.status_code == 201, made.text
    found: str = made.json()["id"]
    return found


async def put(person: Person, provider: str, key: str = MINE) -> tuple[int, Any]:
    answer = await person.client.put(f"{KEYS}/{provider}", json={"api_key": key})
    return answer.status_code, answer.json()


async def entries(api: Api) -> list[Row]:
    async with api.resources.database.read() as session:
        return await fetch(
            session, "SELECT * FROM audit_logs WHERE resource_type = 'user_ai_provider_key' ORDER BY time, id"
        )


async def of(person: Person, provider: str) -> dict[str, Any] | None:
    listed = (await person.client.get(KEYS)).json()
    return next((each for each in listed if each["provider"]["id"] == provider), None)


async def test_a_key_is_ones_own_and_may_be_replaced_and_deleted(owner: Person, member: Person) -> None:
    provider = await add_provider(owner, display_name="", api_keys=[])
    shown = {
        "provider": {
            "id": provider,
            "type": "openai",
            "name": "main",
            "display_name": "main",
            "enabled": True,
            "deleted": False,
        },
        "has_user_api_key": False,
        "has_provider_api_key": False,
        "byok_enabled": True,
    }
    assert await of(member, provider) == shown
    for key in (MINE, "sk-another"):
        assert await put(member, provider, key) == (200, {**shown, "has_user_api_key": True})
    assert await of(member, provider) == {**shown, "has_user_api_key": True}
    assert await of(owner, provider) == shown
    await owner.client.patch(f"{PROVIDERS}/{provider}", json={"api_keys": [{"api_key": "sk-ours"}]})
    assert await of(member, provider) == {**shown, "has_user_api_key": True, "has_provider_api_key": True}
    for _ in range(2):
        gone = await member.client.delete(f"{KEYS}/{provider}")
        assert (gone.status_code, gone.content) == (204, b"")
    assert await of(member, provider) == {**shown, "has_provider_api_key": True}


async def test_a_provider_may_take_no_keys_of_people_and_may_insist_on_them(owner: Person, member: Person) -> None:
    provider = await add_provider(owner)
    path = f"{PROVIDERS}/{provider}"

    async def offered() -> tuple[bool, Any]:
        entries = (await member.client.get(f"{CHATS}/models")).json()["providers"]
        [entry] = [each for each in entries if each["provider"] == "openai"]
        return entry["available"], entry.get("unavailable_reason")

    assert await offered() == (True, None)
    await owner.client.patch(path, json={"allow_central_api_key_fallback": False})
    assert await offered() == (False, "user_api_key_required")
    assert (await put(member, provider))[0] == 200
    assert await offered() == (True, None)
    await owner.client.patch(path, json={"allow_user_api_key": False, "api_keys": []})
    assert await offered() == (False, "missing_api_key")
    assert await put(member, provider) == (400, {"message": "AI provider does not allow user API keys."})
    kept = await of(member, provider)
    assert kept is not None
    assert (kept["has_user_api_key"], kept["byok_enabled"]) == (True, False)


async def test_both_prefixes_and_all_names_of_a_person_are_the_same(owner: Person, member: Person) -> None:
    provider = await add_provider(owner)
    await put(member, provider)
    listed = (await member.client.get(KEYS)).json()
    for prefix in ("/api/v2/users", "/api/experimental/users"):
        for user in ("me", "member", str(member.id)):
            assert (await member.client.get(f"{prefix}/{user}/ai-provider-keys")).json() == listed


async def test_somebody_elses_keys_are_nobodys_business_but_an_owners(api: Api, owner: Person, member: Person) -> None:
    provider = await add_provider(owner)
    await put(member, provider)
    other = await api.person("other", org_roles=("agents-access",))
    admin = await api.person("useradmin", site_roles=("user-admin",))
    theirs = f"/api/v2/users/{member.id}/ai-provider-keys"
    for person, status in ((other, 404), (admin, 403)):
        assert (await person.client.get(theirs)).status_code == status
        assert (await person.client.put(f"{theirs}/{provider}", json={"api_key": "sk"})).status_code == status
        assert (await person.client.delete(f"{theirs}/{provider}")).status_code == status
    assert (await owner.client.get(f"/api/v2/users/{uuid4()}/ai-provider-keys")).status_code == 404
    assert (await owner.client.delete(f"{theirs}/{provider}")).status_code == 204
    assert (await entries(api))[-1]["user_id"] == owner.id
    scoped = await api.sign_in(member.id, "member", scopes=("chat:*",))
    assert (await scoped.client.put(f"{KEYS}/{provider}", json={"api_key": "sk"})).status_code == 403


async def test_a_provider_that_is_off_keeps_its_keys_and_takes_no_new_ones(owner: Person, member: Person) -> None:
    provider = await add_provider(owner)
    await put(member, provider)
    await owner.client.patch(f"{PROVIDERS}/{provider}", json={"enabled": False})
    assert await put(member, provider, "sk-new") == (412, {"message": "AI provider is disabled."})
    kept = await of(member, provider)
    assert kept is not None
    assert (kept["provider"]["enabled"], kept["has_user_api_key"]) == (False, True)
    assert await of(owner, provider) is None
    assert (await owner.client.delete(f"{PROVIDERS}/{provider}")).status_code == 204
    assert await of(member, provider) is None
    assert await put(member, provider) == (404, {"message": "AI provider not found."})


async def test_what_is_no_key_or_no_provider_is_refused(owner: Person, member: Person) -> None:
    provider = await add_provider(owner)
    too_large = {
        "message": "API key too large.",
        "detail": "API key exceeds maximum size of 10 KB (10240 bytes)",
    }
    for key, said in (
        ("x" * 10_241, too_large),
        ("", {"message": "API key is required."}),
        ("  ", {"message": "API key is required."}),
        (f" {MINE}", {"message": "API key must not contain leading or trailing whitespace."}),
        (f"{MINE}\n", {"message": "API key must not contain leading or trailing whitespace."}),
        ("sk\r\nx-injected: 1", {"message": "API key must be printable ASCII."}),
        ("sk-ключ", {"message": "API key must be printable ASCII."}),
    ):
        assert await put(member, provider, key) == (400, said)
    assert await put(member, provider, "x" * 10_240) == (200, await of(member, provider))
    for body in (b"", b"{", b"[]"):
        assert (await member.client.put(f"{KEYS}/{provider}", content=body)).status_code == 400
    refused = await member.client.put(f"{KEYS}/main", json={"api_key": MINE})
    assert (refused.status_code, refused.json()["message"]) == (400, "Invalid AI provider ID.")
    assert (await member.client.delete(f"{KEYS}/main")).status_code == 400
    assert await put(member, str(uuid4())) == (404, {"message": "AI provider not found."})
    assert (await member.client.delete(f"{KEYS}/{uuid4()}")).status_code == 204


async def test_a_key_is_told_of_in_the_audit_log_and_found_nowhere_in_the_open(
    api: Api, owner: Person, member: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = await add_provider(owner)
    answers = [await member.client.put(f"{KEYS}/{provider}", json={"api_key": key}) for key in (MINE, f"{MINE}-2")]
    answers += [await member.client.get(KEYS), await owner.client.get(f"/api/v2/users/{member.id}/ai-provider-keys")]
    async with await psycopg.AsyncConnection.connect(api.resources.database.url) as connection:
        tables = await (
            await connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ).fetchall()
        for (table,) in tables:
            rows = await (await connection.execute(f'SELECT t::text FROM "{table}" t')).fetchall()
            assert all(MINE not in row[0] for row in rows), table
        [(stored,)] = await (await connection.execute("SELECT api_key FROM user_ai_provider_keys")).fetchall()
    assert api.resources.cipher.decrypt(stored) == f"{MINE}-2"
    await member.client.delete(f"{KEYS}/{provider}")
    await member.client.delete(f"{KEYS}/{provider}")
    told = await entries(api)
    assert [(row["action"], row["status_code"]) for row in told] == [("create", 200), ("write", 200), ("delete", 204)]
    for row in told:
        assert (row["resource_id"], row["resource_target"]) == (UUID(provider), "main")
        assert (row["user_id"], row["details"]) == (member.id, {"user_id": str(member.id)})
        assert row["diff"] == {"api_key": {"old": "", "new": "", "secret": True}}
    assert [row["request_id"] for row in told[:2]] == [each.headers["x-request-id"] for each in answers[:2]]
    assert all(MINE not in each.text for each in answers)
    assert MINE not in caplog.text


async def test_ones_own_key_makes_models_available(owner: Person, member: Person) -> None:
    provider = await add_provider(owner, api_keys=[])

    async def lacks(person: Person) -> str | None:
        listed = (await person.client.get(f"{CHATS}/models")).json()["providers"]
        [openai] = [each for each in listed if each["provider"] == "openai"]
        reason: str | None = openai.get("unavailable_reason")
        assert openai["available"] == (reason is None)
        return reason

    assert await lacks(member) == "user_api_key_required"
    await put(member, provider)
    assert await lacks(member) is None
    assert await lacks(owner) == "user_api_key_required"
    await member.client.delete(f"{KEYS}/{provider}")
    assert await lacks(member) == "user_api_key_required"
    await owner.client.patch(f"{PROVIDERS}/{provider}", json={"api_keys": [{"api_key": "sk-ours"}]})
    assert await lacks(member) is None


async def test_a_model_for_which_one_has_no_key_can_be_chosen_for_a_chat_and_not_for_all(
    api: Api, owner: Person, member: Person
) -> None:
    provider = await add_provider(owner, api_keys=[])
    body = {"ai_provider_id": provider, "model": "gpt", "context_limit": 1000}
    model = (await owner.client.post(f"{CHATS}/model-configs", json=body)).json()["id"]
    await owner.client.put(f"{CHATS}/config/personal-model-overrides", json={"allow_users": True})

    async def choose() -> tuple[int, Any]:
        path = f"{CHATS}/config/user-personal-model-overrides/root"
        answer = await member.client.put(path, json={"mode": "model", "model_config_id": model})
        return answer.status_code, answer.json() if answer.content else None

    no_key = "Invalid model_config_id: provider credentials unavailable for this model."
    assert await choose() == (400, {"message": no_key})
    asked = {"organization_id": str(api.organization_id), "content": words("hello"), "model_config_id": model}
    assert (await member.client.post(CHATS, json=asked)).status_code == 201
    await put(member, provider)
    assert await choose() == (204, None)


async def test_a_person_who_is_deleted_leaves_no_key(api: Api, owner: Person, member: Person) -> None:
    await put(member, await add_provider(owner))
    async with api.resources.database.begin() as session:
        await delete_person(session, member.id)
        assert await fetch(session, "SELECT * FROM user_ai_provider_keys") == []


class TestWhereKeysOfOnesOwnAreNotAllowed:
    @pytest.fixture
    def settings(self, settings: Any) -> Any:
        return settings.model_copy(update={"allow_byok": False})

    async def test_none_is_taken_or_counts_and_what_is_there_can_be_deleted(
        self, api: Api, owner: Person, member: Person
    ) -> None:
        provider = await add_provider(owner, api_keys=[])
        refusal = {"message": "BYOK is disabled."}
        assert await put(member, provider) == (403, refusal)
        assert await put(member, "main") == (403, refusal)
        async with api.resources.database.begin() as session:
            await fetch(
                session,
                "INSERT INTO user_ai_provider_keys (user_id, ai_provider_id, api_key) "
                "VALUES (%(user)s, %(provider)s, %(key)s)",
                {"user": member.id, "provider": provider, "key": api.resources.cipher.encrypt(MINE)},
            )
        shown = await of(member, provider)
        assert shown is not None
        assert (shown["has_user_api_key"], shown["byok_enabled"]) == (True, False)
        listed = (await member.client.get(f"{CHATS}/models")).json()["providers"]
        [openai] = [each for each in listed if each["provider"] == "openai"]
        assert (openai["available"], openai["unavailable_reason"]) == (False, "missing_api_key")
        assert (await member.client.delete(f"{KEYS}/{provider}")).status_code == 204
