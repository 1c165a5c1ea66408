"""One application and database for each module of the wire suite: it asks much, and changes little."""

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import psycopg
import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from api.app import create_app
from models.settings import Settings
from models.store import people
from models.store.bootstrap import bootstrap
from models.store.database import Database
from tests.api.conftest import NO_TEMPORAL, Api
from tests.api.live_stage import Stage, staged
from tests.contracts.wire import golden
from tests.contracts.wire.world import World, inhabited

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def wire_settings(postgres_url: str) -> Iterator[Settings]:
    """Settings for a database of the module's own."""
    name = f"wire{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE turnstone_template STRATEGY FILE_COPY")
    yield Settings(
        database_url=postgres_url.replace("/postgres?", f"/{name}?"),
        secret_keys=Fernet.generate_key().decode(),
        port=0,
        temporal_address=NO_TEMPORAL,
        rate_limit_per_minute=0,
        upload_limit_per_minute=0,
    )
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module", autouse=True)
def nothing_was_written() -> Iterator[None]:
    """Golden objects are looked at by somebody before they count."""
    yield
    fresh = [golden.WRITTEN.pop() for _ in tuple(golden.WRITTEN)]
    assert not fresh, "written anew"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(wire_settings: Settings) -> AsyncIterator[World]:
    made = await bootstrap(wire_settings, admin_token=None, environ={})
    app = create_app(wire_settings)
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(app.router.lifespan_context(app))
        api = Api(app, dict(state or {}), made.organization_id, stack)
        async with api.resources.database.read() as session:
            row = await people.get(session, "admin")
        yield await inhabited(api, await api.sign_in(row["id"], "admin"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(wire_settings: Settings) -> AsyncIterator[Stage]:
    """Two API processes with real servers, for what is streamed."""
    database = Database(wire_settings.database_url, pool_size=8)
    try:
        async with staged(database, wire_settings) as made:
            yield made
    finally:
        await database.close()
