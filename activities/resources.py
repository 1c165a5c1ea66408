"""What the worker opens once, and what every performer is given."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

from activities.ahead import HeadStarts
from activities.aside import Aside
from activities.capacity import Capacity
from activities.catalog import Catalog
from activities.control import Control
from activities.mailbox import Mailbox
from activities.mcp.servers import AccessToken, Servers, nobody
from activities.meters import Meters
from activities.patience import AWAY
from activities.providers.registry import Providers
from activities.publish import Publisher
from activities.receivers import Receivers
from activities.recorder import Recorder
from activities.tools.registry import Toolbox, configured
from activities.tracing import Tracing
from activities.workshop import Workshop
from models.failpoints import Failpoints
from models.settings import Settings
from models.store.courier import Courier
from models.store.database import Database
from models.store.secrets import Cipher
from workflows.client import Temporal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resources:
    """The worker's ways to the world."""

    settings: Settings
    database: Database
    cipher: Cipher
    temporal: Temporal
    publisher: Publisher
    control: Control
    catalog: Catalog
    providers: Providers
    tools: Toolbox
    failpoints: Failpoints
    meters: Meters
    tracing: Tracing
    recorder: Recorder
    aside: Aside
    ahead: HeadStarts
    capacity: Capacity
    workshop: Workshop
    courier: Courier
    servers: Servers
    receivers: Receivers


@asynccontextmanager
async def open_resources(
    settings: Settings, temporal: Temporal, tools: Toolbox | None = None
) -> AsyncIterator[Resources]:
    """Open everything; the database may still be away. Closed in reverse order.

    What the configured providers need is loaded first: a worker that takes steps can perform them at once.
    """
    async with AsyncExitStack() as stack:
        cipher = Cipher(settings.secret_keys.get_secret_value())
        database = Database(settings.database_url, settings.database_pool_size)
        stack.push_async_callback(database.close)
        courier = Courier(database, temporal.deliver)
        stack.push_async_callback(courier.close)
        database.bell = courier.ring
        catalog = Catalog(database, cipher, own_keys=settings.allow_byok)
        meters, tracing = Meters(), Tracing(settings)
        stack.callback(tracing.close)
        providers = Providers(meters, fast=settings.fast_providers)
        stack.push_async_callback(providers.close)
        foresight = Foresight(catalog, providers)
        await foresight.look()
        following = asyncio.create_task(foresight.follow(), name="foresight")
        stack.push_async_callback(_end, following)
        publisher = Publisher(database, settings, meters)
        await publisher.start()
        stack.push_async_callback(publisher.close)
        recorder = Recorder(database, settings)
        stack.push_async_callback(recorder.close)
        mailbox = Mailbox(database)
        stack.push_async_callback(mailbox.close)
        ahead = HeadStarts(settings, database, meters)
        servers = Servers(database, cipher, settings, await _signed_in(stack, database, cipher, settings))
        stack.push_async_callback(servers.close)
        receivers = Receivers(allow_private=settings.webhooks_allow_private)
        stack.push_async_callback(receivers.close)

        def catalog_changed() -> None:
            foresight.catalog_changed()
            servers.forget()

        capacity = Capacity(settings, database, temporal, ahead)
        stack.push_async_callback(capacity.close)
        control = Control(database, catalog_changed, recorder.forget, ahead, capacity)
        await control.start()
        stack.push_async_callback(control.close)
        aside = Aside(settings, database, temporal)
        stack.push_async_callback(aside.close)
        stack.push_async_callback(ahead.close)
        yield Resources(
            settings=settings,
            database=database,
            cipher=cipher,
            temporal=temporal,
            publisher=publisher,
            control=control,
            catalog=catalog,
            providers=providers,
            tools=tools or configured(settings),
            failpoints=Failpoints(settings.failpoints),
            meters=meters,
            tracing=tracing,
            recorder=recorder,
            aside=aside,
            ahead=ahead,
            capacity=capacity,
            workshop=Workshop(database, mailbox, secrets=cipher, temporal=temporal),
            courier=courier,
            servers=servers,
            receivers=receivers,
        )


async def _signed_in(stack: AsyncExitStack, database: Database, cipher: Cipher, settings: Settings) -> AccessToken:
    """How to come by what acts for a person at the provider that they sign in with."""
    if not settings.oidc_issuer:
        return nobody
    from models import oidc  # its libraries are large, and few workers need them
    from models.store import identities

    provider = oidc.Provider(settings)
    stack.push_async_callback(provider.close)

    async def access_token(user_id: UUID) -> str | None:
        return await identities.access_token(database, cipher, provider, user_id)

    return access_token


class Foresight:
    """Loads what the providers of the catalogue need before a turn asks for one."""

    def __init__(self, catalog: Catalog, providers: Providers) -> None:
        self._catalog = catalog
        self._providers = providers
        self._changed = asyncio.Event()

    def catalog_changed(self) -> None:
        """Forget what was known of the catalogue, and look at it again."""
        self._catalog.forget()
        self._changed.set()

    async def look(self) -> None:
        """Prepare for the providers there are. Is the database away? The control channel will say when it is back."""
        with suppress(*AWAY):
            await self._providers.prepare(await self._catalog.provider_types())

    async def follow(self) -> None:
        """Look again after each change, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.look()
            except Exception:  # the first turn that needs it tries again, and fails where people see it
                log.exception("a provider could not be prepared")


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
