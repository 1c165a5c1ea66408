"""AI providers: what may be stored, what is shown, and that secrets stay secret."""

from typing import Any

from models.store import catalog
from models.store.secrets import Cipher
from tests.api.conftest import Api, Person

PROVIDERS = "/api/v2/ai/providers"
SECRET = "sk-0123456789abcdefghij"
OPENAI: dict[str, Any] = {
    "type": "openai",
    "name": "main",
    "display_name": "Main",
    "enabled": True,
    "base_url": "https://api.openai.com/v1",
    "api_keys": [SECRET],
}


async def made(owner: Person, **change: Any) -> dict[str, Any]:
    response = await owner.client.post(PROVIDERS, json={**OPENAI, **change})
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_a_provider_is_shown_in_the_documented_shape_with_masked_keys(owner: Person) -> None:
    provider = await made(owner)
    assert set(provider) == {
        "id", "type", "name", "display_name", "enabled", "base_url", "api_keys", "settings", "created_at", "updated_at",
        "central_api_key_enabled", "allow_user_api_key", "allow_central_api_key_fallback",
    }  # fmt: skip
    [key] = provider["api_keys"]
    assert set(key) == {"id", "masked", "created_at"}
    assert key["masked"] == "sk-0...ghij"
    assert provider["settings"] is None
    assert provider["created_at"].endswith("Z")
    for name in (provider["id"], "main"):
        assert (await owner.client.get(f"{PROVIDERS}/{name}")).json() == provider
    assert [each["name"] for each in (await owner.client.get(PROVIDERS)).json()] == ["demo", "main"]


async def test_keys_are_encrypted_at_rest_and_never_answered(api: Api, owner: Person) -> None:
    await made(owner)
    assert SECRET not in (await owner.client.get(PROVIDERS)).text
    async with await api.resources.database.connect() as connection:
        [(stored,)] = await (await connection.execute("SELECT api_key FROM ai_provider_keys")).fetchall()
    assert SECRET not in stored
    assert api.resources.cipher.decrypt(stored) == SECRET


async def test_a_provider_is_disabled_unless_it_says_otherwise(owner: Person) -> None:
    response = await owner.client.post(PROVIDERS, json={key: OPENAI[key] for key in ("type", "name", "base_url")})
    assert response.json()["enabled"] is False


NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"type": "skynet"}, "type"),
    ({"type": "copilot"}, "type"),
    ({"type": ""}, "type"),
    ({"name": "Main"}, "name"),
    ({"name": "a--b"}, "name"),
    ({"name": ""}, "name"),
    ({"name": "x" * 65}, "name"),
    ({"base_url": ""}, "base_url"),
    ({"base_url": "api.openai.com/v1"}, "base_url"),
    ({"base_url": "ftp://example.com"}, "base_url"),
    ({"base_url": "http://"}, "base_url"),
    ({"base_url": "http://example.com:99999"}, "base_url"),
    ({"base_url": "http://exa mple.com"}, "base_url"),
    ({"api_keys": [SECRET, " "]}, "api_keys[1]"),
    ({"api_keys": ["x" * 10_241]}, "api_keys[0]"),
    ({"api_keys": ["a\nb"]}, "api_keys[0]"),
    ({"settings": {"region": "eu"}}, "settings"),
    ({"type": "azure", "settings": {"region": "eu"}}, "settings"),
    ({"type": "azure", "settings": {"_type": "bedrock"}}, "settings"),
]


async def test_a_field_that_makes_no_sense_is_named(owner: Person) -> None:
    for change, field in NONSENSE:
        response = await owner.client.post(PROVIDERS, json={**OPENAI, **change})
        assert response.status_code == 400, change
        assert response.json()["message"] == "Invalid AI provider request."
        assert field in [each["field"] for each in response.json()["validations"]], change


POLICY = ("central_api_key_enabled", "allow_user_api_key", "allow_central_api_key_fallback")


