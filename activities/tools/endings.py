"""How a tool's call may end other than with an outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID


class ToolFailed(Exception):
    """The tool could not do it; the model reads why, and the `facts` beside it."""

    def __init__(self, why: str, **facts: Any) -> None:
        super().__init__(why)
        self.facts = facts


class ToolUnknown(Exception):
    """Nobody knows whether it happened; the model and the user read what is known."""


class Event(StrEnum):
    """What a paused call waits for; the id names the build, the agent, the job or the sub-agent's chat."""

    BUILD_OVER = "build_over"
    AGENT_CONNECTED = "agent_connected"
    AGENT_READY = "agent_ready"
    JOB_OVER = "job_over"
    CHILD_OVER = "child_over"


@dataclass(frozen=True, slots=True)
class Pause:
    """What a call waits for with nobody at it: an event, or so much time. `memory` is there when it goes on."""

    why: str
    event: Event
    id: UUID
    patience: timedelta
    memory: Mapping[str, Any] = field(default_factory=dict)


class Paused(Exception):
    """The call goes on later: its tool is run again, under the same key and with its memory, when the pause is over."""

    def __init__(self, pause: Pause) -> None:
        super().__init__(pause.why)
        self.pause = pause
