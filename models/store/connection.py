"""One connection to Postgres, spoken to in whole round trips: everything is sent, then every answer is read.

Statements go through libpq's pipeline, and what is run often is prepared. A trip costs one write and mostly one read.
A statement that fails skips the rest of its trip, a COMMIT at its end included.
"""

import asyncio
import contextlib
import re
import select
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGresult

Row = dict[str, Any]

PREPARE_AFTER = 3  # runs of a statement in this process: what is rare costs the server no memory
MOST_PREPARED = 200  # on one connection
CANCEL_TIMEOUT = 5.0  # seconds
_MOST_COUNTED = 5000
_LOST = "the connection to the server was lost"


class Statement(NamedTuple):
    """A statement with psycopg's placeholders: `%(name)s`, or `%(name)b` for bytes as they are.

    `prepare` None: when it has been seen often. What fails while it is `forgiven` fails nobody.
    """

    text: LiteralString
    params: Mapping[str, Any] | None = None
    prepare: bool | None = None
    binary: bool = False
    forgiven: bool = False


class _Prepared(NamedTuple):
    name: bytes
    columns: list[str]  # known once a result was read


class _Message(NamedTuple):
    """A statement as it is sent."""

    text: bytes
    values: Sequence[Any] | None
    types: tuple[int, ...] | None
    formats: Sequence[Any] | None
    form: Format
    prepared: _Prepared | None
    prepares: bool


_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)([sb])|%)")
_FORMATS = {"s": PyFormat.AUTO, "b": PyFormat.BINARY}
_seen: Counter[str] = Counter()


