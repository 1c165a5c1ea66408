"""Batch what running steps produce to their watchers: one connection, one statement a tick for all steps."""

import asyncio
import contextlib
import json
import logging
from time import monotonic
from typing import Any
from uuid import UUID

import orjson
import psycopg

from activities.meters import Meters
from models.parts import Part, to_rest
from models.settings import Settings
from models.store import stream
from models.store.database import Database
from models.store.stream import EPISODE_BYTES, LogRow

WRITE_BYTES = 2 * 1024 * 1024  # in one statement, after an outage
FLUSH_PATIENCE = 2.0  # seconds that a turn waits for its preview, at most
WRITE_PATIENCE = 10.0  # seconds until a silent server counts as gone
MANY = 25  # busy steps from which on ticks come later: every part less is less work for all who pass it on
SLOWEST = 1.5  # times the interval
EARLY = 0.002  # seconds that a timer may come too soon
_DELTAS = {"text": "text", "reasoning": "text", "tool-call": "args_delta", "tool-result": "result_delta"}
_PLAIN = frozenset(
    {"type", "text", "tool_call_id", "tool_name", "args_delta", "result_delta", "created_at"}
)  # all text

log = logging.getLogger(__name__)


class Episode:
    """The live parts of one attempt. Nothing that happens to the preview can fail or slow the turn."""

    def __init__(self, publisher: "Publisher", chat_id: UUID, history_version: int, generation_attempt: int) -> None:
        self.chat_id = chat_id
        self.key = stream.Episode(history_version, generation_attempt)
        self.truncated = False
        self._publisher = publisher
        self._waiting: list[tuple[str, Part]] = []
        self._waiting_bytes = 0
        self._rows: list[LogRow] = []  # all of the episode, so that a log lost with its server can be written again
        self._bytes = 0
        self._written = 0
        self.closed = False
        self._waiting_since = 0.0  # when the oldest piece that waits was pushed
        self._taken_since = 0.0  # the same of what was taken to be written
        self._fresh = True

    def push(self, role: str, part: Part) -> None:
        """Show a piece of the step to watchers, soon. Never blocks, never raises for want of a database."""
        if self.closed or self.truncated:
            return
        key = _DELTAS.get(part["type"], "")
        try:
            grown = len(part[key]) if part.keys() <= _PLAIN and key in part else len(_encode(part))
        except (TypeError, ValueError, RecursionError):
            log.warning("chat %s: a part is no JSON, its preview ends here", self.chat_id)
            grown = EPISODE_BYTES + 1
        if self._bytes + self._waiting_bytes + grown > EPISODE_BYTES:
            self.truncated = True
            return
        if not (self._waiting and self._merge(role, part, key)):
            self._waiting.append((role, dict(part)))
        self._waiting_bytes += grown
        self._waiting_since = self._waiting_since or monotonic()
        self._publisher.wake(self, urgent=self._fresh or self._waiting_bytes >= self._publisher.flush_bytes)
        self._fresh = False

    async def flush(self) -> bool:
        """Wait until everything pushed is in the log; False if the log is out of reach (the turn goes on without)."""
        return await self._publisher.flush(self)

    def close(self) -> None:
        """The step is over: what is pushed later is ignored, what waits is still written."""
        self.closed = True
        self._publisher.forget(self)

    @property
    def settled(self) -> bool:
        """Everything pushed is in the log."""
        return not self._waiting and self._written == len(self._rows)

    def take(self) -> list[LogRow]:
        """The rows to write now, numbered."""
        for role, part in self._waiting:
            encoded = _encode(part)
            if self._bytes + len(encoded) > EPISODE_BYTES:
                self.truncated = True
                break
            self._bytes += len(encoded)
            self._rows.append(LogRow(self.chat_id, self.key, len(self._rows) + 1, role, encoded))
        self._waiting.clear()
        self._waiting_bytes = 0
        self._taken_since = self._taken_since or self._waiting_since
        self._waiting_since = 0.0
        return self._rows[self._written :]

    def wrote(self, rows: int) -> float | None:
        """So many of the taken rows are in the log; the seconds that the oldest took, if there was one."""
        self._written += rows
        since, self._taken_since = self._taken_since, 0.0
        return monotonic() - since if since and rows else None

    def rewind(self) -> None:
        """The server went away: write the episode again from its start, in case its log went with it."""
        self._written = 0

    def _merge(self, role: str, part: Part, key: str) -> bool:
        """Append a delta to the one that waits, if it continues it: same role, same kind, nothing new beside."""
        waiting_role, waiting = self._waiting[-1]
        if waiting_role != role or waiting["type"] != part["type"] or not isinstance(part.get(key), str):
            return False
        if not isinstance(waiting.get(key), str):
            return False
        if any(name != key and (name not in waiting or waiting[name] != value) for name, value in part.items()):
            return False
        waiting[key] += part[key]
        return True


