"""Model configurations: what is accepted, which one is the default, and what is on offer."""

import asyncio
from typing import Any

import pytest

from tests.api.conftest import Api, Person
from tests.api.test_providers import OPENAI, PROVIDERS

CONFIGS = "/api/v2/chats/model-configs"
MODELS = "/api/v2/chats/models"
NOBODY = "00000000-0000-0000-0000-00000000dead"


@pytest.fixture
async def provider(owner: Person) -> str:
    return await a_provider(owner)


async def a_provider(owner: Person, **change: Any) -> str:
    return str((await owner.client.post(PROVIDERS, json={**OPENAI, **change})).json()["id"])


async def made(owner: Person, provider: str, model: str = "gpt", **change: Any) -> dict[str, Any]:
    body = {"ai_provider_id": provider, "model": model, "context_limit": 1000, **change}
    response = await owner.client.post(CONFIGS, json=body)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


async def defaults(owner: Person) -> list[str]:
    return [each["model"] for each in (await owner.client.get(CONFIGS)).json() if each["is_default"]]


async def test_a_model_is_shown_in_the_documented_shape(owner: Person, provider: str) -> None:
    shown = await made(owner, provider, " gpt ")
    assert set(shown) == {
        "id", "provider", "ai_provider_id", "model", "display_name", "enabled", "is_default", "context_limit",
        "compression_threshold", "created_at", "updated_at",
    }  # fmt: skip
    assert (shown["provider"], shown["model"], shown["enabled"]) == ("openai", "gpt", True)
    assert (shown["compression_threshold"], shown["is_default"]) == (70, False)


async def test_both_prefixes_are_the_same_routes(owner: Person, provider: str) -> None:
    shown = await made(owner, provider)
    elsewhere = "/api/experimental/chats/model-configs"
    assert shown in (await owner.client.get(elsewhere)).json()
    assert (await owner.client.delete(f"{elsewhere}/{shown['id']}")).status_code == 204


NONSENSE: list[tuple[dict[str, Any], int, str]] = [
    ({"ai_provider_id": None}, 400, "AI provider ID is required."),
    ({"ai_provider_id": "00000000-0000-0000-0000-000000000000"}, 400, "AI provider ID is required."),
    ({"ai_provider_id": NOBODY}, 412, "AI provider is not configured."),
    ({"model": " "}, 400, "Model is required."),
    ({"context_limit": None}, 400, "Context limit is required."),
    ({"context_limit": 0}, 400, "Context limit is required."),
    ({"compression_threshold": 101}, 400, "Invalid compression threshold."),
    ({"compression_threshold": -1}, 400, "Invalid compression threshold."),
    ({"model_config": {"cost": {"input_price_per_million_tokens": -1}}}, 400, "Invalid model config."),
    ({"model_config": {"output_price_per_million_tokens": "-0.1"}}, 400, "Invalid model config."),
    (
        {"model_config": {"provider_options": {"anthropic": {"thinking_display": "loud"}}}},
        400,
        "Invalid model config.",
    ),
    ({"model_config": {"temperature": "warm"}}, 400, "Validation failed."),
    ({"model_config": {"cost": {"input_price_per_million_tokens": "1e999999"}}}, 400, "Validation failed."),
    ({"context_limit": 2**63}, 400, "Validation failed."),
]


async def test_a_model_that_makes_no_sense_is_refused_in_the_documented_words(owner: Person, provider: str) -> None:
    for change, status, message in NONSENSE:
        body = {"ai_provider_id": provider, "model": "gpt", "context_limit": 1000, **change}
        response = await owner.client.post(CONFIGS, json=body)
        assert (response.status_code, response.json()["message"]) == (status, message), change


async def test_refusals_of_a_model_config_say_which_key(owner: Person, provider: str) -> None:
    body = {"ai_provider_id": provider, "model": "gpt", "context_limit": 1000}
    wrong = {"cost": {"cache_read_price_per_million_tokens": "-1"}}
    refused = await owner.client.post(CONFIGS, json={**body, "model_config": wrong})
    assert refused.json()["detail"] == "cost.cache_read_price_per_million_tokens must be greater than or equal to zero"
    loud = {"provider_options": {"anthropic": {"thinking_display": "loud"}}}
    refused = await owner.client.post(CONFIGS, json={**body, "model_config": loud})
    assert refused.json()["detail"] == (
        "provider_options.anthropic.thinking_display must be one of summarized, omitted"
    )


async def test_a_model_needs_an_enabled_provider(owner: Person) -> None:
    off = await a_provider(owner, enabled=False)
    body = {"ai_provider_id": off, "model": "gpt", "context_limit": 1000}
    response = await owner.client.post(CONFIGS, json=body)
    assert (response.status_code, response.json()["message"]) == (412, "AI provider is disabled.")


