"""The tool `edit_files`: replace pieces of files in the workspace, all of them or none."""

from typing import Any

from pydantic import BaseModel, Field

from activities.tools import writing
from activities.tools.endings import ToolFailed
from activities.tools.tool import ASKING, ROOTS_PLANNING, ToolContext, Where, tool
from models.rules.executions import Policy


class Edit(BaseModel):
    search: str = Field(description="The text to replace, copied exactly, long enough to be found in one place only.")
    replace: str = Field(description="The text that takes its place.")
    replace_all: bool = Field(default=False, description="Replace it wherever it is found.")


class File(BaseModel):
    path: str = Field(description="Absolute, or from the workspace's directory; `~` is the home directory.")
    edits: list[Edit] = Field(description="At least one; each is applied to what the one before it left.")


class Arguments(BaseModel):
    """Change pieces of one or several files in the workspace, all at once: if one edit fits nowhere, none is applied.

    In plan mode only the plan file can be changed.
    """

    files: list[File] = Field(description="At least one.")


@tool(policy=Policy.IDEMPOTENT, offered=ROOTS_PLANNING | {Where.CHILD}, timeout=ASKING)
async def edit_files(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    if not arguments.files:
        raise ToolFailed("at least one file is required")
    strictly = False
    for file in arguments.files:
        strictly = await writing.allowed(file.path, context) or strictly
        if not file.edits:
            raise ToolFailed(f"{file.path}: at least one edit is required (no edits were applied)")
    files = [
        {"path": file.path.strip(), "edits": [edit.model_dump() for edit in file.edits]} for file in arguments.files
    ]
    result = await context.ask("edit_files", {"files": files, "must_resolve_to_itself": strictly})
    told = [
        {"path": each.get("path", ""), "diff": writing.shown(str(each.get("diff") or ""))}
        for each in result.get("files") or ()
    ]
    return {"ok": True, "files": told}
