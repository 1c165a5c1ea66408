"""How often one caller may ask one process: a token bucket each."""

import time
from collections.abc import Callable

MOST = 20_000


class RateLimit:
    """`per_minute` requests a minute for each key, `burst` (a tenth unless given) at once; 0 is unlimited."""

    def __init__(
        self, per_minute: int, burst: int | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = per_minute / 60
        self._burst = max(1, per_minute // 10 if burst is None else burst)
        self._clock = clock
        self._buckets: dict[bytes | str, tuple[float, float]] = {}

    def take(self, key: bytes | str) -> float:
        """Count one request: 0.0 if it may pass, else the seconds to wait."""
        if not self._rate:
            return 0.0
        now = self._clock()
        left, since = self._buckets.get(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        if left < 1:
            return (1 - left) / self._rate
        if len(self._buckets) >= MOST:
            self._drop_idle(now)
        self._buckets[key] = (left - 1, now)
        return 0.0

    def _drop_idle(self, now: float) -> None:
        """Forget buckets that are full again; all of them, if that does not help."""
        busy = {
            key: (left, since)
            for key, (left, since) in self._buckets.items()
            if left + (now - since) * self._rate < self._burst
        }
        self._buckets = busy if len(busy) < MOST // 2 else {}
