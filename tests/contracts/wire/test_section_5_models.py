"""wire-api.md 5: models, model configs, AI providers. User keys and legacy routes have modules of their own."""

from typing import Any

import pytest

from tests.contracts.wire.world import NO_ID, NOWHERE, World, forbidden, not_found, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROVIDERS = "/api/v2/ai/providers"
OPENAI = {
    "type": "openai",
    "name": "main",
    "display_name": "Main",
    "enabled": True,
    "base_url": "https://api.openai.com/v1",
    "api_keys": ["sk-1234567890abcdef"],
}


async def a_provider(world: World, name: str, **change: Any) -> str:
    made = await world.ask("POST", PROVIDERS, {**OPENAI, "name": name, **change}, by=world.owner)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def a_model(world: World, provider: str, model: str = "gpt", **change: Any) -> dict[str, Any]:
    body = {"ai_provider_id": provider, "model": model, "context_limit": 1000, **change}
    made = await world.ask("POST", "/model-configs", body, by=world.owner)
    assert made.status_code == 201, made.text
    shown: dict[str, Any] = made.json()
    return shown


async def test_5_1_models_on_offer_are_named_by_provider_and_model(world: World) -> None:
    provider = await a_provider(world, "offer")
    for name in ("zeta", "Alpha"):
        await a_model(world, provider, name)
    await a_model(world, provider, "alpha", display_name="Twin")
    keyless = await a_provider(world, "keyless", type="anthropic", base_url="https://api.anthropic.com", api_keys=[])
    await a_model(world, keyless, "claude")
    found = (await world.ask("GET", "/models", by=world.outsider)).json()["providers"]
    assert [each["provider"] for each in found] == ["anthropic", "openai", "demo"]
    unavailable, openai, _ = found
    assert (unavailable["available"], unavailable["unavailable_reason"]) == (False, "user_api_key_required")
    assert unavailable["models"] == [
        {"id": "anthropic:claude", "provider": "anthropic", "model": "claude", "display_name": "claude"}
    ]
    assert (openai["available"], "unavailable_reason" in openai) == (True, False)
    assert [model["id"].lower() for model in openai["models"]] == ["openai:alpha", "openai:zeta"]


async def test_5_2_a_model_config_has_its_defaults(world: World) -> None:
    shown = await a_model(world, await a_provider(world, "defaults"), "plain")
    assert (shown["provider"], shown["enabled"], shown["is_default"]) == ("openai", True, False)
    assert (shown["compression_threshold"], shown["display_name"], "model_config" in shown) == (70, "", False)


async def test_5_2_prices_come_as_numbers_or_strings_and_go_as_strings(world: World) -> None:
    provider = await a_provider(world, "prices")
    config = {"cost": {"input_price_per_million_tokens": 0.25}, "output_price_per_million_tokens": "2.50", "top_p": 0}
    shown = await a_model(world, provider, "priced", model_config=config)
    assert shown["model_config"] == {
        "top_p": 0,
        "cost": {"input_price_per_million_tokens": "0.25", "output_price_per_million_tokens": "2.5"},
    }


FAULTS: tuple[tuple[dict[str, Any], int, tuple[Any, ...]], ...] = (
    ({"ai_provider_id": NO_ID}, 400, ("AI provider ID is required.",)),
    ({"ai_provider_id": NOWHERE}, 412, ("AI provider is not configured.",)),
    ({"model": " "}, 400, ("Model is required.",)),
    ({"context_limit": 0}, 400, ("Context limit is required.", "context_limit must be greater than zero.")),
    ({"context_limit": None}, 400, ("Context limit is required.", "context_limit must be greater than zero.")),
    (
        {"compression_threshold": 101},
        400,
        ("Invalid compression threshold.", "context_compression_threshold must be between 0 and 100"),
    ),
    (
        {"model_config": {"cost": {"output_price_per_million_tokens": "-1"}}},
        400,
        ("Invalid model config.", "cost.output_price_per_million_tokens must be greater than or equal to zero"),
    ),
    (
        {"model_config": {"provider_options": {"anthropic": {"thinking_display": "loud"}}}},
        400,
        (
            "Invalid model config.",
            "provider_options.anthropic.thinking_display must be one of summarized, omitted",
        ),
    ),
)


