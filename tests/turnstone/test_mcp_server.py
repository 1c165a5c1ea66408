"""Turnstone as an MCP server: an older client drives a real API process, which dies; the test plays the worker."""

import asyncio
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.turnstone.service import PlayedWorker, Service


async def called(client: Client, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def test_a_client_waits_with_progress_goes_on_and_does_not_notice_that_the_api_began_anew(
    service: Service, worker: PlayedWorker
) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {service.token}"}, timeout=60) as http,
        Client(streamable_http_client(f"{service.url}/mcp", http_client=http), mode="legacy", cache=None) as client,
    ):
        chat = (await called(client, "create_chat", prompt="What is a mutex?"))["chat"]["id"]
        asked = {"chat_id": chat, "seconds": 300}
        waiting = asyncio.create_task(client.call_tool("wait_for_chat", asked, progress_callback=hear))
        async with asyncio.timeout(60):
            while not heard:
                await asyncio.sleep(0.01)
        await worker.answer("A lock ", "for one.")
        waited = (await waiting).structured_content
        assert (waited["rested"], waited["chat"]["status"]) == (True, "waiting")
        assert [(each["role"], each["text"]) for each in waited["messages"]] == [
            ("user", "What is a mutex?"),
            ("assistant", "A lock for one."),
        ]
        assert heard[0][1] == 300
        assert heard[0][0] < 300

        sent = await called(client, "send_message", chat_id=chat, text="And a semaphore?")
        assert not sent["queued"]
        turn = await worker.take()
        assert (await called(client, "send_message", chat_id=chat, text="And a barrier?"))["queued"]
        assert (await called(client, "interrupt_chat", chat_id=chat))["chat"]["status"] == "interrupting"
        await turn.stop()
        turn = await worker.take()
        service.kill()
        service.start()
        last = waited["messages"][-1]["id"]
        going_on = asyncio.create_task(called(client, "wait_for_chat", chat_id=chat, seconds=300, after_id=last))
        await turn.say("A wall.")
        await turn.end()
        waited = await going_on
        assert waited["rested"]
        assert [each["text"] for each in waited["messages"]] == ["And a semaphore?", "And a barrier?", "A wall."]
