"""What a model probably costs, by a public price table: offered where nobody named a price, never used by itself."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from models.rules.pricing import KEYS

MILLION = 1_000_000
# How the table writes the models of each type of provider, and whom it names as their vendor. A compatible server may
# be anybody's: what it asks for is not known.
_NAMES = {
    "anthropic": ("", ("anthropic",)),
    "azure": ("azure/", ("azure",)),
    "bedrock": ("", ("bedrock", "bedrock_converse")),
    "google": ("gemini/", ("gemini",)),
    "openai": ("", ("openai",)),
    "openrouter": ("openrouter/", ("openrouter",)),
    "vercel": ("vercel_ai_gateway/", ("vercel_ai_gateway",)),
}
_VENDORS = frozenset(vendor for _, vendors in _NAMES.values() for vendor in vendors)
_TALKS = frozenset({"chat", "responses"})
_COLUMNS = {
    KEYS["input"]: "input_cost_per_token",
    KEYS["output"]: "output_cost_per_token",
    KEYS["cache_read"]: "cache_read_input_token_cost",
    KEYS["cache_write"]: "cache_creation_input_token_cost",
}

Suggestion = Mapping[str, str]
Table = Mapping[tuple[str, str], Suggestion]


def table(entries: Mapping[str, Any]) -> Table:
    """What is worth keeping of the public table: prices a million tokens, by vendor and name."""
    kept: dict[tuple[str, str], Suggestion] = {}
    for name, entry in entries.items():
        if not isinstance(entry, Mapping) or entry.get("mode") not in _TALKS:
            continue
        vendor = entry.get("litellm_provider")
        if vendor in _VENDORS and (prices := _prices(entry)):
            kept[vendor, name] = prices
    return kept


def suggest(known: Table, kind: str, model: str) -> Suggestion | None:
    """The prices that the table has for a model of a type of provider, in the form of a model's `cost`."""
    prefix, vendors = _NAMES.get(kind, ("", ()))
    return next((known[vendor, prefix + model] for vendor in vendors if (vendor, prefix + model) in known), None)


def _prices(entry: Mapping[str, Any]) -> Suggestion:
    """Zeros are left out: the table writes them where it does not know."""
    found = {}
    for key, column in _COLUMNS.items():
        cost = entry.get(column)
        if isinstance(cost, int | float) and cost > 0:
            # The shortest text of a float is what was written in the table.
            found[key] = format((Decimal(repr(cost)) * MILLION).normalize(), "f")
    return found
