"""A data directory, and a supervisor whose children end with the test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

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
