"""The tool `propose_plan`: show the user the plan that was written; the turn ends with it."""

from typing import Any

from pydantic import BaseModel, Field

from activities.tools.endings import ToolFailed
from activities.tools.tool import ASKING, Attached, ToolContext, Where, tool
from models.parts import file as file_part
from models.rules import plan_file
from models.rules.executions import Policy


class Arguments(BaseModel):
    """Propose the plan in the chat's plan file to the user. Write it first, completely; this ends your turn."""

    path: str = Field(default="", description="The plan file; leave it empty.")


@tool(policy=Policy.IDEMPOTENT, offered=frozenset({Where.PLAN}), timeout=ASKING, ends_turn=True)
async def propose_plan(arguments: Arguments, context: ToolContext) -> Attached:
    home = await context.place.home(context.chat_id)
    own = plan_file.path(home, context.chat_id)
    path = plan_file.meant(arguments.path, home) if arguments.path.strip() else own
    if not path.endswith(".md"):
        raise ToolFailed("path must end with .md")
    if not path.startswith("/"):
        raise ToolFailed("path must be absolute")
    if path != own:
        raise ToolFailed(f"In plan mode the plan is in {own}")
    brought = await context.ask("upload", {"path": path, "max_bytes": plan_file.MOST_BYTES})
    told = {key: brought.get(key) for key in ("file_id", "media_type")}
    outcome: dict[str, Any] = {"ok": True, "path": path, "kind": "plan", **told}
    return Attached(outcome, [file_part({**told, "name": brought.get("name")})])
