"""The fake model provider as a benchmark's process: it also counts the steps of a turn, and tells what it saw.

A message reads `turn <tag> @fake {…}` (see tests.fakes.behaviour) or `turn <tag> @steps <n>`: n tool calls, then text.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from benchmarks.lines import serve
from tests.fakes.behaviour import Behaviour
from tests.fakes.provider import FakeProvider, Received

TAG = re.compile(r"turn (\S+) @")
STEPS = re.compile(r"@steps (\d+)")


def _asked(messages: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """The text of the last user message, and how many tool results came after it."""
    results = 0
    for message in reversed(messages):
        if message["role"] == "user":
            content = message["content"]
            return (content if isinstance(content, str) else "".join(part.get("text", "") for part in content)), results
        results += message["role"] == "tool"
    return "", results


class BenchmarkProvider(FakeProvider):
    """The fake, which also speaks `@steps`."""

    def choose(self, style: str, body: Any) -> Behaviour:
        text, results = _asked(body["messages"])
        if found := STEPS.search(text):
            if results < int(found[1]):
                call = {"id": f"call_{uuid4().hex}", "name": "current_time", "arguments": {}}
                return Behaviour(tokens=0, tool_calls=[call])
            return Behaviour(tokens=5)
        return super().choose(style, body)

    def take(self) -> list[dict[str, Any]]:
        """What is known of each request since the last call, oldest first."""
        settled, self.received = self.received, []
        return [_record(received) for received in settled]


def _record(received: Received) -> dict[str, Any]:
    text = _asked(received.body["messages"])[0] if isinstance(received.body, dict) else ""
    found = TAG.search(text)
    return {
        "tag": found[1] if found else "",
        "at": received.at,
        "closed_at": received.closed_by_client_at,
        "tokens": received.tokens_sent,
        "bytes": int(received.headers.get("content-length", "0")),
    }


async def _main() -> None:
    async with BenchmarkProvider() as fake:

        async def answer(_: dict[str, Any]) -> Any:
            return fake.take()

        await serve(answer, {"url": fake.openai_url})


if __name__ == "__main__":
    asyncio.run(_main())