@pytest.mark.parametrize("place", range(len(FAULTS)))
async def test_5_2_of_several_faults_of_a_model_the_documented_first_is_told(world: World, place: int) -> None:
    provider = await a_provider(world, f"faults-{place}")
    body: dict[str, Any] = {"ai_provider_id": provider, "model": "gpt", "context_limit": 1000}
    for change, _, _ in reversed(FAULTS[place:]):
        body |= change
    refused(await world.ask("POST", "/model-configs", body, by=world.owner), FAULTS[place][1], *FAULTS[place][2])


async def test_5_2_a_disabled_provider_and_a_routers_name(world: World) -> None:
    off = await a_provider(world, "off", enabled=False)
    router = await a_provider(world, "router", base_url="https://openrouter.ai/api/v1")
    body = {"ai_provider_id": off, "model": "a/b", "context_limit": 1}
    refused(await world.ask("POST", "/model-configs", body, by=world.owner), 412, "AI provider is disabled.")
    body["ai_provider_id"] = router
    message = "OpenRouter-like provider configured as type openai does not support slash-namespaced models."
    refused(await world.ask("POST", "/model-configs", body, by=world.owner), 400, message, "*")


async def test_5_2_twins_are_taken(world: World) -> None:
    provider = await a_provider(world, "twice")
    first, second = await a_model(world, provider, "once"), await a_model(world, provider, "once")
    assert first["id"] != second["id"]


async def test_5_2_model_configs_are_for_those_who_run_the_deployment(world: World) -> None:
    made = await a_model(world, await a_provider(world, "mine"), "hidden", enabled=False)
    path = f"/model-configs/{made['id']}"
    for person in (world.member, world.boss, world.auditor):
        forbidden(await world.ask("POST", "/model-configs", {}, by=person))
        forbidden(await world.ask("PATCH", path, {}, by=person))
        forbidden(await world.ask("DELETE", path, by=person))
    for person, sees in ((world.owner, True), (world.auditor, True), (world.member, False)):
        listed = (await world.ask("GET", "/model-configs", by=person)).json()
        assert (made["id"] in {each["id"] for each in listed}) == sees


async def test_5_2_a_change_keeps_what_is_absent_or_empty_and_replaces_the_options(world: World) -> None:
    made = await a_model(world, await a_provider(world, "change"), "kept", model_config={"temperature": 1})
    path = f"/model-configs/{made['id']}"
    change = {"model": "", "display_name": "", "enabled": False, "model_config": {"top_k": 5}}
    shown = (await world.ask("PATCH", path, change, by=world.owner)).json()
    assert (shown["model"], shown["enabled"], shown["model_config"]) == ("kept", False, {"top_k": 5})
    cases: tuple[tuple[dict[str, Any], int, str], ...] = (
        ({"provider": "nonsense"}, 400, "Invalid provider."),
        ({"provider": "anthropic"}, 400, "AI provider ID is required when updating provider."),
        ({"ai_provider_id": NOWHERE}, 412, "AI provider is not configured."),
        ({"context_limit": 0}, 400, "Context limit must be greater than zero."),
        ({"compression_threshold": -1}, 400, "Invalid compression threshold."),
    )
    for body, status, message in cases:
        response = await world.ask("PATCH", path, body, by=world.owner)
        assert (response.status_code, response.json()["message"]) == (status, message)


async def test_5_2_the_default_moves_and_moves_on(world: World) -> None:
    before = await world.model()
    made = await a_model(world, await a_provider(world, "default"), "chosen", is_default=True)
    assert await world.model() == made["id"]
    assert (await world.ask("DELETE", f"/model-configs/{made['id']}", by=world.owner)).status_code == 204
    assert await world.model() != made["id"]
    assert (await world.ask("PATCH", f"/model-configs/{before}", {"is_default": True}, by=world.owner)).is_success
    assert await world.model() == before


