"""What a model's answer costs: tokens times price, in millionths of a dollar (admin.md 8.1).

Prices are US dollars a million tokens, so tokens times price are micro-dollars. Reasoning is part of the output, and
cached tokens are no part of the input. What cannot be priced is None, which is not the same as free.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation, localcontext
from typing import Any

MOST = 2**63 - 1
# Counts have 19 digits at most and prices 40: every product and every sum of four is exact.
_EXACT = Context(prec=100)


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars a million tokens of each category; None where nobody named a price."""

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None


UNPRICED = Prices()
KEYS = {
    "input": "input_price_per_million_tokens",
    "output": "output_price_per_million_tokens",
    "cache_read": "cache_read_price_per_million_tokens",
    "cache_write": "cache_write_price_per_million_tokens",
}
# The columns of usage that have a price; the total, reasoning and the context limit never count.
_PRICED = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_creation_tokens",
}


def prices(options: Mapping[str, Any]) -> Prices:
    """The prices in a model's stored options. One that cannot be read is none: it must not cost an answer."""
    cost = options.get("cost")
    if not isinstance(cost, Mapping):
        return UNPRICED
    return Prices(**{category: _price(cost.get(key)) for category, key in KEYS.items()})


def cost_micros(known: Prices, usage: Mapping[str, int | None] | None) -> int | None:
    """The cost in micro-dollars, summed exactly and rounded up once; None when it is unpriced.

    Unpriced is what has no usage (None is unknown, zero is known), and what has tokens in categories without a price
    only. Where some categories have a price, the others add nothing.
    """
    counts = {category: (usage or {}).get(column) for category, column in _PRICED.items()}
    told = {category: count for category, count in counts.items() if count is not None}
    used = {category: count for category, count in told.items() if count > 0} or told
    priced = [(count, price) for category, count in used.items() if (price := getattr(known, category)) is not None]
    if not priced:
        return None
    with localcontext(_EXACT):
        total = sum((max(count, 0) * price for count, price in priced), Decimal(0))
        return min(int(total.to_integral_value(ROUND_CEILING)), MOST)


def _price(given: object) -> Decimal | None:
    try:
        price = None if given is None else Decimal(str(given))
    except InvalidOperation:
        return None
    return price if price is not None and price.is_finite() and price >= 0 else None
