"""The table of situations and blocks holds for what a model is sent."""

from collections.abc import AsyncIterator

import pytest

from activities.resources import Resources, open_resources
from benchmarks.prompts.evaluation import evaluated
from benchmarks.prompts.situations import MARKS, SITUATIONS
from models.rules.instructions import DEFAULT_SYSTEM_PROMPT
from models.settings import Settings
from models.store.database import Database
from tests.activities.stack import point_at
from tests.fakes.provider import FakeProvider
from tests.seeds import World
from workflows.client import Temporal


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@pytest.fixture
async def resources(
    database: Database, seed: World, settings: Settings, fake: FakeProvider
) -> AsyncIterator[Resources]:
    await point_at(database, seed, fake, settings)
    async with open_resources(settings, await Temporal.connect(settings)) as opened:
        yield opened


async def test_each_block_appears_when_it_should_in_its_place_and_stays_there(
    resources: Resources, seed: World, fake: FakeProvider
) -> None:
    for situation in SITUATIONS:
        seen = await evaluated(resources, seed, fake, situation)
        assert (seen.blocks, seen.tools) == (situation.blocks, situation.tools), situation.name
        assert seen.continues, f"{situation.name}: a provider's cache would be lost"
    order = [*MARKS]
    for situation in SITUATIONS:
        places = [order.index(block) for block in situation.blocks.split()]
        assert places == sorted(places), situation.name
    assert {block for situation in SITUATIONS for block in situation.blocks.split()} == set(MARKS)


def test_the_default_prompt_stays_of_a_moderate_size() -> None:
    assert len(DEFAULT_SYSTEM_PROMPT.encode()) <= 4096
