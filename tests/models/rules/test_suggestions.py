"""What a public price table says of a model."""

from typing import Any

import pytest

from models.rules.suggestions import suggest, table

ENTRIES: dict[str, Any] = {
    "sample_spec": {"mode": "one of: chat, embedding", "litellm_provider": "one of"},
    "gpt-x": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 2.5e-07,
        "output_cost_per_token": 2e-06,
        "cache_read_input_token_cost": 2.5e-08,
        "cache_creation_input_token_cost": 0.0,
    },
    "azure/gpt-x": {"litellm_provider": "azure", "mode": "responses", "input_cost_per_token": 3e-07},
    "gemini/pro": {"litellm_provider": "gemini", "mode": "chat", "output_cost_per_token": 1e-05},
    "claude": {"litellm_provider": "bedrock_converse", "mode": "chat", "input_cost_per_token": 1.6500000000000001e-05},
    "drawer": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_token": 1e-06},
    "free": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 0.0},
    "odd": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": "dear"},
    "broken": None,
}
INPUT, OUTPUT = "input_price_per_million_tokens", "output_price_per_million_tokens"


@pytest.mark.parametrize(
    ("kind", "model", "suggested"),
    [
        ("openai", "gpt-x", {INPUT: "0.25", OUTPUT: "2", "cache_read_price_per_million_tokens": "0.025"}),
        ("azure", "gpt-x", {INPUT: "0.3"}),
        ("google", "pro", {OUTPUT: "10"}),
        ("bedrock", "claude", {INPUT: "16.5"}),
        ("anthropic", "claude", None),
        ("openai-compat", "gpt-x", None),
        ("demo", "gpt-x", None),
        ("openai", "drawer", None),
        ("openai", "free", None),
        ("openai", "odd", None),
        ("openai", "broken", None),
    ],
)
def test_a_model_is_looked_up_as_its_vendor_names_it(kind: str, model: str, suggested: dict[str, str] | None) -> None:
    assert suggest(table(ENTRIES), kind, model) == suggested
