"""From a token's digest to its principal, without a query for each request."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from models.principal import Principal
from models.store import notices, people
from models.store.database import Database

log = logging.getLogger(__name__)

LIFE = 10.0  # seconds: how long a revocation may go unnoticed if its notification is lost
MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    until: float


class Principals:
    """Known tokens of one process; a change of people, tokens or roles elsewhere empties what it concerns at once."""

    def __init__(self, database: Database, *, shares: bool = True) -> None:
        self._database = database
        self._shares = shares
        self._known: dict[bytes, _Known] = {}
        self._changes = 0

    def whose(self, digest: bytes) -> str | None:
        """The user whose token this is, if it has been seen lately and found good."""
        known = self._known.get(digest)
        return str(known.principal.user_id) if known is not None else None

    async def find(self, digest: bytes) -> Principal | None:
        """The principal of a valid token, None for any other."""
        known = self._known.get(digest)
        if known is not None and known.until > time.monotonic():
            return known.principal
        changes = self._changes
        async with self._database.read() as session:
            found = await people.find_by_token(session, digest)
        if found is None:
            self._known.pop(digest, None)
            return None
        principal = replace(found.principal, shares=self._shares)
        # What was read before a change must not be kept after it.
        if changes == self._changes:
            if len(self._known) >= MOST:
                self._known.clear()
            life = min(LIFE, found.expires_in.total_seconds())
            self._known[digest] = _Known(principal, time.monotonic() + life)
        return principal

    def forget(self, whom: str = "*") -> None:
        """Drop what is known of a user id or token id, or everything."""
        self._changes += 1
        if whom == "*":
            self._known.clear()
            return
        self._known = {
            digest: known
            for digest, known in self._known.items()
            if whom not in (str(known.principal.user_id), known.principal.token_id)
        }

    async def follow(self, told: Callable[[str], None]) -> None:
        """Listen for changes, for ever, and tell whom each concerns once they are forgotten."""
        while True:
            try:
                async with aclosing(self._database.listen([notices.PEOPLE])) as coming:
                    async for notice in coming:
                        whom = notice.payload if notice is not None else "*"
                        self.forget(whom)
                        told(whom)
            except Exception:
                log.exception("the listener for changes of people failed; starting it again")
                self.forget()
                await asyncio.sleep(1)
