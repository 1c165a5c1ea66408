"""The tool `write_file`: a whole file in the workspace, written at once or not at all."""

from typing import Any

from pydantic import BaseModel, Field

from activities.tools import writing
from activities.tools.tool import ASKING, ROOTS_PLANNING, ToolContext, Where, tool
from models.rules.executions import Policy


class Arguments(BaseModel):
    """Write a file in the workspace, with the directories that it needs. What was in it is replaced.

    To change a part of a file use edit_files. In plan mode only the plan file can be written.
    """

    path: str = Field(description="Absolute, or from the workspace's directory; `~` is the home directory.")
    content: str = Field(description="All that the file is to contain.")


@tool(policy=Policy.IDEMPOTENT, offered=ROOTS_PLANNING | {Where.CHILD}, timeout=ASKING)
async def write_file(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    request: dict[str, Any] = {"path": arguments.path.strip(), "content": arguments.content}
    if await writing.allowed(arguments.path, context):
        request["must_resolve_to_itself"] = True
    result = await context.ask("write_file", request)
    outcome: dict[str, Any] = {"ok": True}
    if result.get("created"):
        outcome["created"] = True
    elif diff := str(result.get("diff") or ""):
        outcome["diff"] = writing.shown(diff)
    return outcome
