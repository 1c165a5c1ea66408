"""The tool `read_template`: what may be chosen when a workspace is made of a template."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from activities.tools.endings import ToolFailed
from activities.tools.template_id import read
from activities.tools.tool import ROOTS_PLANNING, ToolContext, tool
from models.rules.executions import Policy
from models.store import templates

MOST_README = 8000
MOST_DESCRIPTION = 300
NO_PARAMETERS = "It has no parameters: create_workspace needs only the template_id."
PARAMETERS = "Give create_workspace the required parameters that have no default; leave out the others unless asked."


class Arguments(BaseModel):
    """Read a template: its parameters, its presets, and what its authors say of it."""

    template_id: str = Field(description="The id that list_templates gave.")


@tool(policy=Policy.PURE, offered=ROOTS_PLANNING, quick=True)
async def read_template(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    template_id = read(arguments.template_id)
    async with context.place.database.read() as session:
        found = await templates.offered(session, context.chat["organization_id"], template_id)
        if not found or found[0]["active_version_id"] is None:
            raise ToolFailed(f"template {template_id} was not found, or cannot be used here")
        version = await templates.version(session, found[0]["active_version_id"])
        presets = await templates.presets(session, version["id"])
    [template] = found
    shown = ("id", "name", "display_name", "description", "organization_id", "active_version_id", "provisioner")
    told: dict[str, Any] = {
        "template": {key: template[key] for key in shown if template[key]},
        "parameters": [_parameter(each) for each in version["parameters"]],
        "parameters_note": PARAMETERS if version["parameters"] else NO_PARAMETERS,
        "presets": [_preset(each) for each in presets],
    }
    if version["readme"]:
        told["readme"] = version["readme"][:MOST_README]
    return told


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    told = {
        "name": parameter["name"],
        "type": parameter.get("type", "string"),
        "required": bool(parameter.get("required")),
        "mutable": bool(parameter.get("mutable", True)),
    }
    for key in ("display_name", "description"):
        if text := str(parameter.get(key) or ""):
            told[key] = text[:MOST_DESCRIPTION]
    if parameter.get("default_value") not in (None, ""):
        told["default"] = parameter["default_value"]
    if options := parameter.get("options"):
        told["options"] = [
            {key: each[key] for key in ("name", "value", "description") if each.get(key)} for each in options
        ]
    rules = {
        key.removeprefix("validation_"): value
        for key, value in parameter.items()
        if key.startswith("validation_") and value not in (None, "")
    }
    return told | ({"validation": rules} if rules else {})


def _preset(preset: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"id": str(preset["id"]), "name": preset["name"], "default": preset["is_default"]}
    for key in ("description", "icon"):
        if preset[key]:
            told[key] = preset[key]
    told["desired_prebuild_instances"] = preset["desired_prebuilds"]
    told["parameters"] = [{"name": name, "value": value} for name, value in preset["parameters"].items()]
    return told
