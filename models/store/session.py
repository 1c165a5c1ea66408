"""A transaction one can see, and the pool of connections it takes one from when it first asks something."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, LiteralString, Self

import psycopg

from models.store.connection import Connection, Row, Statement

CONNECT_TIMEOUT = 10  # seconds
POOL_TIMEOUT = 10.0  # seconds
# To compile a plan takes longer than any of our statements should run.
SESSION_OPTIONS = (
    "-c statement_timeout=30000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000 -c jit=off"
)

_BEGIN: Final = Statement("BEGIN", prepare=True)
_COMMIT: Final = Statement("COMMIT", prepare=True)
_ROLLBACK: Final = Statement("ROLLBACK")
_SAVE: Final = Statement("SAVEPOINT nested")
_BACK: Final = Statement("ROLLBACK TO SAVEPOINT nested")
_RELEASE: Final = Statement("RELEASE SAVEPOINT nested")

# A commit that notifies holds one lock of the whole database until it is on the disk; one that need not be there does
# not. What is said is a hint: the commit before it stands, whatever becomes of it.
_TELL: Final = """
    SELECT set_config('synchronous_commit', 'off', true), pg_notify(channel, payload)
    FROM unnest(%(channels)s::text[], %(payloads)s::text[]) AS told(channel, payload)"""


class PoolExhausted(psycopg.OperationalError):
    """No connection came free in time."""


class Pool:
    """At most `size` connections, opened when they are needed; the one used last is used next."""

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._room = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._endings: set[asyncio.Task[None]] = set()
        self._closed = False

    async def take(self) -> Connection:
        """A connection of one's own; raises psycopg.OperationalError, PoolExhausted among others."""
        if self._room.locked():
            try:
                async with asyncio.timeout(POOL_TIMEOUT):
                    await self._room.acquire()
            except TimeoutError:
                raise PoolExhausted("no connection of the pool came free in time") from None
        else:
            await self._room.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.hung_up:
                    return connection
                self._end(connection)
            return await Connection.open(self._url, options=SESSION_OPTIONS, connect_timeout=CONNECT_TIMEOUT)
        except BaseException:
            self._room.release()
            raise

    def give(self, connection: Connection) -> None:
        """Take a connection back; one that cannot be used again is ended."""
        if not self._closed and connection.between_trips and not connection.in_transaction:
            self._idle.append(connection)
        else:
            self._end(connection)
        self._room.release()

    async def close(self) -> None:
        """Close what is idle now and what is given back later."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()
        if self._endings:
            await asyncio.wait(self._endings)

    def _end(self, connection: Connection) -> None:
        ending = asyncio.create_task(connection.give_up())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


class Session:
    """One transaction, or, outside of one, statements that each stand alone. Used as a block, by one task.

    It takes its connection with its first statement; BEGIN and savepoints travel with the statement that follows.
    """

    __slots__ = (
        "_before",
        "_bell",
        "_closing",
        "_connection",
        "_ended",
        "_last",
        "_notices",
        "_pool",
        "_rings",
        "_transaction",
    )

    def __init__(
        self,
        pool: Pool,
        *,
        transaction: bool,
        bell: Callable[[], None] | None = None,
        closing: "Callable[[Session], None] | None" = None,
    ) -> None:
        self._pool = pool
        self._bell = bell
        self._closing = closing
        self._rings = False
        self._transaction = transaction
        self._before: list[Statement] = [_BEGIN] if transaction else []
        self._connection: Connection | None = None
        self._last: list[Statement] = []
        self._notices: list[tuple[str, str]] = []
        self._ended = False

    def tell(self, channel: str, payload: str) -> None:
        """Say this to whoever listens, right after the transaction is committed: in its round trip, not in its way."""
        if not self._transaction or self._ended:
            raise RuntimeError("there is no transaction to follow")
        self._notices.append((channel, payload))

    def ring(self) -> None:
        """Once the transaction is committed, say in this process that it wrote something for the courier."""
        self._rings = True
        if self._ended:
            self._committed()

    async def run(self, statements: Sequence[Statement], *, last: bool = False) -> list[list[Row]]:
        """Run these in one round trip. With `last` the transaction is committed in the same one: nothing may follow."""
        if self._ended:
            raise RuntimeError("this transaction is over")
        if self._connection is None:
            self._connection = await self._pool.take()
        ends = last and self._transaction
        batch = [*self._before, *statements, *(self._commit() if ends else ())]
        skipped = len(self._before)
        self._before = []
        found = await self._connection.run(batch)
        self._ended = ends
        if ends:
            self._committed()
        return found[skipped : skipped + len(statements)]

    @asynccontextmanager
    async def begin_nested(self) -> AsyncIterator[None]:
        """A savepoint, one at a time: what the block did is undone when it raises, and the transaction goes on."""
        self._before.append(_SAVE)
        told, last = len(self._notices), len(self._last)
        try:
            yield
        except BaseException:
            del self._notices[told:], self._last[last:]
            if _SAVE in self._before:
                self._before.remove(_SAVE)  # nothing was asked in the block
            elif self._connection is not None and self._connection.between_trips:
                self._before = []
                await self._connection.run([_BACK, _RELEASE])
            raise
        self._before.append(_RELEASE)

    def finish_with(self, statement: LiteralString, params: Mapping[str, Any]) -> None:
        """Run this as the last thing of the transaction, in the commit's round trip. If it fails, nothing is done."""
        if not self._transaction or self._ended or self._connection is None:
            raise RuntimeError("there is no transaction to finish")
        self._last.append(Statement(statement, params))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection = self._connection
        if connection is None:
            self._ended = True
            return
        try:
            if self._transaction and not self._ended:
                await self._end(connection, commit=error is None)
        finally:
            self._ended = True
            self._connection = None
            self._pool.give(connection)

    def _commit(self) -> list[Statement]:
        if self._closing is not None:
            self._closing(self)
        if not self._notices:
            return [*self._last, _COMMIT]
        channels, payloads = zip(*self._notices, strict=True)
        told = {"channels": list(channels), "payloads": list(payloads)}
        return [*self._last, _COMMIT, Statement(_TELL, told, prepare=True, forgiven=True)]

    def _committed(self) -> None:
        if self._rings and self._bell is not None:
            self._bell()
        self._rings = False

    async def _end(self, connection: Connection, *, commit: bool) -> None:
        if commit:
            if connection.has_failed:
                await connection.run([_ROLLBACK])
                raise psycopg.errors.InFailedSqlTransaction("a statement failed: nothing was committed")
            await connection.run(self._commit())
            self._committed()
        elif connection.between_trips and connection.in_transaction:
            # One that is gone has rolled back by itself; what raised is what matters.
            with suppress(psycopg.OperationalError):
                await connection.run([_ROLLBACK])