async def test_a_routers_model_names_need_a_routers_type(owner: Person) -> None:
    wrong = await a_provider(owner, name="router", base_url="https://openrouter.ai/api/v1")
    body = {"ai_provider_id": wrong, "model": "anthropic/claude", "context_limit": 1000}
    response = await owner.client.post(CONFIGS, json=body)
    assert response.status_code == 400
    assert response.json()["message"].startswith("OpenRouter-like provider configured as type openai")
    right = await a_provider(owner, name="right", type="openrouter", base_url="https://openrouter.ai/api/v1")
    await made(owner, right, "anthropic/claude")


async def test_the_first_model_becomes_the_default_and_another_takes_it_when_asked(api: Api, owner: Person) -> None:
    assert await defaults(owner) == ["demo"]
    provider = await a_provider(owner)
    await made(owner, provider, "one")
    assert await defaults(owner) == ["demo"]
    await made(owner, provider, "two", is_default=True)
    assert await defaults(owner) == ["two"]


async def test_a_default_that_leaves_passes_it_on(owner: Person, provider: str) -> None:
    second = await made(owner, provider, "b", is_default=True)
    first = await made(owner, provider, "a")
    undone = await owner.client.patch(f"{CONFIGS}/{second['id']}", json={"is_default": False})
    assert undone.json()["is_default"] is False
    assert await defaults(owner) == ["demo"]  # the list is by provider type, then model
    await owner.client.patch(f"{CONFIGS}/{first['id']}", json={"is_default": True})
    await owner.client.delete(f"{CONFIGS}/{first['id']}")
    assert await defaults(owner) == ["demo"]


async def test_the_only_model_stays_the_default(owner: Person) -> None:
    [only] = (await owner.client.get(CONFIGS)).json()
    assert (await owner.client.patch(f"{CONFIGS}/{only['id']}", json={"is_default": False})).json()["is_default"]


async def test_models_racing_to_be_the_default_leave_one(owner: Person, provider: str) -> None:
    await asyncio.gather(*(made(owner, provider, f"m{n}", is_default=True) for n in range(6)))
    assert len(await defaults(owner)) == 1


async def test_a_change_keeps_what_is_absent_or_empty(owner: Person, provider: str) -> None:
    before = await made(owner, provider, display_name="GPT", model_config={"temperature": 0.5})
    path = f"{CONFIGS}/{before['id']}"
    same = (await owner.client.patch(path, json={"model": "", "display_name": "", "enabled": None})).json()
    assert {**same, "updated_at": ""} == {**before, "updated_at": ""}
    changed = (await owner.client.patch(path, json={"context_limit": 5, "model_config": {"top_k": 3}})).json()
    assert (changed["context_limit"], changed["model_config"], changed["model"]) == (5, {"top_k": 3}, "gpt")
    cleared = (await owner.client.patch(path, json={"model_config": {}})).json()
    assert "model_config" not in cleared


NONSENSICAL_CHANGES: list[tuple[dict[str, Any], int, str]] = [
    ({"provider": "skynet"}, 400, "Invalid provider."),
    ({"provider": "google"}, 400, "AI provider ID is required when updating provider."),
    ({"ai_provider_id": NOBODY}, 412, "AI provider is not configured."),
    ({"context_limit": 0}, 400, "Context limit must be greater than zero."),
    ({"compression_threshold": 200}, 400, "Invalid compression threshold."),
]


async def test_a_change_that_makes_no_sense_is_refused(owner: Person, provider: str) -> None:
    config = await made(owner, provider)
    for change, status, message in NONSENSICAL_CHANGES:
        response = await owner.client.patch(f"{CONFIGS}/{config['id']}", json=change)
        assert (response.status_code, response.json()["message"]) == (status, message), change


async def test_a_model_moves_to_another_provider(owner: Person, provider: str) -> None:
    config = await made(owner, provider)
    other = await a_provider(owner, name="other", type="anthropic")
    moved = await owner.client.patch(f"{CONFIGS}/{config['id']}", json={"ai_provider_id": other})
    assert (moved.json()["provider"], moved.json()["ai_provider_id"]) == ("anthropic", other)


async def test_ids_that_are_none_and_ids_of_nothing_differ(owner: Person) -> None:
    for method in ("PATCH", "DELETE"):
        body: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
        bad = await owner.client.request(method, f"{CONFIGS}/nonsense", **body)
        assert (bad.status_code, bad.json()["message"]) == (400, "Invalid chat model config ID.")
        missing = await owner.client.request(method, f"{CONFIGS}/{NOBODY}", **body)
        assert missing.status_code == 404


