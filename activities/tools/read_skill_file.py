"""The tool `read_skill_file`: a skill's own files, by the names that the skill gives them."""

from typing import Any

from pydantic import BaseModel, Field

from activities.tools.endings import ToolFailed
from activities.tools.read_skill import asked, cut, known
from activities.tools.tool import ASKING, EVERYWHERE, ToolContext, tool
from models.rules.executions import Policy

FILE_BYTES = 512 * 1024


class Arguments(BaseModel):
    """Read a file that belongs to a skill; read_skill tells which there are."""

    name: str = Field(description="The skill's name, as in the list.", max_length=200)
    path: str = Field(description="The file's path inside the skill, for example scripts/check.sh.", max_length=4096)


@tool(policy=Policy.IDEMPOTENT, offered=EVERYWHERE, needs_skills=True, timeout=ASKING)
async def read_skill_file(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    name, path = known(arguments.name, context), arguments.path.strip()
    _require_inside(path)
    found = await asked(context, {"name": name, "path": path})
    return {"content": cut(found.get("content"), FILE_BYTES)}


def _require_inside(path: str) -> None:
    """Raise ToolFailed for what cannot be a file of a skill; the agent sees to links."""
    if not path:
        raise ToolFailed("path is required.")
    if path.startswith(("/", "~")) or "\\" in path or "\x00" in path:
        raise ToolFailed("path must be relative to the skill.")
    if any(part.startswith(".") for part in path.split("/")):
        raise ToolFailed('path must not have parts that begin with a dot, such as "..".')
