"""The tools that a chat's own client runs: how the model is told of them, and by which names (runtime.md 13)."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.parts import from_rest
from models.rules.repair import safe_name

log = logging.getLogger(__name__)

NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class ClientTools:
    """What one step offers: declarations in chat-completions form, and each tool's own name by the one told."""

    declarations: tuple[dict[str, Any], ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


def offered(chat: Mapping[str, Any], is_ours: Callable[[str], bool]) -> ClientTools:
    """The tools that the chat's client declared, as far as they may be called now; a tool of ours wins its name.

    Providers are strict about names, clients need not be: the model is told one that every provider takes.
    """
    declared = from_rest(chat["dynamic_tools"] or [])
    if not declared or chat["plan_mode"] == "plan" or chat["mode"] == "explore":
        return ClientTools()
    names: dict[str, str] = {}
    declarations = []
    for tool in declared:
        name = tool["name"]
        told = safe_name(name)
        if told in names or is_ours(told) or is_ours(name):
            log.info("chat %s: its client's tool %r is not offered: the name is taken", chat["id"], name)
            continue
        names[told] = name
        declarations.append({"type": "function", "function": _function(told, tool)})
    return ClientTools(tuple(declarations), names)


def declares(chat: Mapping[str, Any], name: str) -> bool:
    """Did the chat's client declare this tool, under its own name or the one that models are told?"""
    declared = [tool["name"] for tool in from_rest(chat["dynamic_tools"] or [])]
    return name in declared or name in map(safe_name, declared)


def _function(name: str, tool: Mapping[str, Any]) -> dict[str, Any]:
    schema = tool.get("input_schema")
    parameters = {**NO_ARGUMENTS, **(schema if isinstance(schema, dict) else {})}
    made: dict[str, Any] = {"name": name, "parameters": parameters}
    if tool.get("description"):
        made["description"] = tool["description"]
    return made
