"""Finds skills, which are directories with a SKILL.md, and reads what belongs to one."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agent.frames import Frame, Refused
from agent.output import decode, whole_end

META_BYTES = 64 * 1024
FILE_BYTES = 512 * 1024
META = "SKILL.md"
_PLACES = (".agents/skills", ".claude/skills")
_MOST = 500
_DESCRIPTION = 2000  # characters
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True)
class Skill:
    """A skill by its name, and where it is."""

    name: str
    description: str
    folder: Path

    def line(self) -> Frame:
        """The skill in a list of skills."""
        return {
            "name": self.name,
            "description": self.description[:_DESCRIPTION],
            "dir": str(self.folder),
            "meta_file": str(self.folder / META),
        }


def index(directory: Path, home: Path) -> list[Skill]:
    """The skills of the working directory, then those of the home whose name is still free."""
    found: dict[str, Skill] = {}
    for place in dict.fromkeys(folder / name for folder in (directory, home) for name in _PLACES):
        try:
            folders = sorted(folder for folder in place.iterdir() if (folder / META).is_file())
        except OSError:
            continue
        for folder in folders[:_MOST]:
            skill = _skill(folder)
            if skill is not None and len(found) < _MOST:
                found.setdefault(skill.name, skill)
    return list(found.values())


def read(name: str, path: str, directory: Path, home: Path) -> Frame:
    """What a skill says, and which files it has; with a path, the content of one of them."""
    skill = next((skill for skill in index(directory, home) if skill.name == name), None)
    if skill is None:
        raise Refused("not_found", f"there is no skill {name!r}")
    if path:
        return {"content": _content(skill, path)}
    body = _parted(_start(skill.folder / META, META_BYTES))[1]
    return {"body": body, "files": _files(skill.folder), "dir": str(skill.folder)}


def _skill(folder: Path) -> Skill | None:
    try:
        fields = _parted(_start(folder / META, META_BYTES))[0]
    except Refused:
        return None
    name = fields.get("name") or folder.name
    return Skill(name, fields.get("description", ""), folder) if _NAME.fullmatch(name) else None


def _content(skill: Skill, path: str) -> str:
    asked = PurePosixPath(path)
    if asked.is_absolute() or "\0" in path or any(part.startswith(".") for part in path.split("/")):
        raise Refused("invalid", "the path must be relative, without parts that begin with a dot")
    target = (skill.folder / asked).resolve()
    if not target.is_relative_to(skill.folder.resolve()):
        raise Refused("denied", f"{path} leads out of the skill")
    return _start(target, FILE_BYTES)


def _files(folder: Path) -> list[str]:
    files: list[str] = []
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if path.name != META and path.is_file() and not any(part.startswith(".") for part in inner.parts):
            files.append(inner.as_posix())
        if len(files) >= _MOST:
            break
    return files


def _start(path: Path, limit: int) -> str:
    try:
        if not path.is_file():
            raise Refused("not_found", f"{path.name} does not exist")
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise Refused("denied", f"{path.name} cannot be read") from error
    return decode(raw if len(raw) <= limit else whole_end(raw[:limit]))


def _parted(text: str) -> tuple[dict[str, str], str]:
    """The front matter's plain fields, and what follows it. Enough YAML for a name and a description."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    if lines[0].strip() != "---" or "---" not in (line.rstrip() for line in lines[1:]):
        return {}, text
    end = next(at for at, line in enumerate(lines[1:], 1) if line.rstrip() == "---")
    fields: dict[str, str] = {}
    name = ""
    for line in lines[1:end]:
        key, colon, value = line.partition(":")
        if colon and key and not line[0].isspace() and not line.startswith("#"):
            name = key.strip()
            fields[name] = "" if value.strip() in {">", "|", ">-", "|-", ">+", "|+"} else _unquoted(value.strip())
        elif name and line.strip():
            fields[name] = f"{fields[name]} {line.strip()}".strip()
    return fields, "\n".join(lines[end + 1 :]).strip("\n")


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'" else value
