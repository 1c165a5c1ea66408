"""The activity ring: `stack` is a database, a Temporal server and the fake provider; start its worker by hand."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from models.settings import Settings
from models.store.database import Database
from tests.activities.stack import Stack, point_at
from tests.fakes.provider import FakeProvider
from tests.seeds import World
from tests.temporal import Server, pytest_collection_modifyitems, task_queue, temporal_server
from workflows.client import Temporal

__all__ = ["pytest_collection_modifyitems", "task_queue", "temporal_server"]


@pytest.fixture
async def stack(
    database: Database, settings: Settings, seed: World, temporal_server: Server, task_queue: str
) -> AsyncIterator[Stack]:
    chosen = settings.model_copy(
        update={
            "temporal_address": temporal_server.address,
            "task_queue": task_queue,
            "retry_base": timedelta(milliseconds=50),
            "retry_cap": timedelta(milliseconds=200),
        }
    )
    async with FakeProvider() as fake:
        await point_at(database, seed, fake, chosen)
        yield Stack(chosen, database, seed, fake, await Temporal.connect(chosen))
