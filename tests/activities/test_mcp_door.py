"""An agent elsewhere, a real API process and a real worker: what is asked at `/mcp` is done."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from activities.provisioners import inhabitants
from models.store import people
from tests.activities.stack import Stack, worker
from tests.api.live_stage import Process
from tests.places import template

PRESET = {"name": "Small", "is_default": False, "parameters": {"size": "2"}}
SIZE = {"name": "size", "type": "number", "required": True, "description": "", "options": []}


async def called(client: Client, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def built(client: Client, build_id: str) -> dict[str, Any]:
    """The build, once it is over."""
    async with asyncio.timeout(90):
        while True:
            read = await called(client, "read_build", build_id=build_id)
            if read["build"]["job"]["status"] not in ("pending", "running"):
                build: dict[str, Any] = read["build"]
                return build
            await asyncio.sleep(0.05)


async def test_an_agent_elsewhere_has_a_task_done_and_a_workspace_made(stack: Stack, tmp_path: Path) -> None:
    api = await Process(stack.settings).start()
    rooms = tmp_path / "rooms"
    stack.settings = stack.settings.model_copy(
        update={"workspaces_dir": str(rooms), "access_url": f"http://{api.address}", "workspace_isolation": "none"}
    )
    async with stack.database.begin() as session:
        await template(session, stack.world, "place", parameters_=[SIZE], presets=[PRESET])
        _, token = await people.create_token(session, stack.world.owner_id, kind="token", lifetime=timedelta(hours=1))
    try:
        async with (
            worker(stack),
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=90) as http,
            Client(streamable_http_client(f"http://{api.address}/mcp", http_client=http), cache=None) as client,
        ):
            made = await called(client, "create_workspace", template="place", name="mine", preset="Small")
            chat = (await called(client, "create_chat", prompt='@fake {"text": "A lock for one."}'))["chat"]["id"]
            waited = await called(client, "wait_for_chat", chat_id=chat, seconds=90)
            assert (waited["rested"], waited["messages"][-1]["text"]) == (True, "A lock for one.")
            last = waited["messages"][-1]["id"]

            await called(client, "send_message", chat_id=chat, text='@fake {"tokens": 3, "silence_after": 2}')
            await stack.until_logged(UUID(chat), (await stack.chat(UUID(chat))).history_version)
            never_mind = '@fake {"text": "Fine."}'
            await called(client, "send_message", chat_id=chat, text=never_mind, busy="interrupt")
            waited = await called(client, "wait_for_chat", chat_id=chat, seconds=90, after_id=last)
            said = [(each["role"], each["text"].split()[0]) for each in waited["messages"]]
            assert said == [("user", "@fake"), ("assistant", "w0"), ("user", "@fake"), ("assistant", "Fine.")]

            first = await built(client, made["workspace"]["latest_build"]["id"])
            assert (first["status"], first["job"]) == ("running", first["job"] | {"status": "succeeded"})
            gone = (await called(client, "build_workspace", workspace="mine", transition="delete"))["build"]
            assert (await built(client, gone["id"]))["status"] == "deleted"
            assert (await called(client, "list_workspaces"))["count"] == 0
    finally:
        inhabitants.end(inhabitants.ROOT, str(rooms), 0)
        await api.stop()
