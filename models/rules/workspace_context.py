"""What a workspace tells those who work in it: instruction files and skills, as parts of a chat's history (11.4).

They are kept in a user row of their own, which no turn begins with and which models read in the system prompt. The
newest row of the chat's workspace holds; one that says there is nothing is a row as well, so that nobody asks again.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from models.parts import Part, from_rest
from models.rules import history
from models.rules.instructions import sanitised

KEY = "workspace_context"
"""Under which an opened chat carries the parts that hold for it."""
FILE_BYTES = 64 * 1024
TOTAL_BYTES = 2 * 1024 * 1024
MOST = 500  # files and skills
LONGEST_DESCRIPTION = 1024  # of a skill, in characters
_MARK = "workspace"

ATTACHED = "This chat has a workspace: your tools read and change its files and run commands in it."
FILES = "What follows are instructions from files of the workspace, for whoever works there. Keep to them."
SKILLS = (
    "Skills are instructions for particular tasks, kept in the workspace. When a task fits one, read it with the tool "
    "read_skill before you begin, and the files it names with read_skill_file."
)


class Malformed(ValueError):
    """The agent's answer is not what was asked for."""


def parts(found: Mapping[str, Any], workspace_id: UUID, agent_id: UUID) -> list[Part]:
    """What the agent found, within bounds, as the content of a row; raises Malformed."""
    made = [*_files(_dicts(found, "instructions"), agent_id), *_skills(_dicts(found, "skills"), agent_id)][:MOST]
    if not made:
        made = [{"type": "context-file", "context_file_path": "", "context_file_agent_id": str(agent_id)}]
    made[0]["provider_metadata"] = {_MARK: {"id": str(workspace_id), "agent": str(agent_id)}}
    return made


def is_empty(content: Sequence[Part]) -> bool:
    """Does the row only say that there is nothing?"""
    return all(part["type"] == "context-file" and not part["context_file_path"] for part in content)


def held(chat: Mapping[str, Any], rows: Sequence[history.Row]) -> list[Part] | None:
    """The parts that hold for the chat, None if its workspace has not been asked."""
    if chat["workspace_id"] is None:
        return None
    for row in reversed(rows):
        if history.is_context(row) and _mark(row["content"]).get("id") == str(chat["workspace_id"]):
            content: list[Part] = row["content"]
            return content
    return None


def told_by(content: Sequence[Part]) -> UUID | None:
    """The agent that told it."""
    agent = _mark(content).get("agent")
    return UUID(agent) if agent else None


def skills(chat: Mapping[str, Any]) -> dict[str, Part]:
    """The skills of an opened chat's workspace, by their names."""
    return {part["skill_name"]: part for part in chat.get(KEY) or () if part["type"] == "skill"}


def said(chat: Mapping[str, Any]) -> list[str]:
    """What an opened chat's model is told of its workspace, in order."""
    if chat["workspace_id"] is None:
        return []
    content = from_rest(chat.get(KEY) or [])
    files = [part for part in content if part["type"] == "context-file" and part["context_file_path"]]
    blocks = [ATTACHED, *([FILES] if files else ()), *map(_file, files)]
    made = ["<workspace-context>\n" + "\n\n".join(blocks) + "\n</workspace-context>"]
    if lines := [_skill(part) for part in content if part["type"] == "skill"]:
        made.append("<available-skills>\n" + SKILLS + "\n\n" + "\n".join(lines) + "\n</available-skills>")
    return made


def _mark(content: Sequence[Part]) -> dict[str, Any]:
    found: dict[str, Any] = (content[0].get("provider_metadata") or {}).get(_MARK) or {}
    return found


def _file(part: Part) -> str:
    cut = " (its beginning)" if part.get("context_file_truncated") else ""
    return f"Source: {part['context_file_path']}{cut}\n{part.get('context_file_content', '')}"


def _skill(part: Part) -> str:
    description = part.get("skill_description")
    return f"- {part['skill_name']}: {description}" if description else f"- {part['skill_name']}"


def _files(found: Sequence[Mapping[str, Any]], agent_id: UUID) -> list[Part]:
    made: list[Part] = []
    room = TOTAL_BYTES
    for each in found:
        path, content = _text(each, "path").strip(), _text(each, "content")
        kept = content.encode("utf-8", "replace")[: min(FILE_BYTES, room)].decode("utf-8", "ignore")
        text = sanitised(kept)
        if not path or not text:
            continue
        room -= len(kept.encode())
        part: Part = {
            "type": "context-file",
            "context_file_path": path,
            "context_file_agent_id": str(agent_id),
            "context_file_content": text,
        }
        if each.get("truncated") or len(kept) < len(content):
            part["context_file_truncated"] = True
        made.append(part)
    return made


def _skills(found: Sequence[Mapping[str, Any]], agent_id: UUID) -> list[Part]:
    made: dict[str, Part] = {}
    for each in found:
        name = sanitised(_text(each, "name"))
        description = " ".join(sanitised(_text(each, "description")).split())[:LONGEST_DESCRIPTION]
        part: Part = {"type": "skill", "skill_name": name, "context_file_agent_id": str(agent_id)}
        part |= {key: value for key, value in (("skill_description", description), *_places(each)) if value}
        if name:
            made.setdefault(name, part)
    return list(made.values())


def _places(skill: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return ("skill_dir", _text(skill, "dir")), ("context_file_skill_meta_file", _text(skill, "meta_file"))


def _dicts(found: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    given = found.get(key) or []
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise Malformed(f"{key} is a list of objects")
    return given[:MOST]


def _text(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key) or ""
    if not isinstance(value, str):
        raise Malformed(f"{key} is text")
    return value