class Connection:
    """A connection of one event loop, used by one task at a time."""

    def __init__(self, driver: psycopg.AsyncConnection[Any]) -> None:
        self._driver = driver
        self._pq = driver.pgconn
        self._pq.enter_pipeline_mode()
        self._adapt = Transformer(driver)
        self._prepared: dict[tuple[bytes, tuple[int, ...] | None], _Prepared] = {}
        self._named = 0
        self._busy = False
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._socket = self._pq.socket
        self._listening = False
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    @classmethod
    async def open(cls, url: str, *, options: str, connect_timeout: int) -> "Connection":
        """A new connection; raises psycopg.OperationalError."""
        return cls(
            await psycopg.AsyncConnection.connect(
                url, autocommit=True, options=options, connect_timeout=connect_timeout
            )
        )

    @property
    def between_trips(self) -> bool:
        """Can it be spoken to? Not when a trip was given up half-way, or when it is broken."""
        return not self._busy and self._pq.status == ConnStatus.OK

    @property
    def in_transaction(self) -> bool:
        """Is a transaction open on it?"""
        return self._pq.transaction_status != TransactionStatus.IDLE

    @property
    def has_failed(self) -> bool:
        """Is the transaction lost that is open on it?"""
        return self._pq.transaction_status == TransactionStatus.INERROR

    @property
    def hung_up(self) -> bool:
        """Has the server said something that nobody asked for? A system call instead of the round trip of a ping."""
        return not self.between_trips or bool(self._poll.poll(0))

    async def run(self, batch: Sequence[Statement]) -> list[list[Row]]:
        """Run the statements in order, in one round trip: the rows of each. Raises the error of the first that fails.

        Each sees what the one before it locked or wrote. Outside of a transaction all of them together are one.
        """
        messages = [self._encode(statement) for statement in batch]
        if not self.between_trips:
            raise psycopg.OperationalError(_LOST)
        if not self._listening:
            self._loop.add_reader(self._socket, self._readable)
            self._listening = True
        self._busy = True
        for message in messages:
            self._send(message)
        self._pq.pipeline_sync()
        if self._pq.flush():
            await self._flush()
        failed: psycopg.Error | None = None
        found: list[list[Row]] = []
        for statement, message in zip(batch, messages, strict=True):
            refused = await self._prepares(message) if message.prepares else None
            result = await self._answer()
            found.append(self._rows(result, message.prepared) if result.status == ExecStatus.TUPLES_OK else [])
            if result.status == ExecStatus.FATAL_ERROR:
                refused = refused or self._refused(result)
            if not statement.forgiven:
                failed = failed or refused
        if (await self._result()) is None:  # the end of the pipeline
            raise psycopg.OperationalError(_LOST)
        self._busy = False
        if failed is not None:
            raise failed
        return found

    async def give_up(self) -> None:
        """End what nobody waits for any more: a running statement is cancelled, the connection closed."""
        self._stop_listening()
        try:
            if self._busy and self._pq.status == ConnStatus.OK:
                with contextlib.suppress(psycopg.Error):
                    await self._driver.cancel_safe(timeout=CANCEL_TIMEOUT)
        finally:
            await self._driver.close()

    async def close(self) -> None:
        """Hang up."""
        self._stop_listening()
        await self._driver.close()

    def _encode(self, statement: Statement) -> _Message:
        text, names = _compiled(statement.text, statement.params is not None)
        values: Sequence[Any] | None = None
        types: tuple[int, ...] | None = None
        formats: Sequence[Any] | None = None
        if names:
            given = statement.params or {}
            wanted = [_FORMATS[kind] for _, kind in names]
            values = self._adapt.dump_sequence([given[name] for name, _ in names], wanted)
            types, formats = self._adapt.types, self._adapt.formats
        form = Format.BINARY if statement.binary else Format.TEXT
        if statement.prepare is False:
            return _Message(text, values, types, formats, form, None, False)
        prepared = self._prepared.get((text, types))
        prepares = prepared is None and self._is_worth_preparing(statement)
        if prepares:
            self._named += 1
            prepared = self._prepared[text, types] = _Prepared(b"s%d" % self._named, [])
        return _Message(text, values, types, formats, form, prepared, prepares)

    def _is_worth_preparing(self, statement: Statement) -> bool:
        if len(self._prepared) >= MOST_PREPARED:
            return False
        if len(_seen) > _MOST_COUNTED:
            _seen.clear()
        _seen[statement.text] += 1
        return bool(statement.prepare) or _seen[statement.text] > PREPARE_AFTER

    def _send(self, message: _Message) -> None:
        text, values, types, formats, form, prepared, prepares = message
        if prepared is None:
            self._pq.send_query_params(text, values, types, formats, form)
            return
        if prepares:
            self._pq.send_prepare(prepared.name, text, types)
        self._pq.send_query_prepared(prepared.name, values, formats, form)

    async def _prepares(self, message: _Message) -> psycopg.Error | None:
        result = await self._answer()
        if result.status == ExecStatus.COMMAND_OK:
            return None
        self._prepared.pop((message.text, message.types), None)
        return self._refused(result) if result.status == ExecStatus.FATAL_ERROR else None

    def _refused(self, result: PGresult) -> psycopg.Error:
        """What the server refused, without the row that it quotes: errors go into logs, rows hold what people say."""
        refused = error_from_result(result, self._adapt.encoding)
        told = refused.diag
        named = [each for each in (told.sqlstate, told.table_name, told.constraint_name) if each]
        refused.args = (f"{told.message_primary} ({', '.join(named)})",)
        return refused

    def _rows(self, result: PGresult, prepared: _Prepared | None) -> list[Row]:
        count = result.ntuples
        if not count:
            return []
        columns = prepared.columns if prepared is not None else []
        if len(columns) != result.nfields:
            columns[:] = [(result.fname(number) or b"").decode() for number in range(result.nfields)]
        self._adapt.set_pgresult(result)
        return self._adapt.load_rows(0, count, _maker(columns))

    async def _answer(self) -> PGresult:
        """The one result of a command, and the mark that it has no other."""
        result = await self._result()
        if result is None or (await self._result()) is not None:
            raise psycopg.OperationalError(_LOST)
        return result

    async def _result(self) -> PGresult | None:
        while self._pq.is_busy():
            await self._until_readable()
            self._pq.consume_input()
        return self._pq.get_result()

    async def _flush(self) -> None:
        """Send what the socket did not take at once; the server may have to be heard before it takes more."""
        self._loop.add_writer(self._socket, self._wake)
        try:
            while self._pq.flush():
                await self._until_readable()
                self._pq.consume_input()
        finally:
            self._loop.remove_writer(self._socket)

    async def _until_readable(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _readable(self) -> None:
        if self._busy:
            self._wake()
        elif self._poll.poll(0):
            self._stop_listening()  # nobody asked, so it was hung up: whoever takes it next will see

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _stop_listening(self) -> None:
        if self._listening and not self._loop.is_closed():
            self._listening = False
            self._loop.remove_reader(self._socket)


def _maker(columns: Sequence[str]) -> Callable[[Sequence[Any]], Row]:
    return lambda values: dict(zip(columns, values, strict=True))


@lru_cache(maxsize=2000)
def _compiled(text: str, takes_params: bool) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """The statement with the server's placeholders, and the names and kinds of its parameters in their order."""
    if not takes_params:
        return text.encode(), ()
    places: dict[tuple[str, str], int] = {}

    def place(found: re.Match[str]) -> str:
        return "%" if found[1] is None else f"${places.setdefault((found[1], found[2]), len(places) + 1)}"

    return _PLACEHOLDER.sub(place, text).encode(), tuple(places)
