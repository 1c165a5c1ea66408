"""Which files a turn may change: all but stray plans; one that plans, only its plan (runtime.md 12.2)."""

from activities.tools.endings import ToolFailed
from activities.tools.tool import ToolContext
from models.rules import plan_file

MOST_DIFF = 8 * 1024  # characters


async def allowed(path: str, context: ToolContext) -> bool:
    """May it be changed? Raises ToolFailed; True says that the path must lead to itself, past no link."""
    if not path.strip():
        raise ToolFailed("path is required")
    if not context.plans:
        if plan_file.looks_like_plan(path):
            home = await context.place.home(context.chat_id)
            if plan_file.is_stray_plan(path, home):
                own = plan_file.path(home, context.chat_id)
                raise ToolFailed(f"Plans of all chats would overwrite each other there. Use {own} instead.")
        return False
    home = await context.place.home(context.chat_id)
    own = plan_file.path(home, context.chat_id)
    if plan_file.meant(path, home) != own:
        raise ToolFailed(f"In plan mode only the plan file can be changed: {own}")
    return True


def shown(diff: str) -> str:
    """The diff as the model is told: it knows what it has written."""
    return diff if len(diff) <= MOST_DIFF else f"{diff[:MOST_DIFF]}\n[… {len(diff) - MOST_DIFF} more characters …]"
