"""The tool `list_agents`: the sub-agents of the chat, and how far each is."""

from typing import Any

from pydantic import BaseModel, Field

from activities.tools import children
from activities.tools.tool import ROOTS, ToolContext, tool
from models.rules.executions import Policy
from models.store import children as store

MOST = 50


class Arguments(BaseModel):
    """List this chat's sub-agents, newest first, with where each stands; archived ones are left out."""

    limit: int = Field(default=10, ge=1, description=f"How many, at most {MOST}.")
    offset: int = Field(default=0, ge=0, le=2**31, description="How many of the newest to leave out.")


@tool(policy=Policy.PURE, offered=ROOTS)
async def list_agents(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    limit, offset = min(arguments.limit, MOST), arguments.offset
    async with context.place.database.read() as session:
        rows, total = await store.listed(session, context.chat_id, limit=limit, offset=offset)
    return {
        "agents": [children.told(row) for row in rows],
        "total": total,
        "returned": len(rows),
        "offset": offset,
        "has_more": offset + len(rows) < total,
    }
