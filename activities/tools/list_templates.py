"""The tool `list_templates`: what workspaces can be made of, the likeliest first."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from activities.tools.tool import ROOTS_PLANNING, ToolContext, tool
from models.rules import template_choice
from models.rules.executions import Policy
from models.store import templates

CHOOSE = (
    "Read the recommended template with read_template, then make a workspace of it with create_workspace. Ask the user "
    "only if it does not fit the task."
)
ASK = "Choose by name and description, and read it with read_template. If several may fit, ask the user which."
NONE = "There is no template to make a workspace of: tell the user that an administrator has to add one."


class Arguments(BaseModel):
    """List the templates that workspaces can be made of, ten a page, the likeliest first. Do what `next_step` says."""

    query: str = Field(default="", description="What to look for in names and descriptions.")
    page: int = Field(default=1, ge=1, description="Which page, from 1.")


@tool(policy=Policy.PURE, offered=ROOTS_PLANNING, quick=True)
async def list_templates(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    async with context.place.database.read() as session:
        offered = await templates.offered(session, context.chat["organization_id"])
        habits = await templates.habits(session, context.owner_id, context.chat["organization_id"])
    ranked = template_choice.ranked(offered, habits, arguments.query)
    best = template_choice.recommended(ranked, habits, arguments.query)
    pages = -(-len(ranked) // template_choice.PAGE)
    begin = (arguments.page - 1) * template_choice.PAGE
    shown = [_told(each) for each in ranked[begin : begin + template_choice.PAGE]]
    told: dict[str, Any] = {
        "templates": shown,
        "count": len(shown),
        "page": arguments.page,
        "total_pages": pages,
        "total_count": len(ranked),
        "next_step": NONE if not ranked else CHOOSE if best else ASK,
    }
    if best is not None:
        told["recommended_template_id"] = str(best["id"])
    if arguments.page < pages:
        told["next_page"] = arguments.page + 1
    return told


def _told(template: Mapping[str, Any]) -> dict[str, Any]:
    told = {"id": str(template["id"]), "name": template["name"], "organization_id": str(template["organization_id"])}
    more = {key: template[key] for key in ("display_name", "description", "active_developers")}
    return told | {key: value for key, value in more.items() if value}
