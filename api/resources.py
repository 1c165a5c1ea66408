"""What handlers may use, opened once for the process and closed in order."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

import psycopg
from fastapi import Depends
from starlette.requests import HTTPConnection

from api.gossip import Gossip
from api.live.desktops import Desktops
from api.live.guests import Guests
from api.live.hub import Hub
from api.live.mailroom import Mailroom
from api.live.scans import Scans
from api.live.watcher import Watchers
from api.mcp_server.speaker import Speaker
from api.meters import Meters
from api.price_list import PriceList
from api.principals import Principals
from api.ratelimit import RateLimit
from models.failpoints import Failpoints
from models.oidc import Provider
from models.settings import Settings
from models.store import audit
from models.store.courier import Courier
from models.store.database import Database
from models.store.push import ServerKey
from models.store.secrets import Cipher
from workflows.client import Temporal

log = logging.getLogger(__name__)

PATIENCE = 60  # seconds that a starting process waits for its database
DRAIN = 2.0  # seconds that errands may take when the process ends
LOGINS_PER_MINUTE = 60  # a client's network
ARRIVALS_PER_MINUTE = 600  # a client's network, from a provider: behind one there may be a whole company
UPLOADS_AT_ONCE = 20


class Errands:
    """Small pieces of work that nobody waits for, such as nudges; they are finished before the process ends."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, errand: Coroutine[Any, Any, Any]) -> None:
        """Run it beside the answer; a failure is logged."""
        task = asyncio.create_task(errand)
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("an errand failed", exc_info=failure)

    async def drain(self) -> None:
        """Wait for what runs, with patience, then without."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=DRAIN)
            for task in late:
                task.cancel()


@dataclass(frozen=True)
class Resources:
    """Opened by `open_resources`, reached by handlers as `resources: Opened`."""

    settings: Settings
    database: Database
    cipher: Cipher
    principals: Principals
    temporal: Temporal
    live: Hub
    guests: Guests
    mailroom: Mailroom
    watchers: Watchers
    scans: Scans
    desktops: Desktops
    failpoints: Failpoints
    rate_limit: RateLimit
    provider: Provider
    push_key: ServerKey
    logins: RateLimit = field(default_factory=lambda: RateLimit(LOGINS_PER_MINUTE, 20))
    arrivals: RateLimit = field(default_factory=lambda: RateLimit(ARRIVALS_PER_MINUTE))
    meters: Meters = field(default_factory=Meters)
    prices: PriceList = field(default_factory=PriceList)
    uploads: RateLimit = field(default_factory=lambda: RateLimit(0))
    writes: RateLimit = field(default_factory=lambda: RateLimit(0))
    errands: Errands = field(default_factory=Errands)
    speaker: Speaker = field(default_factory=Speaker)


async def _opened(connection: HTTPConnection) -> Resources:  # not async, it would be run in a thread
    resources: Resources = connection.state.resources
    return resources


Opened = Annotated[Resources, Depends(_opened)]


async def wait_for(database: Database, patience: float = PATIENCE) -> None:
    """Return once the database answers; raise its error when it has not for `patience` seconds."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + patience
    said = False
    while True:
        try:
            async with await database.connect():
                return
        except psycopg.OperationalError as away:
            if clock() > deadline:
                raise
            if not said:
                log.warning("waiting for the database, %d s at most: %s", patience, str(away).strip().splitlines()[0])
                said = True
            await asyncio.sleep(0.2)


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Everything a handler needs. Waits for the database; Temporal may be away."""
    async with AsyncExitStack() as stack:
        cipher = Cipher(settings.secret_keys.get_secret_value())
        database = Database(settings.database_url, settings.database_pool_size)
        stack.push_async_callback(database.close)
        await wait_for(database)
        principals = Principals(database, shares=not settings.disable_chat_sharing)
        guests = Guests(database, principals.find, settings.streams_per_user)
        for name, work in (("principals", principals.follow(guests.doubt)), ("guests", guests.run())):
            stack.push_async_callback(_end, asyncio.create_task(work, name=name))
        temporal = await Temporal.connect(settings)
        stack.push_async_callback(temporal.close)
        courier = Courier(database, temporal.deliver)
        stack.push_async_callback(courier.close)
        database.bell = courier.ring
        database.closing = audit.tell
        live = Hub(database, settings, guests)
        await live.start()
        stack.push_async_callback(live.close)
        mailroom = Mailroom(database)
        stack.push_async_callback(mailroom.close)
        provider = Provider(settings)
        stack.push_async_callback(provider.close)
        watchers = Watchers()
        scans = Scans(database, mailroom, settings.watcher_buffer_bytes, watchers)
        desktops = Desktops(database, settings.stream_ping_interval.total_seconds(), watchers)
        resources = Resources(
            settings=settings,
            database=database,
            cipher=cipher,
            principals=principals,
            temporal=temporal,
            live=live,
            guests=guests,
            mailroom=mailroom,
            watchers=watchers,
            scans=scans,
            desktops=desktops,
            failpoints=Failpoints(settings.failpoints),
            rate_limit=RateLimit(settings.rate_limit_per_minute),
            provider=provider,
            push_key=ServerKey(database, cipher),
            uploads=RateLimit(settings.upload_limit_per_minute, UPLOADS_AT_ONCE),
            writes=RateLimit(settings.write_limit_per_minute if settings.rate_limit_per_minute else 0),
        )
        gossip = Gossip(
            database,
            {
                "requests": resources.rate_limit,
                "writes": resources.writes,
                "uploads": resources.uploads,
                "logins": resources.logins,
                "arrivals": resources.arrivals,
            },
        )
        stack.push_async_callback(_end, asyncio.create_task(gossip.run(), name="gossip"))
        stack.push_async_callback(resources.errands.drain)
        stack.callback(live.stop)
        stack.callback(watchers.stop)
        stack.push_async_callback(resources.speaker.close)
        yield resources


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
