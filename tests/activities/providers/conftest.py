"""A fake provider on a local port, and the real litellm provider."""

from collections.abc import AsyncIterator

import pytest

from activities.providers.litellm import LitellmProvider
from tests.fakes.provider import FakeProvider


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


@pytest.fixture
async def provider() -> AsyncIterator[LitellmProvider]:
    opened = LitellmProvider()
    yield opened
    await opened.close()
