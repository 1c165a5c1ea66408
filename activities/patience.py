"""What a worker does while Postgres restarts: wait and try again, so that an answer already paid for is not lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg

from models.store.database import Database
from models.store.session import Session

log = logging.getLogger(__name__)

AWAY = (
    psycopg.OperationalError,  # also when no connection of the pool came free
    psycopg.InterfaceError,
    ConnectionError,
)
PATIENCE = 60.0  # seconds
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds

Found = TypeVar("Found")


async def patiently(database: Database, work: Callable[[Session], Awaitable[Found]]) -> Found:
    """Do the work in one transaction, again and again while the database is away; what it raises comes through.

    A connection may break after its commit, so `work` must bear being done twice: fenced moves do.
    """
    clock = asyncio.get_running_loop().time
    deadline, pause = clock() + PATIENCE, FIRST_PAUSE
    while True:
        try:
            async with database.begin() as session:
                return await work(session)
        except AWAY as away:
            if clock() > deadline:
                raise
            log.warning("the database is away; trying again: %s", str(away).strip().splitlines()[0])
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
