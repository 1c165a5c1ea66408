"""The laws of limited turns with workers: one that waits begins as soon as another ends, and no run waits with it."""

import asyncio

import pytest

from activities.sweep import Sweeping
from models.tables.chats import Chat
from tests.activities.stack import Stack, worker
from tests.fakes.behaviour import Behaviour

ENDLESS = Behaviour(tokens=100_000, interval_ms=10)


def waits(chat: Chat) -> bool:
    return chat.capacity_queued_at is not None


@pytest.mark.parametrize("head_starts", [True, False])
async def test_a_turn_that_waits_begins_when_another_ends(stack: Stack, head_starts: bool) -> None:
    stack.settings = stack.settings.model_copy(update={"turns_per_user": 1, "head_starts": head_starts})
    stack.fake.script(ENDLESS)
    async with worker(stack):
        first = await stack.create("hello")
        await stack.streaming(first)
        await stack.send(first, "and another thing")
        second = await stack.create("me too")
        await stack.until(second, waits)
        while second in await stack.temporal.running_chats():  # nobody waits in Temporal
            await asyncio.sleep(0.02)
        await stack.interrupt(first)
        await stack.until(second, lambda chat: not waits(chat))
        await stack.rest(second)
        await stack.rest(first)
    assert [role for role, _ in await stack.said(second)] == ["user", "assistant"]
    assert [role for role, _ in await stack.said(first)] == ["user", "assistant", "user", "assistant"]


async def test_a_slot_that_nobody_was_called_to_is_given_away_by_the_sweep(stack: Stack) -> None:
    stack.settings = stack.settings.model_copy(update={"turns_per_organization": 1})
    stack.fake.script(ENDLESS)
    async with worker(stack):
        first = await stack.create("hello")
        await stack.streaming(first)
        second = await stack.create("me too")
        await stack.until(second, waits)
    await stack.interrupt(first, signal="")  # no worker hears of it
    async with worker(stack) as resources:
        while waits(await stack.chat(second)):
            await Sweeping(resources).sweep("test")
        await stack.rest(first)
        await stack.rest(second)
    assert [role for role, _ in await stack.said(second)] == ["user", "assistant"]
