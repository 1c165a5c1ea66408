"""How much to set aside for a model call: what it can cost at most, and how small its answer may be made.

No tokenizer is asked: it would take longer than the call's own way. Every token of the models we know stands for one
byte of text at least, so the bytes of what is sent are more tokens than they can be, about four times as many; and no
model reads more than its context holds, which bounds pictures and files, whose bytes are no text.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from models.rules.pricing import Prices

LEAST_ANSWER = 1024
"""Tokens: an answer that would have to be shorter is not worth its prompt."""
OVERHEAD = 1024
"""Tokens that a provider may put around what it is sent, beside it in each message."""
MESSAGE_OVERHEAD = 16
BYTES_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Bound:
    """What a call can cost. `amount` is for the longest answer, `least` for one of LEAST_ANSWER tokens."""

    prompt_most: int
    prompt_likely: int
    output_price: Decimal
    amount: int
    least: int

    def answer_within(self, micros: int) -> int:
        """How many tokens the answer may have, so that the call costs no more than this."""
        if not self.output_price:
            return 0
        return max(0, int((micros - self.prompt_most) / self.output_price))


def bound(prices: Prices, *, sent_bytes: int, messages: int, context_limit: int, longest: int) -> Bound:
    """The bound of a call that sends so many bytes, and may be answered with at most `longest` tokens.

    A token of the prompt costs what the dearest kind does: whether the provider writes it to its cache, it decides.
    """
    kinds = [price for price in (prices.input, prices.cache_read, prices.cache_write) if price is not None]
    dearest, output = max(kinds, default=Decimal(0)), prices.output or Decimal(0)
    most = min(sent_bytes + OVERHEAD + MESSAGE_OVERHEAD * messages, max(context_limit, 1))
    likely = min(sent_bytes // BYTES_A_TOKEN, max(context_limit, 1))
    prompt = _up(dearest * most)
    shortest = min(longest, LEAST_ANSWER)
    return Bound(
        prompt, _up((prices.input or Decimal(0)) * likely), output, prompt + _up(output * longest),
        prompt + _up(output * shortest),
    )  # fmt: skip


def _up(micros: Decimal) -> int:
    return int(micros.to_integral_value(ROUND_CEILING))
