"""MCP servers' tools: in which chats they are, what models are told of them, and what may be done about their calls."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

import orjson

from models.rules.executions import Policy
from models.rules.instructions import PLAN

LONGEST_NAME = 64  # the providers' limit
LONGEST_DESCRIPTION = 4096
LARGEST_SCHEMA = 64 * 1024  # bytes
MOST_TOOLS = 128  # of one server
DEEPEST = 32  # levels of a schema
MOST_PARTS = 2000  # of a schema, counted where they are referred to
INTENT = "model_intent"
"""The argument in which a model says what a call is for."""
ORIGIN = "mcp"
"""Internal mark of a call to a server: its tool's own name there, and how it was offered."""

_INTENT_SCHEMA = {
    "type": "string",
    "description": "What this call is for, in a few words that the user can read while it runs.",
}
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_NOISE = frozenset({"$schema", "$id", "$comment", "$defs", "definitions", "$anchor", "title"})
_BRANCHES = ("anyOf", "oneOf", "allOf")
_SCHEMAS = frozenset({*_BRANCHES, "items", "additionalProperties", "not", "prefixItems"})


class Offered(Protocol):
    """What decides in which chats a server is."""

    @property
    def id(self) -> UUID: ...
    @property
    def availability(self) -> str: ...
    @property
    def allow_in_plan_mode(self) -> bool: ...


class Configured(Offered, Protocol):
    """What decides about a server's tools."""

    @property
    def tool_allow_list(self) -> Sequence[str]: ...
    @property
    def tool_deny_list(self) -> Sequence[str]: ...


def is_offered(server: Offered, chat: Mapping[str, Any]) -> bool:
    """Has the chat this server in its present turn?

    A chat that explores has what it was given and nothing more; a sub-agent that plans has none.
    """
    explores = chat.get("mode") == "explore"
    chosen = server.id in chat["mcp_server_ids"] or (server.availability == "force_on" and not explores)
    if not chosen:
        return False
    if chat.get("plan_mode") != PLAN or explores:
        return True
    return chat.get("parent_chat_id") is None and server.allow_in_plan_mode


def is_allowed(server: Configured, tool: str) -> bool:
    """May this tool of the server be used? What is denied never, else what is allowed, if anything is named."""
    if tool in server.tool_deny_list:
        return False
    return not server.tool_allow_list or tool in server.tool_allow_list


def exposed(slug: str, tool: str) -> str:
    """The name that models know the tool by: shortened where providers would not take it, and still no other tool's."""
    name = f"{slug}__{tool}"
    safe = _UNSAFE.sub("_", name)
    if safe == name and len(name) <= LONGEST_NAME:
        return name
    mark = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{safe[: LONGEST_NAME - len(mark) - 1]}_{mark}"


def policy(annotations: Mapping[str, Any], *, trusted: bool) -> Policy:
    """What may be done about a call that was cut off. What a server says of itself counts where an admin trusts it."""
    if trusted and annotations.get("readOnlyHint") is True:
        return Policy.PURE
    if trusted and annotations.get("idempotentHint") is True:
        return Policy.IDEMPOTENT
    return Policy.ONCE


def declaration(name: str, description: str, schema: Any, *, intent: bool) -> dict[str, Any]:
    """The tool as its model is told of it, in chat-completions form."""
    made: dict[str, Any] = {"name": name, "parameters": parameters(schema, intent=intent)}
    if text := description.strip():
        made["description"] = text[:LONGEST_DESCRIPTION]
    return {"type": "function", "function": made}


def parameters(schema: Any, *, intent: bool = False) -> dict[str, Any]:
    """A server's schema as every provider takes it: an object, without references, `required` only where it says
    something. One that is no object, or too large, becomes an object of anything."""
    made = _Plainer(schema).plain(schema) if isinstance(schema, Mapping) else {}
    properties = made.get("properties")
    merged: dict[str, Any] = dict(properties) if isinstance(properties, dict) else {}
    for branch in _BRANCHES:  # providers refuse them here
        for each in made.pop(branch, None) or ():
            if isinstance(each, dict) and isinstance(each.get("properties"), dict):
                merged = {**each["properties"], **merged}
    made = {**made, "type": "object", "properties": merged}
    if not _is_small(made):
        made = {"type": "object", "properties": {}}
    if intent and INTENT not in made["properties"]:
        made["properties"] = {INTENT: dict(_INTENT_SCHEMA), **made["properties"]}
        made["required"] = [INTENT, *made.get("required", ())]
    if isinstance(made.get("required"), list):
        made["required"] = [each for each in made["required"] if each in made["properties"]]
    if not made.get("required"):
        made.pop("required", None)
    return made


def has_intent(schema: Any) -> bool:
    """Is `model_intent` an argument of the tool's own?"""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return isinstance(properties, Mapping) and INTENT in properties


def about_the_chat(chat: Mapping[str, Any]) -> dict[str, str]:
    """The headers that tell a server for whom it works, where it is to be told."""
    child = chat.get("parent_chat_id") is not None
    told = {
        "X-Coder-Owner-Id": chat["owner_id"],
        "X-Coder-Chat-Id": (chat.get("root_chat_id") or chat["id"]) if child else chat["id"],
        "X-Coder-Subchat-Id": chat["id"] if child else None,
        "X-Coder-Workspace-Id": chat.get("workspace_id"),
    }
    return {name: str(value) for name, value in told.items() if value}


def missing(absent: Iterable[tuple[str, str]]) -> str:
    """What a model is told of servers whose tools it lacks: their names, and why; empty if there are none."""
    lines = [f"- {name}: {why}" for name, why in sorted(absent)]
    if not lines:
        return ""
    listed = "\n".join(lines)
    return (
        "<unavailable-tools>\nThe tools of these MCP servers are not available now. If the task needs them, tell "
        f"the user so, once.\n{listed}\n</unavailable-tools>"
    )


def _is_small(schema: Mapping[str, Any]) -> bool:
    try:
        return len(orjson.dumps(schema)) <= LARGEST_SCHEMA
    except (orjson.JSONEncodeError, RecursionError):
        return False


class _Plainer:
    """Makes a schema plain: what is too deep or too much, as what refers to itself is, may be anything."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._parts: dict[str, Any] = {}
        self._left = MOST_PARTS
        for place in ("$defs", "definitions"):
            if isinstance(schema.get(place), Mapping):
                self._parts |= {f"#/{place}/{name}": part for name, part in schema[place].items()}

    def plain(self, schema: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
        """The schema without references and noise."""
        self._left -= 1
        if depth > DEEPEST or self._left < 0:
            return {}
        if isinstance(named := schema.get("$ref"), str):
            part = self._parts.get(named)
            own = {key: value for key, value in schema.items() if key != "$ref"}
            return self.plain({**(part if isinstance(part, Mapping) else {}), **own}, depth + 8)
        made: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _NOISE or (key == "required" and not value):
                continue
            if key in ("properties", "patternProperties") and isinstance(value, Mapping):
                made[key] = {name: self._below(each, depth) for name, each in value.items()}
            elif key in _SCHEMAS and isinstance(value, list):
                made[key] = [self._below(each, depth) for each in value]
            elif key in _SCHEMAS:
                made[key] = self._below(value, depth)
            else:
                made[key] = value
        return made

    def _below(self, schema: Any, depth: int) -> Any:
        return self.plain(schema, depth + 1) if isinstance(schema, Mapping) else schema
