"""What a tool is: a model of its arguments, whose words the model reads, and one async function."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, get_type_hints
from uuid import UUID

from pydantic import BaseModel

from activities.tools.schema import plain
from activities.workshop import Workshop
from models.parts import Part
from models.rules import executions
from models.rules.executions import Policy
from models.settings import Settings
from models.store.stream import Episode

TIMEOUT = timedelta(minutes=1)
ASKING = timedelta(minutes=5)  # of a tool that asks the workspace's agent for something short
ANSWER = timedelta(minutes=1)  # that an agent has for something short


class Where(Enum):
    """The kinds of turns in which a tool may be offered (the availability codes of runtime.md 10)."""

    ROOT = "in a chat of its own"
    CHILD = "in a sub-agent's chat"
    PLAN = "in a chat of its own that plans"
    CHILD_PLAN = "in a sub-agent's chat that plans"
    EXPLORE = "in a chat that only explores"


ROOTS = frozenset({Where.ROOT})
ROOTS_PLANNING = frozenset({Where.ROOT, Where.PLAN})
NOT_PLANNING = frozenset({Where.ROOT, Where.CHILD})
EVERYWHERE = frozenset(Where)


def where(chat: Mapping[str, Any]) -> Where:
    """Which kind of turn the chat is in."""
    child = chat.get("parent_chat_id") is not None
    if chat.get("mode") == "explore":
        return Where.EXPLORE
    if chat.get("plan_mode") == "plan":
        return Where.CHILD_PLAN if child else Where.PLAN
    return Where.CHILD if child else Where.ROOT


@dataclass(frozen=True, slots=True)
class Media:
    """An outcome that is a picture, a sound or a file, with what can be said of it in words; `more` come with it."""

    data: bytes
    mime_type: str
    text: str = ""
    more: Sequence["Media"] = ()


@dataclass(frozen=True, slots=True)
class Attached:
    """An outcome with files of the chat, which its owner can open; each is a `file` part."""

    outcome: Any
    files: Sequence[Part]


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
    consult: Callable[[str], Awaitable[dict[str, Any]]] | None = None

    @property
    def idempotency_key(self) -> str:
        """The same for every run of one call, and of no other call."""
        return str(self.job_id())

    def job_id(self, part: str = "") -> UUID:
        """The key of one thing that the call asks for, the same for every run; `part` tells several apart."""
        return executions.key(self.chat_id, self.message_id, self.tool_call_id, part)

    @property
    def place(self) -> Workshop:
        """The workspaces of chats."""
        assert self.workshop is not None
        return self.workshop

    async def advise(self, question: str) -> dict[str, Any]:
        """What the advisor says to the question; see activities.advising."""
        assert self.consult is not None
        return await self.consult(question)

    @property
    def plans(self) -> bool:
        """Is the turn one that plans?"""
        return where(self.chat) in (Where.PLAN, Where.CHILD_PLAN)

    async def ask(
        self,
        kind: str,
        request: Mapping[str, Any],
        *,
        patience: timedelta = ANSWER,
        harmless: bool = False,
        aloud: bool = False,
        part: str = "",
    ) -> dict[str, Any]:
        """What the agent of the chat's workspace answers; see Workshop.ask. `aloud`: watchers see what it says.

        `part` tells several things apart that one call asks for.
        """
        said = self.show if aloud else None
        job_id, seconds = self.job_id(part), patience.total_seconds()
        return await self.place.ask(
            self.chat_id, job_id, kind, request, patience=seconds, said=said, harmless=harmless, episode=self._episode
        )

    async def ask_for(
        self, kind: str, request: Mapping[str, Any], *, patience: timedelta, aloud: bool = False
    ) -> dict[str, Any] | None:
        """The same, but None when there is no answer yet after so long and the agent is still at it."""
        said = self.show if aloud else None
        return await self.place.ask_for(
            self.chat_id,
            self.job_id(),
            kind,
            request,
            patience=patience.total_seconds(),
            said=said,
            episode=self._episode,
        )

    @property
    def _episode(self) -> Episode | None:
        """In which attempt the call is run, where it is one of a chat at work."""
        version = self.chat.get("history_version")
        return None if version is None else Episode(version, self.chat["generation_attempt"])


Run = Callable[[Any, ToolContext], Awaitable[Any]]
Probe = Callable[[Any, ToolContext], Awaitable[Probed]]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the registry holds it; its name is its module's.

    `probe` finds out what became of a call whose worker died. An `exclusive` tool must be the only call of its step. A
    `quick` one changes nothing and waits for nobody: it is run where its model was asked. Calls of one `series` are run
    one after another. Success of a tool that `ends_turn` does so. One that `needs_skills` is offered where the chat's
    workspace has some, one that `needs_advisor` where the turn may ask one, one `at_desktop` in chats that work at one.
    One that `is_costly` is written down although it changes nothing: who takes it over need not pay again.
    """

    name: str
    arguments: type[BaseModel]
    run: Run
    policy: Policy = Policy.ONCE
    probe: Probe | None = None
    exclusive: bool = False
    offered: frozenset[Where] = NOT_PLANNING
    timeout: timedelta = TIMEOUT
    quick: bool = False
    series: str = ""
    ends_turn: bool = False
    needs_skills: bool = False
    needs_advisor: bool = False
    is_costly: bool = False
    at_desktop: bool = False

    def __post_init__(self) -> None:
        if (self.policy is Policy.PROBE) != (self.probe is not None):
            raise TypeError(f"{self.name}: a probe, and the policy that asks it, need each other")
        if self.quick and self.policy is not Policy.PURE:
            raise TypeError(f"{self.name}: what changes the world is not quick")

    def declaration(self) -> dict[str, Any]:
        """The tool as the model is told of it, in chat-completions form."""
        schema = plain(self.arguments)
        description = schema.pop("description")
        # Some providers refuse an empty `required`; pydantic leaves it out.
        return {"type": "function", "function": {"name": self.name, "description": description, "parameters": schema}}


def tool(
    *,
    policy: Policy,
    probe: Probe | None = None,
    exclusive: bool = False,
    offered: frozenset[Where] = NOT_PLANNING,
    timeout: timedelta = TIMEOUT,
    quick: bool = False,
    series: str = "",
    ends_turn: bool = False,
    needs_skills: bool = False,
    needs_advisor: bool = False,
    is_costly: bool = False,
    at_desktop: bool = False,
) -> Callable[[Run], Tool]:
    """Make a tool of the one public function of its module: `async def run(arguments: Arguments, context)`."""

    def made(run: Run) -> Tool:
        arguments = next(iter(get_type_hints(run).values()))
        name = run.__module__.rpartition(".")[2]
        return Tool(
            name, arguments, run, policy, probe, exclusive, offered, timeout, quick, series, ends_turn, needs_skills,
            needs_advisor, is_costly, at_desktop,
        )  # fmt: skip

    return made
