"""The tools there are, by name, in the order in which models are told of them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from activities.tools.current_time import current_time
from activities.tools.fetch_url import fetch_url
from activities.tools.read_skill import read_skill
from activities.tools.read_skill_file import read_skill_file
from activities.tools.tool import Tool
from models.rules import workspace_context
from models.settings import Settings

TOOLS: tuple[Tool, ...] = (current_time, fetch_url, read_skill, read_skill_file)


class Toolbox:
    """The tools that a worker offers to models and runs for them."""

    def __init__(self, tools: Sequence[Tool] = TOOLS) -> None:
        self._by_name = {each.name: each for each in tools}
        self._declared = {each.name: each.declaration() for each in tools}

    def find(self, name: str) -> Tool | None:
        """The tool of that name."""
        return self._by_name.get(name)

    def are_quick(self, names: Collection[str]) -> bool:
        """Are these all tools whose calls take no time worth a slot of their own?"""
        return all((tool := self.find(name)) is not None and tool.quick for name in names)

    def offered(self, chat: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the chat's model is told of the tools that it may call."""
        return [self._declared[name] for name, tool in self._by_name.items() if active(tool, chat)]


def active(tool: Tool, chat: Mapping[str, Any]) -> bool:
    """May the chat's model call the tool in this turn?"""
    if tool.needs_skills and not workspace_context.skills(chat):
        return False
    return tool.in_plan_mode or chat.get("plan_mode") != "plan"


def configured(settings: Settings) -> Toolbox:
    """The built-in tools, without those that the deployment has switched off."""
    return Toolbox([tool for tool in TOOLS if tool is not fetch_url or settings.fetch_url])