async def test_5_2_ids_that_are_none_and_ids_of_nothing(world: World) -> None:
    for method, body in (("PATCH", {}), ("DELETE", None)):
        bad = await world.ask(method, "/model-configs/nonsense", body, by=world.owner)
        refused(bad, 400, "Invalid chat model config ID.", "*")
        not_found(await world.ask(method, f"/model-configs/{NOWHERE}", body, by=world.owner))


LEGACY = [
    ("GET", "/providers"),
    ("POST", "/providers"),
    ("PATCH", f"/providers/{NOWHERE}"),
    ("DELETE", f"/providers/{NOWHERE}"),
    ("GET", "/user-provider-configs"),
    ("PUT", f"/user-provider-configs/{NOWHERE}"),
    ("DELETE", f"/user-provider-configs/{NOWHERE}"),
]


@pytest.mark.parametrize(("method", "path"), LEGACY)
async def test_5_3_legacy_provider_routes_are_gone(world: World, method: str, path: str) -> None:
    refused(
        await world.ask(method, path),
        410,
        "Legacy chat provider APIs were removed. Use AI provider APIs instead.",
        "See https://coder.com/docs/ai-coder/agents/models#providers for AI provider configuration.",
    )


async def test_5_4_a_provider_shows_no_key_and_is_found_by_id_and_name(world: World) -> None:
    provider = await a_provider(world, "found")
    by_id = (await world.ask("GET", f"{PROVIDERS}/{provider}", by=world.owner)).json()
    assert (await world.ask("GET", f"{PROVIDERS}/found", by=world.owner)).json() == by_id
    assert "sk-1234567890abcdef" not in str(by_id)
    assert by_id["settings"] is None
    assert by_id["api_keys"][0]["masked"]
    assert by_id in (await world.ask("GET", PROVIDERS, by=world.owner)).json()
    for name in (NOWHERE, "nobody"):
        assert (await world.ask("GET", f"{PROVIDERS}/{name}", by=world.owner)).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "nonsense"}, "type"),
        ({"type": "copilot"}, "type"),
        ({"name": "Not A Name"}, "name"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"base_url": ""}, "base_url"),
        ({"api_keys": [""]}, "api_keys[0]"),
    ],
)
async def test_5_4_a_provider_that_makes_no_sense_is_told_by_field(
    world: World, change: dict[str, Any], field: str
) -> None:
    response = await world.ask("POST", PROVIDERS, {**OPENAI, "name": "wrong", **change}, by=world.owner)
    refused(response, 400, "Invalid AI provider request.", None, "*")
    assert field in {each["field"] for each in response.json()["validations"]}


async def test_5_4_conflicts_bedrock_and_empty_changes_of_providers(world: World) -> None:
    provider = await a_provider(world, "taken")
    again = await world.ask("POST", PROVIDERS, {**OPENAI, "name": "taken"}, by=world.owner)
    refused(again, 409, 'AI provider "taken" already exists.')
    bedrock = await world.ask("POST", PROVIDERS, {**OPENAI, "name": "aws", "type": "bedrock"}, by=world.owner)
    message = "Bedrock providers do not accept api_keys; configure access credentials via settings."
    refused(bedrock, 400, message)
    path = f"{PROVIDERS}/{provider}"
    refused(await world.ask("PATCH", path, {}, by=world.owner), 400, "At least one field must be provided.")
    kept = (await world.ask("GET", path, by=world.owner)).json()["api_keys"][0]["id"]
    change = {"api_keys": [{"id": kept}, {"api_key": "sk-another-0123456"}]}
    changed = (await world.ask("PATCH", path, change, by=world.owner)).json()
    assert (len(changed["api_keys"]), changed["api_keys"][0]["id"]) == (2, kept)
    cleared = (await world.ask("PATCH", path, {"api_keys": []}, by=world.owner)).json()
    assert cleared["api_keys"] == []
    assert (await world.ask("DELETE", path, by=world.owner)).status_code == 204
    not_found(await world.ask("GET", path, by=world.owner))


async def test_5_4_providers_are_for_those_who_run_the_deployment(world: World) -> None:
    for person in (world.member, world.boss):
        forbidden(await world.ask("GET", PROVIDERS, by=person))
        forbidden(await world.ask("POST", PROVIDERS, OPENAI, by=person))
