"""What an answer costs, by hand-computed cases and by laws."""

from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.pricing import KEYS, MOST, UNPRICED, Prices, cost_micros, prices

SONNET = Prices(Decimal(3), Decimal(15), Decimal("0.30"), Decimal("3.75"))


def usage(
    fresh: int | None = None,
    output: int | None = None,
    read: int | None = None,
    written: int | None = None,
    **more: int,
) -> dict[str, int | None]:
    return {
        "input_tokens": fresh,
        "output_tokens": output,
        "cache_read_tokens": read,
        "cache_creation_tokens": written,
        **more,
    }


# Each sum was done by hand.
CASES: list[tuple[str, Prices, dict[str, int | None], int | None]] = [
    ("1000 x 3 + 500 x 15", SONNET, usage(1000, 500), 10_500),
    ("cached tokens have their own prices", SONNET, usage(10, 20, 100_000, 2000), 30 + 300 + 30_000 + 7500),
    ("reasoning is in the output already", SONNET, usage(10, 20, reasoning_tokens=19, total_tokens=30), 330),
    ("one cached token is a third of a micro, rounded up", SONNET, usage(read=1), 1),
    ("rounded once: 0.3 + 3.75 + 3 is 7.05", SONNET, usage(1, None, 1, 1), 8),
    ("exact sums are not rounded: 10 x 0.3 is 3", SONNET, usage(read=10), 3),
    ("a sub-micro total becomes 1", Prices(Decimal("0.000001")), usage(1), 1),
    ("a category without a price adds nothing", Prices(Decimal(3)), usage(10, 1000), 30),
    ("no prices", UNPRICED, usage(10, 20), None),
    ("no usage", SONNET, usage(), None),
    ("only a total is known", SONNET, usage(total_tokens=30), None),
    ("tokens only where there is no price", Prices(Decimal(3)), usage(None, 20), None),
    ("the same, with a known zero where there is one", Prices(Decimal(3)), usage(0, 20), None),
    ("known zeros are a priced 0", Prices(Decimal(3)), usage(0, 0), 0),
    ("a free model is a priced 0", Prices(Decimal(0), Decimal(0)), usage(10, 20), 0),
    ("more digits than a float has", Prices(Decimal("0.1")), usage(9_007_199_254_740_993), 900_719_925_474_100),
    ("what no column can hold is the most it can", Prices(Decimal(10) ** 19), usage(2**62), MOST),
]


@pytest.mark.parametrize(("name", "known", "used", "micros"), CASES, ids=[case[0] for case in CASES])
def test_the_hand_computed_cases_come_out(
    name: str, known: Prices, used: dict[str, int | None], micros: int | None
) -> None:
    assert cost_micros(known, used) == micros


def test_no_usage_at_all_is_unpriced() -> None:
    assert cost_micros(SONNET, None) is None


PRICE = st.decimals(0, 10**6, places=12)
TOKENS = st.integers(1, 10**9)


@given(st.tuples(PRICE, PRICE, PRICE, PRICE), st.tuples(TOKENS, TOKENS, TOKENS, TOKENS))
def test_the_sum_is_exact_and_rounded_up_once(each: Any, counts: Any) -> None:
    exact = sum(Fraction(price) * count for price, count in zip(each, counts, strict=True))
    assert cost_micros(Prices(*each), usage(*counts)) == ceil(exact)


def test_prices_are_read_from_a_models_options() -> None:
    cost = {KEYS["input"]: "0.25", KEYS["cache_write"]: "1"}
    assert prices({"cost": cost, "temperature": 1}) == Prices(Decimal("0.25"), cache_write=Decimal(1))
    assert prices({}) == UNPRICED


@pytest.mark.parametrize("nonsense", ["a lot", "NaN", "Infinity", "-1", {"usd": 3}, ""])
def test_a_price_that_makes_no_sense_is_none(nonsense: object) -> None:
    assert prices({"cost": {KEYS["input"]: nonsense, KEYS["output"]: "2"}}) == Prices(output=Decimal(2))
    assert prices({"cost": nonsense}) == UNPRICED
