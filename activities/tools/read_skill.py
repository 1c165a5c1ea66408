"""The tool `read_skill`: models see the names of skills only, until they need one."""

from typing import Any

from pydantic import BaseModel, Field

from activities.tools.endings import ToolFailed
from activities.tools.tool import ASKING, EVERYWHERE, ToolContext, tool
from models.rules import workspace_context
from models.rules.executions import Policy

BODY_BYTES = 64 * 1024
MOST_FILES = 500
WORKSPACE = "workspace/"  # before the name of a skill, where it is kept


class Arguments(BaseModel):
    """Read a skill: what to do in a particular kind of task, and which files belong to it. The list of skills is in the
    system prompt."""

    name: str = Field(description="The skill's name, as in the list.", max_length=200)


@tool(policy=Policy.IDEMPOTENT, offered=EVERYWHERE, needs_skills=True, timeout=ASKING)
async def read_skill(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    name = known(arguments.name, context)
    found = await asked(context, {"name": name})
    files = found.get("files")
    outcome: dict[str, Any] = {
        "name": name,
        "body": cut(found.get("body"), BODY_BYTES),
        "files": [str(each) for each in files][:MOST_FILES] if isinstance(files, list) else [],
    }
    return outcome | ({"dir": str(found["dir"])} if found.get("dir") else {})


def known(name: str, context: ToolContext) -> str:
    """The skill's name as its workspace has it; raises ToolFailed for none of the list."""
    skills = workspace_context.skills(context.chat)
    wanted = name.strip()
    if wanted not in skills and wanted.startswith(WORKSPACE):
        wanted = wanted.removeprefix(WORKSPACE)
    if wanted not in skills:
        raise ToolFailed(f"There is no skill {name!r}. There are: {', '.join(skills)}.")
    return wanted


async def asked(context: ToolContext, request: dict[str, Any]) -> dict[str, Any]:
    """What the chat's workspace says of a skill."""
    return await context.ask("skill", request, harmless=True)


def cut(text: object, most: int) -> str:
    """The beginning of the text, in so many bytes."""
    return str(text or "").encode("utf-8", "replace")[:most].decode("utf-8", "ignore")
