"""The tool `attach_file`: hand a file of the workspace to the user, in the chat."""

from pydantic import BaseModel, Field

from activities.tools.endings import ToolFailed
from activities.tools.tool import ASKING, NOT_PLANNING, Attached, ToolContext, tool
from models.parts import file as file_part
from models.rules import file_types
from models.rules.executions import Policy


class Arguments(BaseModel):
    """Attach a file of the workspace to the chat, so that the user can open or download it. At most 10 MiB.

    Text, Markdown, CSV, JSON, PDF and common pictures can be attached.
    """

    path: str = Field(description="The absolute path of the file.")
    name: str = Field(default="", description="What the user sees it called; its own name if empty.")


@tool(policy=Policy.IDEMPOTENT, offered=NOT_PLANNING, timeout=ASKING)
async def attach_file(arguments: Arguments, context: ToolContext) -> Attached:
    path = arguments.path.strip()
    if not path:
        raise ToolFailed("path is required")
    if not path.startswith("/"):
        raise ToolFailed("path must be absolute")
    request = {"path": path, "name": arguments.name.strip(), "max_bytes": file_types.MAX_BYTES}
    brought = await context.ask("upload", request)
    told = {key: brought.get(key) for key in ("file_id", "name", "media_type", "size")}
    return Attached({"ok": True, "path": path, **told}, [file_part(told)])
