"""A workspace with a real agent, a real API and a real worker: what lies in it reaches the chat that works there."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent import residence
from models.store import bindings
from models.store.database import fetch
from tests.activities.stack import Stack, worker
from tests.api.live_stage import Process
from tests.fakes.behaviour import Behaviour
from tests.workplace import Workplace, furnish

ROOT = Path(__file__).parents[2]
GIT = (
    *("git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"),
    *("-c", "commit.gpgsign=false"),
)


def lay_out(home: Path) -> None:
    """A home with instructions, a skill, and nothing else."""
    skill = home / ".agents" / "skills" / "deploy"
    (skill / "scripts").mkdir(parents=True)
    (home / "AGENTS.md").write_text("Write tests first.\n")
    (skill / "SKILL.md").write_text("---\nname: deploy\ndescription: How we deploy.\n---\nRun the script.\n")
    (skill / "scripts" / "go.sh").write_text("echo gone\n")


async def make_repository(folder: Path) -> None:
    """A repository on a branch, with a change that is not committed."""
    folder.mkdir()
    (folder / "x").write_text("old\n")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "x"), ("checkout", "-qb", "mutex")):
        git = await asyncio.create_subprocess_exec(*GIT, *words, cwd=folder)
        assert await git.wait() == 0
    (folder / "x").write_text("new\nnewer\n")


@asynccontextmanager
async def lived_in(stack: Stack, place: Workplace, folder: Path) -> AsyncIterator[Path]:
    """An API process and the workspace's agent, which has come when the block begins; its home."""
    home, state = folder / "home", folder / "state"
    home.mkdir()
    lay_out(home)
    await make_repository(home / "site")
    api = await Process(stack.settings).start()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(home)}
    environment["TURNSTONE_AGENT_TOKEN"] = place.token
    words = ("-m", "agent", "--url", f"http://{api.address}", "--state", str(state))
    with (folder / "agent.log").open("ab") as log:
        agent = await asyncio.create_subprocess_exec(sys.executable, *words, env=environment, cwd=home, stderr=log)
    try:
        yield home
    finally:
        agent.kill()
        await agent.wait()
        if (state / "processes").is_dir():
            await asyncio.to_thread(residence.stop, state)
        await api.stop()


async def until(stack: Stack, question: Any) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            async with stack.database.read() as session:
                if rows := await fetch(session, question):
                    return rows[0]
            await asyncio.sleep(0.05)


async def test_what_lies_in_a_workspace_reaches_the_chat_that_works_there(stack: Stack, tmp_path: Path) -> None:
    world = stack.world
    place = await furnish(stack.database, world.owner_id, world.organization_id, lifecycle="created")
    stack.fake.script(
        Behaviour(
            tool_calls=[
                {"name": "read_skill", "arguments": {"name": "deploy"}},
                {"name": "read_skill_file", "arguments": {"name": "deploy", "path": "scripts/go.sh"}},
            ]
        ),
        Behaviour(text="done"),
    )
    async with lived_in(stack, place, tmp_path) as home:
        chat_id = await stack.create("hello", signal="")
        await until(stack, "SELECT 1 AS here FROM workspace_agents WHERE git IS NOT NULL")
        async with stack.database.begin() as session:
            await bindings.attach(session, chat_id, place.workspace_id)
        seen = await until(stack, "SELECT * FROM chat_diff_statuses WHERE git_branch = 'mutex'")
        await until(stack, "SELECT 1 AS ready FROM workspace_agents WHERE lifecycle = 'ready'")
        async with worker(stack):
            await stack.temporal.nudge(chat_id, world.owner_id, 1, signal="message_queued")
            assert (await stack.rest(chat_id)).last_error is None
    assert (seen["additions"], seen["deletions"], seen["changed_files"]) == (2, 1, 1)
    system = "\n".join(each["content"] for each in stack.fake.received[0].body["messages"] if each["role"] == "system")
    assert f"Source: {home / 'AGENTS.md'}\nWrite tests first." in system
    assert "- deploy: How we deploy." in system
    messages = await stack.messages(chat_id)
    assert [message.role for message in messages] == ["user", "user", "assistant", "tool", "tool", "assistant"]
    skill, file = (message.content[0]["result"] for message in messages if message.role == "tool")
    assert (skill["name"], skill["body"].strip(), skill["files"]) == ("deploy", "Run the script.", ["scripts/go.sh"])
    assert file == {"content": "echo gone\n"}
