"""The client on a road that breaks all the time, between two real API processes: it sees what one sees that stays."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import httpx
import pytest

from models.events import assemble
from models.settings import Settings
from models.store.database import Database
from tests.api.live_drive import STORY, Screen
from tests.api.live_hubs import truth
from tests.api.live_stage import Stage, staged
from tests.turnstone.service import NO_TEMPORAL
from turnstone.client import AsyncTurnstone, Transcript


class BreakingRoad(httpx.AsyncBaseTransport):
    """Each request goes to the next process; a stream breaks after some bytes, as often as `cuts` has any left."""

    def __init__(self, addresses: Sequence[str], cuts: list[int]) -> None:
        self._real = httpx.AsyncHTTPTransport()
        self._addresses = addresses
        self.cuts = cuts
        self._sent = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, port = self._addresses[self._sent % len(self._addresses)].split(":")
        self._sent += 1
        request.url = request.url.copy_with(host=host, port=int(port))
        response = await self._real.handle_async_request(request)
        if self.cuts and response.headers["content-type"].startswith("text/event-stream"):
            assert isinstance(response.stream, httpx.AsyncByteStream)
            response.stream = Broken(response.stream, self.cuts.pop())
        return response

    async def aclose(self) -> None:
        await self._real.aclose()


class Broken(httpx.AsyncByteStream):
    """A stream of which some bytes arrive."""

    def __init__(self, whole: httpx.AsyncByteStream, left: int) -> None:
        self._whole, self._left = whole, left

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._whole:
            yield piece[: self._left]
            self._left -= len(piece)
            if self._left <= 0:
                raise httpx.ReadError("the road broke")

    async def aclose(self) -> None:
        await self._whole.aclose()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"temporal_address": NO_TEMPORAL, "rate_limit_per_minute": 0})


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[Stage]:
    async with staged(database, settings) as made:
        yield made


@pytest.mark.parametrize("seed", range(2))
async def test_a_client_whose_connection_breaks_anywhere_sees_what_the_database_says(stage: Stage, seed: int) -> None:
    chance = random.Random(seed)
    road = BreakingRoad([stage.one.address, stage.two.address], [chance.randrange(200, 2000) for _ in range(30)])
    told: list[dict[str, Any]] = []
    transcript = Transcript()

    async def follow() -> None:
        client = AsyncTurnstone("http://turnstone.test", stage.token, transport=road)
        async with client, client.chats.stream(str(stage.drive.chat_id)) as events:
            async for event in events:
                told.append(event.raw)
                transcript.tell(event)

    following = asyncio.create_task(follow())
    for step in STORY:
        await step(stage.drive)
        await asyncio.sleep(chance.random() / 10)
    async with asyncio.timeout(60):
        while seen(transcript) != await truth(stage.drive):
            assert not following.done(), following.result()
            await asyncio.sleep(0.05)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    assert len(road.cuts) < 28  # it was cut
    screen = Screen().show(told)  # it refuses a gap and a repeat
    assert screen.state == await truth(stage.drive)
    assert "resync" not in screen.types


def seen(transcript: Transcript) -> Any:
    """What a screen would show of it."""
    messages = [(message.id, message.raw) for message in transcript.messages]
    preview = assemble(("assistant", dict(part.raw)) for part in transcript.preview)
    return messages, preview, [message.raw for message in transcript.queue], transcript.status
