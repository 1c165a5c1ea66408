"""The door to Postgres: transactions one can see, plain fast statements, and LISTEN."""

import asyncio
import select
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import orjson
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_dumps, set_json_loads
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

Row = dict[str, Any]

_DRIVER = "driver"
CONNECT_TIMEOUT = 10  # seconds
SESSION_OPTIONS = "-c statement_timeout=30000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000"


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()


set_json_loads(orjson.loads)
set_json_dumps(_dumps)


class Database:
    """One process's connections to Postgres."""

    def __init__(self, url: str, pool_size: int = 10) -> None:
        self.url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._engine: AsyncEngine = create_async_engine(
            self.url.replace("postgresql://", "postgresql+psycopg://", 1),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            connect_args={"connect_timeout": CONNECT_TIMEOUT, "options": SESSION_OPTIONS},
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_dead)
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        async with AsyncSession(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session in which each statement stands alone: reads without a transaction's round trips."""
        async with AsyncSession(self._autocommit, expire_on_commit=False) as session:
            yield session

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
        await self._engine.dispose()


async def fetch(
    session: AsyncSession,
    statement: LiteralString,
    params: Mapping[str, Any] | None = None,
    *,
    prepare: bool | None = None,
    binary: bool = False,
) -> list[Row]:
    """Run a plain statement on the session's own connection and transaction, at the driver's speed.

    For hot statements; parameters are psycopg's (`%(name)s`), rows come as dicts, JSONB decoded, uuid as UUID. The
    driver prepares what it sees often; with `prepare` False the plan is made anew for the parameters at hand. Large
    bytea come in half the size with `binary`.
    """
    driver = await _driver(session)
    cursor = driver.cursor(row_factory=dict_row)
    await cursor.execute(statement, params, prepare=prepare, binary=binary)
    return [] if cursor.rownumber is None else await cursor.fetchall()  # `description` would describe every column


async def fetch_together(
    session: AsyncSession, statements: Sequence[tuple[LiteralString, Mapping[str, Any] | None]]
) -> list[list[Row]]:
    """Run several statements in one round trip, in order; each sees what the one before it locked or wrote."""
    driver = await _driver(session)
    cursors = []
    async with driver.pipeline():
        for statement, params in statements:
            cursor = driver.cursor(row_factory=dict_row)
            await cursor.execute(statement, params)
            cursors.append(cursor)
    return [[] if cursor.rownumber is None else await cursor.fetchall() for cursor in cursors]


async def _driver(session: AsyncSession) -> psycopg.AsyncConnection[Any]:
    """The driver's connection under a session: one for all its life, so the way there is gone once."""
    found: psycopg.AsyncConnection[Any] | None = session.info.get(_DRIVER)
    if found is None or session.in_nested_transaction():  # a savepoint is set when the session is asked
        connection = await (await session.connection()).get_raw_connection()
        found = session.info[_DRIVER] = connection.driver_connection
        assert found is not None
    return found


def _refuse_dead(connection: Any, _record: object, _proxy: object) -> None:
    """A pooled connection with something to read has been hung up by the server: take another one.

    One system call instead of the round trip of a ping on every checkout.
    """
    poll = select.poll()
    try:
        poll.register(connection.driver_connection.fileno(), select.POLLIN)
        if poll.poll(0):
            raise DisconnectionError("the server closed this connection")
    except psycopg.OperationalError as gone:
        raise DisconnectionError(str(gone)) from gone
