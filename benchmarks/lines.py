"""Talks to a process of ours in JSON lines over its stdin and stdout: it lives exactly as long as the run."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Self

LONGEST_LINE = 256 * 1024 * 1024


class Process:
    """A Python module in a process of its own that answers one request at a time."""

    def __init__(self, process: asyncio.subprocess.Process, greeting: Any) -> None:
        self._process = process
        self.greeting = greeting

    @classmethod
    async def start(cls, module: str) -> Self:
        """Run `python -m module` and wait for its greeting."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, stdin=-1, stdout=-1, limit=LONGEST_LINE, env=clean_environment()
        )
        return cls(process, await cls._read(process))

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, **request: Any) -> Any:
        """Send a request and return the answer; raises what went wrong over there."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        answer = await self._read(self._process)
        if "wrong" in answer:
            raise RuntimeError(answer["wrong"])
        return answer["right"]

    @staticmethod
    async def _read(process: asyncio.subprocess.Process) -> Any:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with {await process.wait()}")
        return json.loads(line)

    async def stop(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def serve(answer: Callable[[dict[str, Any]], Awaitable[Any]], greeting: Any) -> None:
    """Greet, then answer requests until stdin ends. What others print goes to stderr."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def say(value: Any) -> None:
        out.write(json.dumps(value).encode() + b"\n")
        out.flush()

    requests = asyncio.StreamReader(limit=LONGEST_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    say(greeting)
    while line := await requests.readline():
        try:
            say({"right": await answer(json.loads(line))})
        except Exception as error:  # the other side decides what it means
            say({"wrong": f"{type(error).__name__}: {error}"})


def clean_environment() -> dict[str, str]:
    """Our environment without what would make a run depend on who runs it."""
    ours = ("TURNSTONE_", "OPENAI_", "ANTHROPIC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
