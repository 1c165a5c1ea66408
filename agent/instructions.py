"""Finds what a model is to read first: instruction files of the home and of the working directory."""

from pathlib import Path

from agent import skills
from agent.frames import Frame
from agent.output import decode, whole_end

FILE_BYTES = 64 * 1024
TOTAL_BYTES = 2 * 2**20
NAMES = ("AGENTS.md", "CLAUDE.md", ".agents/AGENTS.md", ".claude/CLAUDE.md")


def context(directory: Path, home: Path, file_bytes: int = FILE_BYTES, total_bytes: int = TOTAL_BYTES) -> Frame:
    """The instruction files, those of the home first, and the skills there are."""
    found: list[Frame] = []
    seen: set[Path] = set()
    room = total_bytes
    for folder in dict.fromkeys((home, directory)):
        for name in NAMES:
            path = folder / name
            try:
                real = path.resolve()
                if real in seen or not real.is_file():
                    continue
                with real.open("rb") as file:
                    raw = file.read(min(file_bytes, room) + 1)
            except OSError:
                continue
            seen.add(real)
            kept = raw if len(raw) <= min(file_bytes, room) else whole_end(raw[: min(file_bytes, room)])
            if not kept.strip():
                continue
            room -= len(kept)
            found.append({"path": str(path), "content": decode(kept), "truncated": len(kept) < len(raw)})
    return {"instructions": found, "skills": [skill.line() for skill in skills.index(directory, home)]}
