"""What a tool is: a model of its arguments, whose words the model reads, and one async function."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, get_type_hints
from uuid import UUID, uuid5

from pydantic import BaseModel

from activities.workshop import Workshop
from models.rules.executions import Policy
from models.settings import Settings

TIMEOUT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Media:
    """An outcome that is a picture, a sound or a file, with what can be said of it in words."""

    data: bytes
    mime_type: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """What a probe says of a call that happened: its outcome."""

    outcome: Any


class NotDone:
    """What a probe says of a call that did not happen, and will not."""


class Unsure:
    """What a probe says of a call of which it cannot tell."""


Probed = Done | NotDone | Unsure


@dataclass(frozen=True, slots=True)
class ToolContext:
    """For whom a tool runs, and under which name the world may remember the call.

    `show` lets watchers see what the call says while it runs. `memory` is what the call left when it paused.
    """

    chat_id: UUID
    message_id: int
    owner_id: UUID
    tool_call_id: str
    settings: Settings
    chat: Mapping[str, Any] = field(default_factory=dict)
    workshop: Workshop | None = None
    show: Callable[[str], None] = lambda _: None
    memory: Mapping[str, Any] = field(default_factory=dict)

    @property
    def idempotency_key(self) -> str:
        """The same for every run of one call, and of no other call."""
        return str(self.job_id())

    def job_id(self, part: str = "") -> UUID:
        """The key of one thing that the call asks for, the same for every run; `part` tells several apart."""
        return uuid5(self.chat_id, f"{self.message_id}:{self.tool_call_id}{part}")


Run = Callable[[Any, ToolContext], Awaitable[Any]]
Probe = Callable[[Any, ToolContext], Awaitable[Probed]]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the registry holds it; its name is its module's.

    `probe` finds out what became of a call whose worker died. An `exclusive` tool must be the only call of its step. A
    `quick` one changes nothing and waits for nobody: it is run where its model was asked. One that `needs_skills` is
    offered where the chat's workspace has some.
    """

    name: str
    arguments: type[BaseModel]
    run: Run
    policy: Policy = Policy.ONCE
    probe: Probe | None = None
    exclusive: bool = False
    in_plan_mode: bool = False
    timeout: timedelta = TIMEOUT
    quick: bool = False
    needs_skills: bool = False

    def __post_init__(self) -> None:
        if (self.policy is Policy.PROBE) != (self.probe is not None):
            raise TypeError(f"{self.name}: a probe, and the policy that asks it, need each other")
        if self.quick and self.policy is not Policy.PURE:
            raise TypeError(f"{self.name}: what changes the world is not quick")

    def declaration(self) -> dict[str, Any]:
        """The tool as the model is told of it, in chat-completions form."""
        schema = self.arguments.model_json_schema()
        description = schema.pop("description")
        schema.pop("title", None)
        for described in schema.get("properties", {}).values():
            described.pop("title", None)
        # Some providers refuse an empty `required`; pydantic leaves it out.
        return {"type": "function", "function": {"name": self.name, "description": description, "parameters": schema}}


def tool(
    *,
    policy: Policy,
    probe: Probe | None = None,
    exclusive: bool = False,
    in_plan_mode: bool = False,
    timeout: timedelta = TIMEOUT,
    quick: bool = False,
    needs_skills: bool = False,
) -> Callable[[Run], Tool]:
    """Make a tool of the one public function of its module: `async def run(arguments: Arguments, context)`."""

    def made(run: Run) -> Tool:
        arguments = next(iter(get_type_hints(run).values()))
        name = run.__module__.rpartition(".")[2]
        return Tool(name, arguments, run, policy, probe, exclusive, in_plan_mode, timeout, quick, needs_skills)

    return made
