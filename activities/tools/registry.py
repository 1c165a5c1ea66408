"""The tools there are, by name, in the order in which models are told of them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from activities.tools.advisor import advisor
from activities.tools.ask_user_question import ask_user_question
from activities.tools.attach_file import attach_file
from activities.tools.computer import computer
from activities.tools.create_workspace import create_workspace
from activities.tools.current_time import current_time
from activities.tools.edit_files import edit_files
from activities.tools.execute import execute
from activities.tools.fetch_url import fetch_url
from activities.tools.interrupt_agent import interrupt_agent
from activities.tools.list_agents import list_agents
from activities.tools.list_templates import list_templates
from activities.tools.message_agent import message_agent
from activities.tools.process_list import process_list
from activities.tools.process_output import process_output
from activities.tools.process_signal import process_signal
from activities.tools.propose_plan import propose_plan
from activities.tools.read_file import read_file
from activities.tools.read_skill import read_skill
from activities.tools.read_skill_file import read_skill_file
from activities.tools.read_template import read_template
from activities.tools.spawn_agent import spawn_agent
from activities.tools.start_workspace import start_workspace
from activities.tools.stop_workspace import stop_workspace
from activities.tools.tool import Tool, where
from activities.tools.wait_agent import wait_agent
from activities.tools.write_file import write_file
from models.rules import advisor as rules
from models.rules import workspace_context
from models.rules.computer import MODE as COMPUTER_USE
from models.settings import Settings

TOOLS: tuple[Tool, ...] = (
    read_file,
    write_file,
    edit_files,
    execute,
    process_output,
    process_list,
    process_signal,
    attach_file,
    list_templates,
    read_template,
    create_workspace,
    start_workspace,
    stop_workspace,
    ask_user_question,
    propose_plan,
    spawn_agent,
    wait_agent,
    message_agent,
    interrupt_agent,
    list_agents,
    read_skill,
    read_skill_file,
    advisor,
    computer,
    current_time,
    fetch_url,
)


class Toolbox:
    """The tools that a worker offers to models and runs for them."""

    def __init__(self, tools: Sequence[Tool] = TOOLS) -> None:
        self._by_name = {each.name: each for each in tools}
        self._declared = {each.name: each.declaration() for each in tools}
        self.stops = frozenset(each.name for each in tools if each.ends_turn)

    def find(self, name: str) -> Tool | None:
        """The tool of that name."""
        return self._by_name.get(name)

    def beside(self, more: Sequence[Tool]) -> "Toolbox":
        """These tools, and `more` of one step's own."""
        if not more:
            return self
        made = Toolbox(())
        made._by_name = {**self._by_name, **{each.name: each for each in more}}
        made._declared = self._declared
        made.stops = self.stops
        return made

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
    if tool.needs_advisor and rules.offered(chat) is None:
        return False
    if tool.at_desktop and chat.get("mode") != COMPUTER_USE:
        return False
    return where(chat) in tool.offered


def configured(settings: Settings) -> Toolbox:
    """The built-in tools, without those that the deployment has switched off."""
    return Toolbox([tool for tool in TOOLS if tool is not fetch_url or settings.fetch_url])