async def test_prices_come_as_numbers_or_strings_and_go_as_strings(owner: Person, provider: str) -> None:
    given = {
        "cost": {"input_price_per_million_tokens": 0.25, "output_price_per_million_tokens": "10.50"},
        "input_price_per_million_tokens": 9,
        "cache_read_price_per_million_tokens": 1,
        "unknown": True,
    }
    shown = await made(owner, provider, model_config=given)
    assert shown["model_config"] == {
        "cost": {
            "input_price_per_million_tokens": "0.25",
            "output_price_per_million_tokens": "10.5",
            "cache_read_price_per_million_tokens": "1",
        }
    }


async def test_every_documented_option_is_kept_and_unknown_ones_are_dropped(owner: Person, provider: str) -> None:
    options = {
        "max_output_tokens": 100,
        "temperature": 0.2,
        "provider_options": {
            "openai": {"reasoning_effort": "high", "logit_bias": {"50256": -100}, "metadata": {"a": {"b": 1}}},
            "anthropic": {"thinking": {"budget_tokens": 2048}, "blocked_domains": ["example.com"]},
            "google": {"thinking_config": {"include_thoughts": True}, "safety_settings": [{"category": "c"}]},
            "openaicompat": {"reasoning_effort": "low"},
            "openrouter": {"reasoning": {"enabled": True}, "provider": {"order": ["a"], "sort": "price"}},
            "vercel": {"providerOptions": {"order": ["x"]}, "extra_body": {"deep": [1, {"a": None}]}},
        },
    }
    noisy = {**options, "volume": 11, "provider_options": {**options["provider_options"], "skynet": {}}}  # type: ignore[dict-item]
    assert (await made(owner, provider, model_config=noisy))["model_config"] == options


async def test_members_see_usable_models_and_change_none(owner: Person, member: Person, provider: str) -> None:
    await made(owner, provider, "on")
    off = await made(owner, provider, "off", enabled=False)
    assert {each["model"] for each in (await owner.client.get(CONFIGS)).json()} == {"demo", "on", "off"}
    assert {each["model"] for each in (await member.client.get(CONFIGS)).json()} == {"demo", "on"}
    await owner.client.patch(f"{PROVIDERS}/main", json={"enabled": False})
    assert {each["model"] for each in (await member.client.get(CONFIGS)).json()} == {"demo"}
    for method, path in (("POST", CONFIGS), ("PATCH", f"{CONFIGS}/{off['id']}"), ("DELETE", f"{CONFIGS}/{off['id']}")):
        body: dict[str, Any] = {"json": {}} if method != "DELETE" else {}
        response = await member.client.request(method, path, **body)
        assert (response.status_code, response.json()["message"]) == (403, "Forbidden.")


async def test_models_on_offer_are_one_entry_a_type_in_a_fixed_order(owner: Person, member: Person) -> None:
    second = await a_provider(owner, name="second", api_keys=[])
    first = await a_provider(owner)
    keyless = await a_provider(owner, name="claude", type="anthropic", api_keys=[])
    await a_provider(owner, name="off", type="google", enabled=False)
    await made(owner, first, "zeta", display_name="Zeta")
    await made(owner, second, "ZETA")
    await made(owner, first, "alpha")
    await made(owner, first, "hidden", enabled=False)
    await made(owner, keyless, "claude")
    found = (await member.client.get(MODELS)).json()["providers"]
    assert [entry["provider"] for entry in found] == ["anthropic", "openai", "demo"]
    anthropic, openai, demo = found
    assert (anthropic["available"], anthropic["unavailable_reason"]) == (False, "user_api_key_required")
    assert [model["id"] for model in anthropic["models"]] == ["anthropic:claude"]
    assert openai["available"]
    assert "unavailable_reason" not in openai
    assert [model["model"].lower() for model in openai["models"]] == ["alpha", "zeta"]
    assert openai["models"][0] == {
        "id": "openai:alpha",
        "provider": "openai",
        "model": "alpha",
        "display_name": "alpha",
    }
    assert demo["available"]


async def test_legacy_provider_routes_are_gone_for_good(api: Api, member: Person) -> None:
    outsider = await api.person("nobody", org_roles=None)
    scoped = await api.sign_in(member.id, "member", scopes=("chat:read",))
    # Words that stand behind a chat's id elsewhere are ids of nothing here.
    for path in (
        "providers",
        "providers/x",
        "providers/messages",
        "user-provider-configs",
        "user-provider-configs/a/b",
    ):
        for method in ("GET", "POST", "PATCH", "PUT", "DELETE"):
            for person in (member, outsider, scoped):
                response = await person.client.request(method, f"/api/experimental/chats/{path}", content=b"{")
                assert response.status_code == 410, (method, path)
                assert response.json() == {
                    "message": "Legacy chat provider APIs were removed. Use AI provider APIs instead.",
                    "detail": "See https://coder.com/docs/ai-coder/agents/models#providers for AI provider "
                    "configuration.",
                }
            assert (await api.stranger.request(method, f"/api/experimental/chats/{path}")).status_code == 401
