"""What is reserved for a call is never less than it can cost."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from models.rules.pricing import Prices, cost_micros
from models.rules.reserving import LEAST_ANSWER, bound

price = st.none() | st.decimals(0, 500, places=4, allow_nan=False, allow_infinity=False)
prices = st.builds(Prices, price, price, price, price)
tokens = st.integers(0, 50_000)


@settings(max_examples=60, deadline=None)
@given(prices, tokens, tokens, st.integers(0, 100), st.integers(0, 100), st.integers(1, 100_000), tokens)
def test_whatever_the_provider_caches_the_cost_is_within_the_bound(
    known: Prices, sent: int, longest: int, cached: int, written: int, context: int, said: int
) -> None:
    found = bound(known, sent_bytes=sent, messages=3, context_limit=context, longest=longest)
    prompt = min(sent, context)
    read = prompt * cached // 200
    wrote = prompt * written // 200
    usage = {
        "input_tokens": prompt - read - wrote,
        "cache_read_tokens": read,
        "cache_creation_tokens": wrote,
        "output_tokens": min(said, longest),
    }
    assert (cost_micros(known, usage) or 0) <= found.amount
    assert found.least <= found.amount
    if found.output_price and longest >= LEAST_ANSWER:
        assert found.answer_within(found.least) >= LEAST_ANSWER
        assert found.answer_within(found.amount) >= longest
        within = found.answer_within((found.least + found.amount) // 2)
        assert found.prompt_most + Decimal(within) * found.output_price <= found.amount
