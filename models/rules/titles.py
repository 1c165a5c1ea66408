"""What a chat is called: the fallback that its first message gives, and the cleaning of a generated one."""

import unicodedata
from collections.abc import Iterable

from models.parts import Part

UNTITLED = "New Chat"
WORDS = 6
GENERATED_WORDS = 8
MAX_LENGTH = 80
ELLIPSIS = "\u2026"

_UNPRINTABLE = frozenset({"Cc", "Cs"})
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"


def fallback(content: Iterable[Part]) -> str:
    """The first six words of a message, cut at 80 characters; `New Chat` when it has no words."""
    words = _printable(" ".join(_said(part) for part in content)).split()
    if not words:
        return UNTITLED
    title = " ".join(words[:WORDS])
    if len(words) > WORDS:
        title += ELLIPSIS
    if len(title) > MAX_LENGTH:
        title = title[: MAX_LENGTH - 1].rstrip() + ELLIPSIS
    return title


def clean(generated: str) -> str | None:
    """A generated title made presentable, or None when it cannot be one (empty, or more than eight words)."""
    words = _printable(generated).strip().strip(_QUOTES).split()
    if not words or len(words) > GENERATED_WORDS:
        return None
    return " ".join(words)[:MAX_LENGTH].rstrip() or None


def _said(part: Part) -> str:
    match part.get("type"):
        case "text":
            return str(part.get("text", ""))
        case "file-reference":
            return f"{part.get('file_name', '')} {part.get('content', '')}"
        case _:
            return ""


def _printable(text: str) -> str:
    """The text without what a title cannot show or a TEXT column cannot hold."""
    return "".join(" " if unicodedata.category(character) in _UNPRINTABLE else character for character in text)
