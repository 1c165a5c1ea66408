"""A worker's meters say what it did, and name nobody."""

import asyncio
import re
from typing import Any
from urllib.request import urlopen

from activities.meters import Meters
from tests.activities.stack import Stack, worker
from tests.fakes.behaviour import Behaviour

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}")


def value(meters: Meters, name: str, **labels: str) -> Any:
    return meters.registry.get_sample_value(name, labels) or 0


async def test_a_turn_with_a_retry_and_a_tool_is_counted(stack: Stack) -> None:
    call = {"name": "current_time", "arguments": {}}
    stack.fake.script(Behaviour(status=503), Behaviour(tokens=2, tool_calls=[call]), Behaviour(text="done"))
    async with worker(stack) as resources:
        await stack.rest(await stack.create("hello"))
        while not value(resources.meters, "turnstone_turns_total", outcome="finished"):  # counted after the commit
            await asyncio.sleep(0.01)
    meters = resources.meters
    assert value(meters, "turnstone_turns_total", outcome="finished") == 1
    assert value(meters, "turnstone_retries_total", kind="timeout") == 1
    assert value(meters, "turnstone_steps_total", kind="generate", outcome="retry") == 1
    assert value(meters, "turnstone_steps_total", kind="generate", outcome="committed") == 1
    assert value(meters, "turnstone_tool_calls_total", tool="current_time", outcome="succeeded") == 1
    assert value(meters, "turnstone_steps_total", kind="generate", outcome="finished") == 1
    assert value(meters, "turnstone_first_token_seconds_count", provider="openai-compat") == 2
    assert value(meters, "turnstone_tokens_total", provider="openai-compat", type="output", purpose="chat_turn") > 0
    assert value(meters, "turnstone_stream_lag_seconds_count") > 0
    assert value(meters, "turnstone_takeovers_total") == 0


async def test_a_failed_turn_is_counted_by_its_kind(stack: Stack) -> None:
    stack.fake.script(Behaviour(status=401))
    async with worker(stack) as resources:
        await stack.rest(await stack.create("hello"))
    assert value(resources.meters, "turnstone_turns_total", outcome="error") == 1
    assert value(resources.meters, "turnstone_turn_errors_total", kind="auth") == 1


async def test_the_endpoint_speaks_prometheus_and_no_label_is_an_id(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=2))
    async with worker(stack) as resources:
        await stack.rest(await stack.create("hello"))
        while not value(resources.meters, "turnstone_turns_total", outcome="finished"):  # counted after the commit
            await asyncio.sleep(0.01)
        server, port = resources.meters.serve("127.0.0.1", 0)
        try:
            with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                told = answer.read().decode()
        finally:
            server.shutdown()
            server.server_close()
    assert 'turnstone_turns_total{outcome="finished"} 1.0' in told
    assert not UUID.search(told)
