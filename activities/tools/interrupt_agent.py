"""The tool `interrupt_agent`: stop what a sub-agent does now; what it has said so far is kept."""

from typing import Any

from pydantic import BaseModel, Field

from activities.tools import children
from activities.tools.tool import ASKING, ROOTS, ToolContext, tool
from models.rules.executions import Policy
from models.store import moves


class Arguments(BaseModel):
    """Stop a sub-agent that is no longer needed or went astray. One that has ended already is left as it is."""

    chat_id: str = Field(description="The chat_id that spawn_agent gave.")


@tool(policy=Policy.IDEMPOTENT, offered=ROOTS, timeout=ASKING)
async def interrupt_agent(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    return await children.steered(context, children.read(arguments.chat_id), moves.interrupt)