class Publisher:
    """One ticker for all episodes of a worker: while one write is in flight, the next one gathers."""

    def __init__(self, database: Database, settings: Settings, meters: Meters | None = None) -> None:
        self._lag = (meters or Meters()).stream_lag_seconds
        self.flush_bytes = settings.stream_flush_bytes
        self._interval = settings.stream_flush_interval.total_seconds()
        self._database = database
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._episodes: dict[Episode, None] = {}  # those that are open, or have something to write
        self._due: dict[Episode, None] = {}
        self._urgent: dict[Episode, None] = {}  # of those, what does not wait for the tick
        self._busy = 0  # how many the last tick wrote
        self._flushes: list[tuple[Episode, asyncio.Future[bool]]] = []
        self._go = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._ticked = 0.0
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        """Begin to write. The database need not be there yet."""
        self._task = asyncio.create_task(self._run(), name="publisher")

    async def close(self) -> None:
        """Write what waits, if the database is there, and stop."""
        self._closing = True
        self._go.set()
        if self._task is not None:
            try:
                async with asyncio.timeout(FLUSH_PATIENCE):
                    await self._task
            except TimeoutError:
                log.warning("the stream log was out of reach at the end; some previews were not written")
        for _, future in self._flushes:
            _settle(future, False)
        if self._connection is not None:
            await self._connection.close()

    def episode(self, chat_id: UUID, history_version: int, generation_attempt: int) -> Episode:
        """The parts of a new attempt; numbered from 1."""
        made = Episode(self, chat_id, history_version, generation_attempt)
        self._episodes[made] = None
        return made

    def wake(self, episode: Episode, *, urgent: bool) -> None:
        """The episode has something to write: at once if urgent, else with the next tick."""
        self._due[episode] = None
        if urgent:
            self._urgent[episode] = None
            self._go.set()
        else:
            self._arm()

    def _arm(self) -> None:
        if self._timer is None and not self._go.is_set():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._next, loop.time()), self._go.set)

    @property
    def _next(self) -> float:
        """When the next tick is due."""
        return self._ticked + self._interval * slowed(self._busy)

    def forget(self, episode: Episode) -> None:
        if episode.settled:
            self._episodes.pop(episode, None)

    async def flush(self, episode: Episode) -> bool:
        if episode.settled:
            return True
        if self._task is None or self._task.done():
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._flushes.append((episode, future))
        self.wake(episode, urgent=True)
        try:
            async with asyncio.timeout(FLUSH_PATIENCE):
                return await future
        except TimeoutError:
            return False

    async def _run(self) -> None:
        pause = 0.05
        while not (self._closing and not self._due):
            await self._go.wait()
            self._go.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            try:
                await self._tick(self._taken())
                pause = 0.05
            except Exception as failure:  # whatever it is, it must not end the previews of all turns
                await self._lost(failure)
                if self._closing:
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
                self._ticked = 0.0
            if self._urgent or (self._due and self._closing):
                self._go.set()
            elif self._due:
                self._arm()

    def _taken(self) -> dict[Episode, None]:
        """Who is written now: all who wait when a tick is due, else those who cannot wait."""
        urgent, self._urgent = self._urgent, {}
        now = asyncio.get_running_loop().time()
        if now < self._next - EARLY and not self._closing:
            for episode in urgent:
                self._due.pop(episode, None)
            return urgent
        due, self._due = self._due, {}
        self._ticked, self._busy = now, len(due)
        return due

    async def _tick(self, due: dict[Episode, None]) -> None:
        """Write what waits, of these episodes, in one statement; what is too much for it is left for the next one."""
        batch: list[tuple[Episode, list[LogRow]]] = []
        size = 0
        for episode in due:
            rows = episode.take()
            kept = len(rows)
            for place, row in enumerate(rows):
                if size > WRITE_BYTES:
                    kept = place
                    self._due[episode] = self._urgent[episode] = None
                    break
                size += len(row.part)
            batch.append((episode, rows[:kept]))
        try:
            await self._write([row for _, rows in batch for row in rows])
        except psycopg.DataError:
            await self._isolate(batch)
        except BaseException:
            self._due = {**due, **self._due}
            raise
        for episode, rows in batch:
            lag = episode.wrote(len(rows))
            if lag is not None:
                self._lag.observe(lag)
            if episode.closed:
                self.forget(episode)
        self._answer()

    async def _write(self, rows: list[LogRow]) -> None:
        if rows:
            async with asyncio.timeout(WRITE_PATIENCE):
                await stream.write(await self._connected(), rows)

    async def _isolate(self, batch: list[tuple[Episode, list[LogRow]]]) -> None:
        """Postgres refuses something in the batch: write each episode alone, and stop showing the one at fault."""
        for episode, rows in batch:
            try:
                await self._write(rows)
            except psycopg.DataError as refused:
                log.warning("chat %s: a part cannot be logged, its preview ends here: %s", episode.chat_id, refused)
                episode.truncated = True

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await self._database.connect()
            await self._connection.execute("SET synchronous_commit = off")
        return self._connection

    async def _lost(self, failure: BaseException) -> None:
        log.warning("the stream log is out of reach; previews wait, turns go on: %s", failure)
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await self._connection.close()
            self._connection = None
        for episode in self._episodes:
            episode.rewind()
            self._due[episode] = None
        for _, future in self._flushes:
            _settle(future, False)
        self._flushes.clear()

    def _answer(self) -> None:
        """Release the flushes that have what they waited for."""
        still = []
        for episode, future in self._flushes:
            if episode.settled:
                _settle(future, True)
            elif not future.done():
                still.append((episode, future))
        self._flushes = still


def slowed(busy: int) -> float:
    """How many intervals lie between two ticks when so many steps have something to show."""
    return min(max(busy / MANY, 1.0), SLOWEST)


def _settle(future: asyncio.Future[bool], answer: bool) -> None:
    if not future.done():
        future.set_result(answer)


def _encode(part: Part) -> bytes:
    try:
        return orjson.dumps(to_rest(part))
    except TypeError:  # an integer beyond 64 bits, among a model's arguments
        return json.dumps(to_rest(part), default=str).encode()
