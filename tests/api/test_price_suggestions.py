"""Prices that are offered for a model without any, from the table that litellm brings along."""

from typing import Any

import pytest

from tests.api.conftest import Person

CONFIGS = "/api/v2/chats/model-configs"
INPUT, OUTPUT = "input_price_per_million_tokens", "output_price_per_million_tokens"


@pytest.fixture
async def provider(owner: Person) -> str:
    body = {"type": "openai", "name": "main", "enabled": True, "base_url": "https://api.openai.com/v1"}
    made = await owner.client.post("/api/v2/ai/providers", json={**body, "api_keys": ["sk-1234567890"]})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def made(owner: Person, provider: str, model: str, **fields: Any) -> dict[str, Any]:
    body = {"ai_provider_id": provider, "model": model, "context_limit": 1000, **fields}
    response = await owner.client.post(CONFIGS, json=body)
    assert response.status_code == 201, response.text
    shown: dict[str, Any] = response.json()
    return shown


async def test_a_known_model_without_prices_comes_with_suggested_ones(owner: Person, provider: str) -> None:
    config = await made(owner, provider, "gpt-5-mini")
    assert config["suggested_cost"] == {INPUT: "0.25", OUTPUT: "2", "cache_read_price_per_million_tokens": "0.025"}
    assert "model_config" not in config, "a suggestion is not a price"
    assert config in (await owner.client.get(CONFIGS)).json()
    assert (await owner.client.get("/api/v2/chats/usage-limits")).json()["unpriced_model_count"] == 2


async def test_named_prices_are_not_second_guessed(owner: Person, provider: str) -> None:
    config = await made(owner, provider, "gpt-5-mini")
    path = f"{CONFIGS}/{config['id']}"
    priced = await owner.client.patch(path, json={"model_config": {"cost": config["suggested_cost"]}})
    assert "suggested_cost" not in priced.json()
    assert priced.json()["model_config"]["cost"] == config["suggested_cost"]
    unpriced = await owner.client.patch(path, json={"model_config": {}})
    assert unpriced.json()["suggested_cost"] == config["suggested_cost"]


async def test_nothing_is_suggested_for_a_model_nobody_knows(owner: Person, provider: str) -> None:
    assert "suggested_cost" not in await made(owner, provider, "made-up")


async def test_suggestions_are_for_those_who_see_the_configuration(
    owner: Person, member: Person, provider: str
) -> None:
    await made(owner, provider, "gpt-5-mini")
    assert all("suggested_cost" not in each for each in (await member.client.get(CONFIGS)).json())
