"""One real stack for the whole ring: it is killed in parts, and once as a whole; after each test the laws must hold."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.invariants import Invariants
from tests.chaos.stack import Stack
from tests.fakes.provider import FakeProvider


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running() -> AsyncIterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="ts-chaos-", ignore_cleanup_errors=True) as folder:
        async with FakeProvider() as fake:
            stack = Stack(Path(folder), fake)
            try:
                await stack.start()
                yield stack
            finally:
                await stack.stop()


@pytest.fixture(scope="session")
def invariants() -> Invariants:
    return Invariants()


@pytest_asyncio.fixture(loop_scope="session")
async def stack(running: Stack, invariants: Invariants) -> AsyncIterator[Stack]:
    yield running
    await invariants.check(running)
