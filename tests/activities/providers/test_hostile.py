"""What a provider that means harm can send, and how far it gets."""

import asyncio
import gzip
import tracemalloc
from contextlib import suppress
from dataclasses import replace

import orjson
import pytest

from activities.providers.http import Connections, Exchange
from activities.providers.litellm import LitellmProvider
from activities.providers.provider import ModelRequest
from models.errors import ProviderFailed
from models.rules.failures import classify
from tests.activities.providers.asking import KEY, failure, request
from tests.fakes.provider import FakeProvider

PATIENCE = 60.0


@pytest.mark.parametrize(
    "raw", ["x" * 5000, "data: {}\n\n" * 500, ": ping\n\n" * 1000], ids=["a line", "events", "comments"]
)
async def test_an_answer_without_end_is_cut_and_not_asked_for_again(fake: FakeProvider, raw: str) -> None:
    connections = Connections()
    exchange = Exchange(connections, "openai", first_byte_timeout=PATIENCE, silence_timeout=PATIENCE, largest=4000)
    words = f"@fake {orjson.dumps({'raw': raw}).decode()}"
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": words}]}
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    try:
        await exchange.send(f"{fake.openai_url}/chat/completions", headers, orjson.dumps(body))
        with pytest.raises(ProviderFailed) as failed:
            while await exchange.read():
                pass
    finally:
        await exchange.close()
        await connections.close()
    assert failed.value.facts.signal == "too_large"
    assert not classify(failed.value.facts).retryable


@pytest.mark.parametrize("style", ["openai-compat", "openai", "anthropic"])
async def test_a_provider_that_points_elsewhere_is_not_followed_with_our_key(
    fake: FakeProvider, provider: LitellmProvider, style: str
) -> None:
    behave = {"status": 307, "headers": {"Location": f"{fake.root_url}/elsewhere"}}
    facts = await failure(provider, request(fake, style, behave))
    assert facts.status == 307
    assert len(fake.received) == 1


@pytest.mark.parametrize("style", ["openai-compat", "anthropic"])
async def test_a_packed_answer_is_not_unpacked(provider: LitellmProvider, style: str) -> None:
    packed = gzip.compress(b"data: " + b"x" * 10_000_000)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
            said = f"content-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n"
            writer.write(f"HTTP/1.1 200 OK\r\n{said}connection: close\r\n\r\n".encode() + packed)
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        asked = replace(ModelRequest(style, "m", [{"role": "user", "content": "hi"}]), api_key=KEY)
        tracemalloc.start()
        facts = await failure(provider, replace(asked, base_url=f"http://127.0.0.1:{port}/v1"))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert facts.signal == "stream_cut"
    assert most < 10_000_000, "bytes that came are not more than were sent"
