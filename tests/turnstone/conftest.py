"""A data directory, a supervisor whose children end with the test, and an API process that a module shares."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet

from models.settings import Settings
from models.store.bootstrap import bootstrap
from tests.turnstone.service import PlayedWorker, Service, free_port
from turnstone.data_dir import DataDir
from turnstone.supervisor import Supervisor


class Told(list[str]):
    """What a supervisor said, line by line."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[DataDir]:
    made = DataDir(tmp_path / "data")
    made.open()
    yield made
    made.close()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def supervisor(told: Told) -> AsyncIterator[Supervisor]:
    made = Supervisor(told.append, lambda: None)
    yield made
    await made.stop((tuple({child.command.role for child in made.children}),))


@pytest.fixture(scope="module")
def service(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    name = f"client_{os.getpid()}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE turnstone_template STRATEGY FILE_COPY")
    settings = Settings(
        database_url=postgres_url.replace("/postgres?", f"/{name}?"),
        secret_keys=Fernet.generate_key().decode(),
        port=free_port(),
    )
    made = asyncio.run(bootstrap(settings, admin_token=None, environ={}))
    assert made.admin_token is not None
    served = Service(settings, made.admin_token, tmp_path_factory.mktemp("client") / "api.log")
    served.start()
    yield served
    served.kill()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def worker(service: Service) -> AsyncIterator[PlayedWorker]:
    async with PlayedWorker(service.settings) as playing:
        yield playing
