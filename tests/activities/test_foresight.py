"""A worker that takes steps can perform them at once, and goes on to when the catalogue changes."""

import asyncio

from models.store import catalog
from models.store.database import fetch
from tests.activities.stack import Stack, worker


async def test_the_configured_provider_is_loaded_before_the_first_step(stack: Stack) -> None:
    async with worker(stack) as resources:
        assert resources.providers.loaded("openai-compat") is not None
        assert resources.providers.loaded("anthropic") is None


async def test_a_new_provider_is_loaded_before_anybody_asks_it(stack: Stack) -> None:
    async with worker(stack) as resources:
        async with stack.database.begin() as session:
            await fetch(session, "UPDATE ai_providers SET type = 'anthropic'")
            await catalog.changed(session)
        while resources.providers.loaded("anthropic") is None:
            await asyncio.sleep(0.02)
