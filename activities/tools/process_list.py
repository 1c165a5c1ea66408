"""The tool `process_list`: which commands run in the workspace, and how those that ended did."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from activities.tools.tool import ASKING, NOT_PLANNING, ToolContext, tool
from models.rules.executions import Policy


class Arguments(BaseModel):
    """List the commands that were started in the workspace: those that run, and how the others ended."""


@tool(policy=Policy.IDEMPOTENT, offered=NOT_PLANNING, timeout=ASKING)
async def process_list(_arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    result = await context.ask("processes", {}, harmless=True)
    return {"processes": [_told(each) for each in result.get("processes") or ()]}


def _told(process: Mapping[str, Any]) -> dict[str, Any]:
    status = "running" if process.get("running") else "unknown" if process.get("lost") else "exited"
    told = {"id": process["id"], "command": process.get("command", ""), "status": status}
    if process.get("exit_code") is not None:
        told["exit_code"] = process["exit_code"]
    return told
