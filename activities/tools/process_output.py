"""The tool `process_output`: read on in what a command says that runs in the background."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field

from activities.tools import commands
from activities.tools.tool import EVERYWHERE, ToolContext, tool
from models.rules.executions import Policy

LONGEST_WAIT = timedelta(minutes=50)
SLACK = timedelta(seconds=30)


class Arguments(BaseModel):
    """Read what a process in the workspace has written so far, and wait a while for its end."""

    process_id: str = Field(description="The background_process_id that execute gave.")
    wait_timeout: str = Field(
        default="", description="How long to wait for its end, such as `30s`. Default 10s; `0s` only looks."
    )


@tool(policy=Policy.IDEMPOTENT, offered=EVERYWHERE, timeout=LONGEST_WAIT + timedelta(minutes=5))
async def process_output(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    wait = min(commands.wait_of(arguments.wait_timeout, name="wait_timeout", may_be_zero=True), LONGEST_WAIT)
    request = {
        "process_id": arguments.process_id,
        "wait_ms": round(wait.total_seconds() * 1000),
        "output_limit": commands.OUTPUT_BYTES,
    }
    result = await context.ask("output", request, patience=wait + SLACK, harmless=True, aloud=True)
    if not result.get("running"):
        return commands.told(result)
    outcome = commands.told(result, note=commands.STILL_RUNNING) | {"success": True}
    del outcome["exit_code"]  # it has none yet
    return outcome
