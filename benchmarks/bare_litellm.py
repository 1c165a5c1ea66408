"""The second floor: what litellm alone costs a client, with no service around it; a process of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import litellm
import uvloop

from benchmarks.chats import text
from benchmarks.floors import lag_figures
from benchmarks.lines import serve

litellm.suppress_debug_info = True


async def _ask(url: str, message: str) -> tuple[float, list[tuple[float, str]]]:
    sent_at = time.time()
    stream = await litellm.acompletion(
        model="hosted_vllm/bench",
        api_base=url,
        api_key="sk-bench",
        messages=[{"role": "user", "content": message}],
        stream=True,
        num_retries=0,
        max_retries=0,
    )
    return sent_at, [(time.time(), said) async for chunk in stream if (said := chunk.choices[0].delta.content)]


async def _first_token(url: str, count: int) -> list[float]:
    answers = [await _ask(url, text("@fake", tokens=20)[1]) for _ in range(count)]
    return [parts[0][0] - sent_at for sent_at, parts in answers]


async def _turns(url: str, chats: int, seconds: float) -> tuple[float, float]:
    until = time.time() + seconds

    async def loop() -> int:
        count = 0
        while time.time() < until:
            await _ask(url, text("@fake", tokens=20)[1])
            count += 1
        return count

    began, used = time.time(), time.process_time()
    count = sum(await asyncio.gather(*(loop() for _ in range(chats))))
    return count / (time.time() - began), (time.process_time() - used) * 1000 / count


async def _streams(url: str, count: int, tokens: int, interval_ms: float) -> dict[str, float]:
    async def one(index: int) -> tuple[float, list[tuple[float, str]]]:
        await asyncio.sleep(index / count)
        return await _ask(url, text("@fake", tokens=tokens, interval_ms=interval_ms, stamp=True)[1])

    return lag_figures(list(await asyncio.gather(*(one(index) for index in range(count)))))


MEASURES: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "first_token": _first_token,
    "turns": _turns,
    "streams": _streams,
}


async def _answer(asked: dict[str, Any]) -> Any:
    return await MEASURES[asked.pop("measure")](**asked)


if __name__ == "__main__":
    uvloop.run(serve(_answer, {}))
