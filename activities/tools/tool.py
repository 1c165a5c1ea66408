"""What a tool is: a model of its arguments, whose words the model reads, and one async function."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints
from uuid import UUID

from pydantic import BaseModel

Function = TypeVar("Function", bound=Callable[..., Awaitable[Any]])


class ToolFailed(Exception):
    """The tool could not do it; the model reads why."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """For whom a tool runs."""

    chat_id: UUID
    owner_id: UUID
    tool_call_id: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the registry holds it; its name is its module's."""

    name: str
    arguments: type[BaseModel]
    run: Callable[[Any, ToolContext], Awaitable[Any]]

    def declaration(self) -> dict[str, Any]:
        """The tool as the model is told of it, in chat-completions form."""
        schema = self.arguments.model_json_schema()
        description = schema.pop("description")
        schema.pop("title", None)
        for described in schema.get("properties", {}).values():
            described.pop("title", None)
        # Some providers refuse an empty `required`; pydantic leaves it out.
        return {"type": "function", "function": {"name": self.name, "description": description, "parameters": schema}}


def tool(run: Callable[[Any, ToolContext], Awaitable[Any]]) -> Tool:
    """Make a tool of the one public function of its module: `async def run(arguments: Arguments, context)`."""
    arguments = next(iter(get_type_hints(run).values()))
    return Tool(run.__module__.rpartition(".")[2], arguments, run)
