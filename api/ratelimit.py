"""How often one caller may ask: a token bucket each, in each process, which hears what the others' callers took."""

import time
from collections.abc import Callable
from functools import lru_cache

from models.rules import lockout

MOST = 20_000
SHARE = 10  # a tenth of what is had at once is worth telling the other processes


class RateLimit:
    """`per_minute` requests a minute for each key, `burst` (a tenth unless given) at once; 0 is unlimited."""

    def __init__(
        self, per_minute: int, burst: int | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = per_minute / 60
        self._burst = max(1, per_minute // 10 if burst is None else burst)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._untold: dict[str, int] = {}

    def take(self, key: str) -> float:
        """Count one request: 0.0 if it may pass, else the seconds to wait."""
        if not self._rate:
            return 0.0
        now = self._clock()
        left = self._left(key, now)
        if left < 1:
            return (1 - left) / self._rate
        if len(self._buckets) >= MOST:
            self._drop_idle(now)
        self._buckets[key] = (left - 1, now)
        self._untold[key] = self._untold.get(key, 0) + 1
        return 0.0

    def told(self) -> dict[str, int]:
        """What callers took here that others should know: once; those who took little are named later."""
        least = max(1, self._burst // SHARE)
        much = {key: taken for key, taken in self._untold.items() if taken >= least}
        for key in much:
            del self._untold[key]
        return much

    def heard(self, key: str, taken: int) -> None:
        """Another process let the caller pass so often: that is owed here, up to what is had at once."""
        if not self._rate:
            return
        now = self._clock()
        if len(self._buckets) >= MOST:
            self._drop_idle(now)
        self._buckets[key] = (max(-self._burst, self._left(key, now) - taken), now)

    def _left(self, key: str, now: float) -> float:
        left, since = self._buckets.get(key, (self._burst, now))
        return min(self._burst, left + (now - since) * self._rate)

    def _drop_idle(self, now: float) -> None:
        """Forget buckets that are full again; all of them, if that does not help."""
        busy = {key: bucket for key, bucket in self._buckets.items() if self._left(key, now) < self._burst}
        self._buckets = busy if len(busy) < MOST // 2 else {}
        self._untold = {key: taken for key, taken in self._untold.items() if key in self._buckets}


network = lru_cache(maxsize=10_000)(lockout.network)
"""What strangers at this address share."""
