"""The door to Postgres: transactions one can see, plain fast statements, and LISTEN."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, LiteralString

import orjson
import psycopg
from psycopg.types.json import set_json_dumps, set_json_loads

from models.store.connection import Row, Statement
from models.store.session import CONNECT_TIMEOUT, Pool, Session

__all__ = ["Database", "Row", "Session", "fetch", "fetch_together"]


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()


set_json_loads(orjson.loads)
set_json_dumps(_dumps)


class Database:
    """One process's connections to Postgres."""

    def __init__(self, url: str, pool_size: int = 10) -> None:
        self.url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self.pool = Pool(self.url, pool_size)
        self.bell: Callable[[], None] | None = None
        """Called after each commit that wrote something for the courier (store/courier.py)."""
        self.closing: Callable[[Session], None] | None = None
        """Called before each commit, which it may finish with something of its own (store/audit.py)."""

    def begin(self) -> Session:
        """One transaction, as a block: committed when the block ends, rolled back when it raises."""
        return Session(self.pool, transaction=True, bell=self.bell, closing=self.closing)

    def read(self) -> Session:
        """A block in which each statement stands alone: reads without a transaction's round trips."""
        return Session(self.pool, transaction=False)

    async def connect(self) -> psycopg.AsyncConnection[Any]:
        """A connection outside the pool, in autocommit: for LISTEN and for the stream log's writer."""
        return await psycopg.AsyncConnection.connect(self.url, autocommit=True, connect_timeout=CONNECT_TIMEOUT)

    async def listen(self, channels: Sequence[str]) -> AsyncGenerator[psycopg.Notify | None, None]:
        """Yield notifications for ever, reconnecting; None after each (re)connect: what came before may be lost."""
        pause = 0.05
        while True:
            try:
                async with await self.connect() as connection:
                    for channel in channels:
                        await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
                    pause = 0.05
                    yield None
                    async for notice in connection.notifies():
                        yield notice
            except psycopg.OperationalError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)

    async def close(self) -> None:
        await self.pool.close()


async def fetch(
    session: Session,
    statement: LiteralString,
    params: Mapping[str, Any] | None = None,
    *,
    prepare: bool | None = None,
    binary: bool = False,
    last: bool = False,
) -> list[Row]:
    """Run a plain statement in the session's transaction.

    Parameters are psycopg's (`%(name)s`), rows come as dicts, JSONB decoded, uuid as UUID. What is seen often is
    prepared; with `prepare` False the plan is made anew for the parameters at hand. Large bytea come in half the size
    with `binary`. With `last` the transaction is committed in the same round trip, and nothing may follow.
    """
    [rows] = await session.run([Statement(statement, params, prepare, binary)], last=last)
    return rows


async def fetch_together(
    session: Session, statements: Sequence[tuple[LiteralString, Mapping[str, Any] | None]], *, last: bool = False
) -> list[list[Row]]:
    """Run several statements in one round trip, in order; each sees what the one before it locked or wrote."""
    return await session.run([Statement(text, params) for text, params in statements], last=last)
