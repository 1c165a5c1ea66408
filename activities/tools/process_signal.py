"""The tool `process_signal`: end a command that runs in the workspace."""

from typing import Any

from pydantic import BaseModel, Field

from activities.tools.endings import ToolFailed
from activities.tools.tool import ASKING, NOT_PLANNING, ToolContext, tool
from models.rules.executions import Policy

SIGNALS = ("terminate", "kill")


class Arguments(BaseModel):
    """Ask a process in the workspace, and all that it has started, to end (`terminate`), or end it (`kill`)."""

    process_id: str = Field(description="The background_process_id that execute gave, or an id of process_list.")
    signal: str = Field(description="`terminate` or `kill`.")


@tool(policy=Policy.IDEMPOTENT, offered=NOT_PLANNING, timeout=ASKING)
async def process_signal(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    if arguments.signal not in SIGNALS:
        raise ToolFailed(f"unsupported signal {arguments.signal!r}: use terminate or kill")
    request = {"process_id": arguments.process_id, "signal": arguments.signal}
    result = await context.ask("signal", request)
    return {"success": bool(result.get("success")), "message": str(result.get("message") or "")}
