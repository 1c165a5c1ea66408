"""A fake provider on a local port, and the real litellm provider: with our own readings of answers, and without."""

from collections.abc import AsyncIterator

import pytest

from activities.providers.fast import FastPath
from activities.providers.litellm import LitellmProvider
from tests.fakes.provider import FakeProvider

ON_BOTH_PATHS = ("test_litellm", "test_http_failures", "test_web_search", "test_hostile")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What is said about answers is held against both readings of them."""
    if "provider" in metafunc.fixturenames:
        both = metafunc.module.__name__.endswith(ON_BOTH_PATHS)
        metafunc.parametrize("fast", [True, False] if both else [True], ids=["us", "litellm"] if both else ["us"])


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


@pytest.fixture
async def provider(fast: bool) -> AsyncIterator[LitellmProvider]:
    opened = LitellmProvider(FastPath(fast))
    yield opened
    await opened.close()
