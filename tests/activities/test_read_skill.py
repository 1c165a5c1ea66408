"""The tools of skills: offered where there are some, asked of the workspace, never of a path that leads out."""

from typing import Any

import pytest

from models.store.mailbox import Job
from tests.activities.stack import Stack, worker
from tests.activities.test_workspace_context import FOUND, NOTHING
from tests.bench import agent
from tests.fakes.behaviour import Behaviour
from tests.workplace import Workplace, furnish

BODY = {"body": "é" * 40_000, "files": ["scripts/check.sh"], "dir": "/s/deploy"}


@pytest.fixture
async def place(stack: Stack) -> Workplace:
    return await furnish(stack.database, stack.world.owner_id, stack.world.organization_id)


def answers(found: dict[str, Any] = FOUND) -> Any:
    def answer(job: Job) -> dict[str, Any]:
        if job.kind == "context":
            return found
        return {"content": "#!/bin/sh"} if "path" in job.request else BODY

    return answer


async def called(stack: Stack, place: Workplace, found: dict[str, Any], *calls: dict[str, Any]) -> list[Any]:
    """The results of these calls, which a chat of the workspace makes in one step."""
    stack.fake.script(Behaviour(tool_calls=calls), Behaviour(text="done"))
    async with worker(stack), agent(stack.database, place, answers(found)) as sent:
        chat_id = await stack.create("hello", workspace_id=place.workspace_id)
        assert (await stack.rest(chat_id)).last_error is None
    messages = await stack.messages(chat_id)
    sent[:] = [job for job in sent if job.kind != "context"]
    parts = [message.content[0] for message in messages if message.role == "tool"]
    return [sent, *(part["result"] for part in parts)]


async def test_a_skill_and_its_files_are_read_through_the_agent(stack: Stack, place: Workplace) -> None:
    sent, skill, file = await called(
        stack,
        place,
        FOUND,
        {"name": "read_skill", "arguments": {"name": "workspace/deploy"}},
        {"name": "read_skill_file", "arguments": {"name": "deploy", "path": "scripts/check.sh"}},
    )
    assert skill == {"name": "deploy", "body": "é" * 32_768, "files": ["scripts/check.sh"], "dir": "/s/deploy"}
    assert file == {"content": "#!/bin/sh"}
    assert sorted(str(job.request) for job in sent) == [
        "{'name': 'deploy', 'path': 'scripts/check.sh'}",
        "{'name': 'deploy'}",
    ]


async def test_what_is_no_skill_or_leads_out_of_one_is_refused_without_asking(stack: Stack, place: Workplace) -> None:
    paths = ["/etc/passwd", "../x", "a/../../x", ".env", "a/.git/config", "~/x", "a\\..\\x", " "]
    sent, unknown, *wrong = await called(
        stack,
        place,
        FOUND,
        {"name": "read_skill", "arguments": {"name": "cook"}},
        *({"name": "read_skill_file", "arguments": {"name": "deploy", "path": path}} for path in paths),
    )
    assert sent == []
    assert unknown == {"error": "There is no skill 'cook'. There are: deploy."}
    assert len(wrong) == len(paths)
    assert all("error" in each for each in wrong)


async def test_without_skills_the_tools_are_not_there(stack: Stack, place: Workplace) -> None:
    sent, refused = await called(stack, place, NOTHING, {"name": "read_skill", "arguments": {"name": "deploy"}})
    assert (sent, refused) == ([], {"error": "Tool not active in this turn: read_skill"})