async def test_whose_keys_are_used_is_set_and_a_policy_that_makes_no_sense_is_refused(owner: Person) -> None:
    for given, shown in (
        ({}, (True, True, True)),
        ({"allow_user_api_key": False}, (True, False, False)),
        ({"central_api_key_enabled": False}, (False, True, False)),
        ({"allow_central_api_key_fallback": False}, (True, True, False)),
    ):
        provider = await made(owner, name=f"p{len(given)}-{sum(shown)}-{shown[0]}".lower(), **given)
        assert tuple(provider[name] for name in POLICY) == shown
    path = f"{PROVIDERS}/{provider['id']}"
    for given, expected in (
        ({"allow_central_api_key_fallback": True}, (True, True, True)),
        ({"allow_user_api_key": False}, (True, False, False)),
        ({"display_name": "Other"}, (True, False, False)),
        ({"allow_user_api_key": True}, (True, True, False)),
        ({"central_api_key_enabled": False, "allow_user_api_key": False}, "central_api_key_enabled"),
        ({"central_api_key_enabled": False, "allow_central_api_key_fallback": True}, "allow_central_api_key_fallback"),
    ):
        answer = await owner.client.patch(path, json=given)
        if isinstance(expected, str):
            assert answer.status_code == 400
            assert [each["field"] for each in answer.json()["validations"]] == [expected]
        else:
            assert tuple(answer.json()[name] for name in POLICY) == expected


async def test_all_complaints_come_together(owner: Person) -> None:
    response = await owner.client.post(PROVIDERS, json={"api_keys": [""]})
    assert [each["field"] for each in response.json()["validations"]] == ["type", "name", "base_url", "api_keys[0]"]


async def test_a_name_is_taken_once_among_the_living(owner: Person) -> None:
    await made(owner)
    again = await owner.client.post(PROVIDERS, json=OPENAI)
    assert (again.status_code, again.json()["message"]) == (409, 'AI provider "main" already exists.')
    assert (await owner.client.delete(f"{PROVIDERS}/main")).status_code == 204
    assert (await owner.client.get(f"{PROVIDERS}/main")).status_code == 404
    await made(owner)


async def test_what_is_absent_stays_and_something_must_be_there(owner: Person) -> None:
    before = await made(owner)
    for nothing in ({}, {"unknown": 1}, {"enabled": None}):
        response = await owner.client.patch(f"{PROVIDERS}/main", json=nothing)
        assert (response.status_code, response.json()["message"]) == (400, "At least one field must be provided.")
    after = (await owner.client.patch(f"{PROVIDERS}/main", json={"enabled": False})).json()
    assert after.pop("updated_at") > before.pop("updated_at")
    assert after == {**before, "enabled": False}
    wrong = await owner.client.patch(f"{PROVIDERS}/main", json={"base_url": "nowhere"})
    assert wrong.json()["validations"][0]["field"] == "base_url"
    assert (await owner.client.patch(f"{PROVIDERS}/nobody", json={"enabled": True})).status_code == 404


async def test_named_keys_stay_new_ones_join_and_the_rest_go(api: Api, owner: Person) -> None:
    provider = await made(owner, api_keys=["first-key-0123456789", "second-key-0123456789"])
    first, second = provider["api_keys"]
    path = f"{PROVIDERS}/main"
    changed = (
        await owner.client.patch(path, json={"api_keys": [{"api_key": "third-key-0123456789"}, {"id": second["id"]}]})
    ).json()
    assert [key["masked"] for key in changed["api_keys"]] == ["seco...6789", "thir...6789"]
    assert changed["api_keys"][0] == second
    wrong: dict[str, Any]
    for wrong in ({"id": first["id"]}, {}, {"id": second["id"], "api_key": "x"}, {"api_key": ""}):
        response = await owner.client.patch(path, json={"api_keys": [wrong]})
        assert response.json()["validations"][0]["field"] == "api_keys[0]"
    assert len((await owner.client.get(path)).json()["api_keys"]) == 2
    assert (await owner.client.patch(path, json={"api_keys": []})).json()["api_keys"] == []


