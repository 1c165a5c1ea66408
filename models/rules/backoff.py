"""How long to wait before a failed model step is tried again."""

import math
from datetime import timedelta

LONGEST_WISH = timedelta(hours=1)


def delay(attempt: int, *, base: timedelta, cap: timedelta, retry_after: timedelta | None = None) -> timedelta:
    """The wait after failed attempt `attempt` (from 1): doubling up to `cap`, never less than the provider asks."""
    doublings = max(attempt, 1) - 1
    waits = cap if doublings >= math.log2(max(cap / base, 1)) else base * 2**doublings
    return max(waits, min(retry_after or timedelta(), LONGEST_WISH))
