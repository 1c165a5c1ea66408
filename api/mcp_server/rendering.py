"""Chats, messages, workspaces as a tool shows them: what an agent reads, in plain words, of a bounded size."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

LONGEST_PART = 4000  # characters of a tool call's arguments or result
LONGEST_DESCRIPTION = 500
_CHAT = (
    "id",
    "title",
    "status",
    "queued_for_capacity",
    "last_error",
    "plan_mode",
    "archived",
    "organization_id",
    "owner_username",
    "workspace_id",
    "parent_chat_id",
    "last_model_config_id",
    "last_turn_summary",
    "labels",
    "warnings",
    "created_at",
    "updated_at",
)
MOST_CHILDREN = 50


def chat(document: Mapping[str, Any]) -> dict[str, Any]:
    """What there is to know of a chat, with where its sub-agents stand."""
    shown = _some(document, _CHAT)
    children = [_some(each, ("id", "title", "status")) for each in document.get("children", [])[:MOST_CHILDREN]]
    return shown | ({"sub_agents": children} if children else {})


def messages(documents: Iterable[Mapping[str, Any]], most: int, *, newest: bool) -> tuple[list[dict[str, Any]], bool]:
    """Messages as text, oldest first, of `most` characters together; False if some at the far end were left out.

    `newest`: which end is kept. A message that is too long by itself is cut.
    """
    found = sorted(documents, key=lambda each: int(each["id"]), reverse=newest)
    kept: list[dict[str, Any]] = []
    for each in found:
        said = text(each.get("content", []))
        if kept and len(said) > most:
            break
        kept.append(_some(each, ("id", "role", "created_at")) | {"text": cut(said, most)})
        most = max(0, most - len(said))
    whole = len(kept) == len(found)
    return (kept[::-1] if newest else kept), whole


def text(parts: Iterable[Mapping[str, Any]]) -> str:
    """A message's parts as text; reasoning is left out."""
    return "\n\n".join(shown for each in parts if (shown := _part(each)))


def _part(part: Mapping[str, Any]) -> str:
    match part.get("type"):
        case "text":
            return str(part.get("text", ""))
        case "tool-call":
            return cut(f"[calls {part.get('tool_name', '')} {_json(part.get('args'))}]", LONGEST_PART)
        case "tool-result":
            verb = "failed" if part.get("is_error") else "answered"
            return cut(f"[{part.get('tool_name', '')} {verb}: {_json(part.get('result'))}]", LONGEST_PART)
        case "file":
            return f"[file {part.get('name') or part.get('file_id', '')} ({part.get('media_type', '')})]"
        case "file-reference":
            where = f"{part.get('file_name', '')}:{part.get('start_line')}-{part.get('end_line')}"
            return cut(f"[{where}]\n{part.get('content', '')}", LONGEST_PART)
        case "source":
            return f"[source {part.get('url', '')}]"
    return ""


def cut(words: str, most: int) -> str:
    """The words, or their beginning with how much is missing."""
    if len(words) <= most:
        return words
    return f"{words[:most]}… [{len(words) - most} more characters]"


def build(document: Mapping[str, Any]) -> dict[str, Any]:
    """Where a build stands."""
    shown = _some(document, ("id", "build_number", "transition", "status", "created_at", "workspace_id"))
    shown |= {"job": _some(document["job"], ("status", "error", "started_at", "completed_at"))}
    agents = [each for resource in document.get("resources", []) for each in resource["agents"]]
    return shown | {"agents": [_some(each, ("id", "name", "status", "lifecycle_state")) for each in agents]}


_WORKSPACE = ("id", "name", "owner_name", "organization_name", "template_id", "template_name", "outdated")


def workspace(document: Mapping[str, Any]) -> dict[str, Any]:
    """A workspace with its latest build."""
    latest = document["latest_build"]
    return _some(document, _WORKSPACE) | {"status": latest["status"], "latest_build": build(latest)}


_TEMPLATE = ("id", "name", "display_name", "organization_name", "provisioner", "deprecated", "active_version_id")


def template(document: Mapping[str, Any]) -> dict[str, Any]:
    """A template."""
    return _some(document, _TEMPLATE) | {"description": cut(document["description"], LONGEST_DESCRIPTION)}


def _some(document: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: document[name] for name in names if document.get(name) is not None}


def _json(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
