"""Whichever worker is killed while a chat's sub-agents work: each is made once, each report comes, the parent ends.

TURNSTONE_TEST_KILLS sets how many turns have a worker killed (2 without it: the ring must end in minutes).
"""

import asyncio
import os
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.chaos.stack import CHAOS, Stack, ask, eventually, said, words
from tests.fakes.behaviour import hidden, nested

KILLS = int(os.environ.get("TURNSTONE_TEST_KILLS", "2"))
pytestmark = [*CHAOS[:-1], pytest.mark.timeout(240 + 30 * KILLS)]  # of two marks the first would hold
FIVE = [f"s{place}" for place in range(5)]


def turn() -> str:
    """A message that has the model spawn five, wait for all of them, and tell their reports."""
    spawns, waits = [], []
    for place, each in enumerate(FIVE):
        prompt = f"do {each} {nested(tokens=10 + place, interval_ms=random.choice([0, 20, 100]))}"
        arguments = {"type": random.choice(["general", "explore"]), "prompt": prompt, "title": each}
        spawns.append({"name": "spawn_agent", "id": each, "arguments": arguments})
        waits.append({"name": "wait_agent", "id": f"w{each}", "arguments": {"chat_id": f"<<{each}.chat_id>>"}})
    told = {"text": " ".join(f"<<w{each}.status>>" for each in FIVE)}
    return hidden(ask("team", tool_calls=spawns, tokens=0, then={"tool_calls": waits, "tokens": 0, "then": told}))


def results(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What came of each call, by its id."""
    parts = [message["content"][0] for message in messages if message["role"] == "tool"]
    return {part["tool_call_id"]: part["result"] for part in parts}


async def test_no_sub_agent_is_made_twice_and_no_report_is_lost(stack: Stack) -> None:
    async with AsyncExitStack() as workers:
        extra = await workers.enter_async_context(stack.second_worker())
        for round_ in range(KILLS):
            if extra.returncode is not None:
                extra = await workers.enter_async_context(stack.second_worker())
            chat_id = await stack.create(turn())
            await asyncio.sleep(random.uniform(0, 3))
            if round_ % 2:
                extra.kill()
                await extra.wait()
            else:
                await stack.kill("worker", *stack.pids("worker"))
            messages = await stack.rest(chat_id)
            told = results(messages)
            reports = [told[f"w{each}"].get("report", "").split() for each in FIVE]
            assert reports == [words(10 + place).split() for place in range(5)], (round_, told)
            query = "SELECT id::text, title, status FROM chats WHERE parent_chat_id = %(id)s ORDER BY title"
            assert [tuple(each.values()) for each in await stack.query(query, id=chat_id)] == [
                (told[each]["chat_id"], each, "waiting") for each in FIVE
            ], (round_, told)
            assert said(messages)[-1] == " ".join(["waiting"] * 5)
            await eventually(stack.is_whole, "the stack is whole")