async def test_bedrock_takes_settings_and_no_keys(api: Api, owner: Person) -> None:
    settings = {
        "_type": "bedrock",
        "_version": 1,
        "region": "eu-west-1",
        "access_key": "AKIA",
        "access_key_secret": "s3",
    }
    bedrock = {**OPENAI, "type": "bedrock", "name": "aws", "base_url": "https://bedrock.example.com"}
    refused = await owner.client.post(PROVIDERS, json={**bedrock, "settings": settings})
    assert refused.json()["message"].startswith("Bedrock providers do not accept api_keys")
    shown = await made(owner, **{**bedrock, "api_keys": [], "settings": settings})
    assert shown["settings"] == {"_type": "bedrock", "_version": 1, "region": "eu-west-1"}
    changed = await owner.client.patch(f"{PROVIDERS}/aws", json={"settings": {"region": "us-east-1"}})
    assert changed.json()["settings"]["region"] == "us-east-1"
    async with api.resources.database.begin() as session:
        row = await catalog.create(
            session,
            ai_provider_id=shown["id"],
            model="claude",
            display_name="",
            enabled=True,
            is_default=False,
            context_limit=1000,
            compression_threshold=70,
            options={},
            created_by=None,
        )
        resolved = await catalog.resolve(session, row["id"])
    assert resolved is not None
    assert resolved.provider_settings(api.resources.cipher) == {
        "aws_region_name": "us-east-1",
        "aws_access_key_id": "AKIA",
        "aws_secret_access_key": "s3",
    }


async def test_a_secret_under_a_lost_key_says_so(api: Api, owner: Person) -> None:
    await made(owner, type="azure", api_keys=[], settings={"api_version": "2025-04-01"})
    stranger = Cipher("nqqSC3gMvGGYNkyVyAxBoXlUPo1xqcZIXUHs7Nwhpig=")
    object.__setattr__(api.resources, "cipher", stranger)
    response = await owner.client.get(PROVIDERS)
    assert response.status_code == 412
    assert response.json()["message"] == "A stored secret cannot be decrypted with the configured secret keys."


async def test_providers_are_for_those_who_run_the_deployment(api: Api, owner: Person, member: Person) -> None:
    await made(owner)
    auditor = await api.person("auditor", site_roles=("auditor",))
    requests = [
        ("GET", PROVIDERS, 200),
        ("GET", f"{PROVIDERS}/main", 200),
        ("POST", PROVIDERS, 403),
        ("PATCH", f"{PROVIDERS}/main", 403),
        ("DELETE", f"{PROVIDERS}/main", 403),
    ]
    for method, path, for_auditor in requests:
        body: dict[str, Any] = {"json": {}} if method in ("POST", "PATCH") else {}
        assert (await member.client.request(method, path, **body)).status_code == 403
        assert (await auditor.client.request(method, path, **body)).status_code == for_auditor
        assert (await api.stranger.request(method, path, **body)).status_code == 401


async def test_a_deleted_provider_takes_its_models_and_keys_along(api: Api, owner: Person) -> None:
    provider = await made(owner)
    config = {"ai_provider_id": provider["id"], "model": "m", "context_limit": 10, "is_default": True}
    created = await owner.client.post("/api/v2/chats/model-configs", json=config)
    assert created.json()["is_default"]
    assert (await owner.client.delete(f"{PROVIDERS}/main")).status_code == 204
    [left] = (await owner.client.get("/api/v2/chats/model-configs")).json()
    assert (left["provider"], left["is_default"]) == ("demo", True)
    async with await api.resources.database.connect() as connection:
        rows = await (await connection.execute("SELECT count(*) FROM ai_provider_keys")).fetchone()
    assert rows == (0,)
