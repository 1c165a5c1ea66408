"""Sub-agents: the kinds there are, and when one of them has come to an end (runtime.md 12.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.rules import computer
from models.rules.model_choice import EXPLORE, GENERAL
from models.rules.states import Status

UNFINISHED = frozenset({Status.PENDING, Status.RUNNING, Status.INTERRUPTING})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of sub-agent. `choice` is the purpose for which people and administrators choose its model.

    One that `is_fixed` does not plan, and has for good the MCP servers that its parent had when it was made. One
    `at_desktop` has a model of its own, and is not made while its parent plans.
    """

    mode: str | None
    choice: str
    is_fixed: bool = False
    at_desktop: bool = False


KINDS: Mapping[str, Kind] = {
    "general": Kind(None, GENERAL),
    "explore": Kind("explore", EXPLORE, is_fixed=True),
    "computer_use": Kind(computer.MODE, GENERAL, at_desktop=True),
}


def kind_of(chat: Mapping[str, Any]) -> str:
    """Which kind of sub-agent has this chat."""
    return next((name for name, kind in KINDS.items() if kind.mode == chat["mode"]), "general")


def is_over(chat: Mapping[str, Any]) -> bool:
    """Is there nothing to wait for in a sub-agent's chat?"""
    return bool(chat["archived"]) or chat["status"] not in UNFINISHED
