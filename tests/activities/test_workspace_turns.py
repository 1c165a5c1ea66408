"""Turns that make a workspace, work in it and stop it: a worker that builds, an API process, the agents it starts."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from agent import residence
from models.store.database import fetch
from tests.activities.stack import Stack, worker
from tests.activities.test_use_tools import calls
from tests.api.live_stage import Process
from tests.fakes.behaviour import Behaviour
from tests.places import template


@pytest.fixture
async def local(stack: Stack, tmp_path: Path) -> AsyncIterator[UUID]:
    """A template whose workspaces are directories here, and an API process that their agents find."""
    async with stack.database.begin() as session:
        made = await template(session, stack.world, "local")
    process = await Process(stack.settings).start()
    here = {"access_url": f"http://{process.address}", "workspaces_dir": str(tmp_path), "workspace_isolation": "none"}
    stack.settings = stack.settings.model_copy(update=here)
    yield made
    await process.stop()
    for lock in tmp_path.rglob("agent.lock"):
        residence.stop(lock.parent)


async def test_in_one_turn_a_workspace_is_made_used_stopped_and_started(stack: Stack, local: UUID) -> None:
    stack.fake.script(
        calls(
            ("create_workspace", {"template_id": str(local), "name": "place"}),
            ("create_workspace", {"template_id": str(local)}),
        ),
        calls(("execute", {"command": "echo kept > file; cat file"})),
        calls(("stop_workspace", {}), ("start_workspace", {})),
        calls(("execute", {"command": "cat file"})),
        calls(("stop_workspace", {})),
        Behaviour(text="Done."),
    )
    async with worker(stack):
        chat_id = await stack.create("go")
        await stack.rest(chat_id)
        told = [row.content[0]["result"] for row in await stack.messages(chat_id) if row.role == "tool"]
    assert [told[0]["created"], told[1]["created"]] == [True, False], "calls that build go one after another"
    assert told[2]["output"] == "kept\n"
    assert (told[3]["stopped"], told[4]["started"], told[4]["agent_status"]) == (True, True, "ready")
    assert told[5]["output"] == "kept\n"
    assert told[6]["stopped"]


async def test_whoever_asks_the_demo_for_a_tour_sees_a_workspace_made_worked_in_and_stopped(
    stack: Stack, local: UUID
) -> None:
    async with stack.database.begin() as session:
        await fetch(session, "UPDATE ai_providers SET type = 'demo'")
        await fetch(session, "UPDATE chat_model_configs SET model = 'demo-fast'")
    async with worker(stack):
        chat_id = await stack.create("a tour, please")
        assert (await stack.rest(chat_id)).last_error is None
        messages = await stack.messages(chat_id)
    told = [(row.content[0]["tool_name"], row.content[0]["result"]) for row in messages if row.role == "tool"]
    assert [name for name, _ in told] == [
        *("list_templates", "create_workspace", "execute", "write_file", "write_file", "execute", "edit_files"),
        *("execute", "attach_file", "stop_workspace"),
    ]
    results = [result for _, result in told]
    assert results[0]["templates"][0]["id"] == str(local)
    assert results[1]["agent_status"] == "ready"
    assert results[5]["output"] == "not ok: Hello, world\n"
    assert results[7]["output"].splitlines()[0] == "ok: Hello, world!"
    assert results[8]["name"] == "greet.sh"
    assert results[9]["stopped"]
    assert "The test said: ok: Hello, world!" in messages[-1].content[-1]["text"]
