"""Tells the other API processes what callers took here, so that a limit holds for all of them, a second late."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from uuid import uuid4

import orjson
import psycopg

from api.ratelimit import RateLimit
from models.store import notices
from models.store.database import Database

log = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds
TOGETHER = 25  # callers in one notice, which holds 8,000 bytes
LONGEST_KEY = 120


class Gossip:
    """The limits of this process by name, and what others say of theirs.

    A lost notice, or a database that is away, lets a caller have as much again; nobody is refused for it.
    """

    def __init__(self, database: Database, limits: Mapping[str, RateLimit]) -> None:
        self._database = database
        self._limits = limits
        self._me = uuid4().hex

    async def run(self) -> None:
        """Listen and tell, for ever."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._listen())
            both.create_task(self._tell_often())

    async def tell(self) -> None:
        """Say what was taken here since the last time."""
        said = [
            [name, key, taken]
            for name, limit in self._limits.items()
            for key, taken in limit.told().items()
            if len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()
        ]
        if not said:
            return
        async with self._database.read() as session:
            for start in range(0, len(said), TOGETHER):
                payload = orjson.dumps([self._me, said[start : start + TOGETHER]]).decode()
                await notices.tell(session, notices.RATES, payload)

    def hear(self, payload: str) -> None:
        """Another process says what was taken there; what a newer version says of limits unknown here is left."""
        who, said = orjson.loads(payload)
        if who == self._me:
            return
        for name, key, taken in said:
            if (limit := self._limits.get(name)) is not None:
                limit.heard(key, taken)

    async def _listen(self) -> None:
        while True:
            try:
                async with aclosing(self._database.listen([notices.RATES])) as coming:
                    async for notice in coming:
                        if notice is not None:
                            self.hear(notice.payload)
            except Exception:
                log.exception("the listener for other processes' limits failed; starting it again")
                await asyncio.sleep(1)

    async def _tell_often(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.tell()
            except (psycopg.Error, OSError) as away:
                log.debug("what callers took was not told: %s", away)
