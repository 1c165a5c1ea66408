"""What the worker opens once, and what every performer is given."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from activities.catalog import Catalog
from activities.control import Control
from activities.providers.registry import Providers
from activities.publish import Publisher
from activities.tools.registry import Toolbox
from models.failpoints import Failpoints
from models.settings import Settings
from models.store.database import Database
from models.store.secrets import Cipher
from workflows.client import Temporal


@dataclass(frozen=True, slots=True)
class Resources:
    """The worker's ways to the world."""

    settings: Settings
    database: Database
    temporal: Temporal
    publisher: Publisher
    control: Control
    catalog: Catalog
    providers: Providers
    tools: Toolbox
    failpoints: Failpoints


@asynccontextmanager
async def open_resources(
    settings: Settings, temporal: Temporal, tools: Toolbox | None = None
) -> AsyncIterator[Resources]:
    """Open everything; the database may still be away. Closed in reverse order."""
    async with AsyncExitStack() as stack:
        cipher = Cipher(settings.secret_keys.get_secret_value())
        database = Database(settings.database_url, settings.database_pool_size)
        stack.push_async_callback(database.close)
        catalog = Catalog(database, cipher)
        providers = Providers()
        stack.push_async_callback(providers.close)
        publisher = Publisher(database, settings)
        await publisher.start()
        stack.push_async_callback(publisher.close)
        control = Control(database, catalog.forget)
        await control.start()
        stack.push_async_callback(control.close)
        yield Resources(
            settings=settings,
            database=database,
            temporal=temporal,
            publisher=publisher,
            control=control,
            catalog=catalog,
            providers=providers,
            tools=tools or Toolbox(),
            failpoints=Failpoints(settings.failpoints),
        )
