"""What a server's tool said, as an outcome of a call: its words, its pictures and sounds, what it structured."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import orjson

from activities.tools.endings import ToolFailed
from activities.tools.tool import Media

LARGEST_MEDIA = 10 * 1024 * 1024  # bytes, of all that one result shows
MOST_MEDIA = 8
NO_WORDS = "The tool failed without saying why."


def outcome(result: dict[str, Any]) -> Any:
    """The outcome of a `CallToolResult` in its wire form; raises ToolFailed where the tool says that it failed."""
    words: list[str] = []
    media: list[Media] = []
    for block in result.get("content") or ():
        said = _words(block)
        if said:
            words.append(said)
        elif found := _media(block, words, media):
            media.append(found)
    text = "\n".join(words)
    structured = result.get("structuredContent")
    if result.get("isError"):
        raise ToolFailed(text or (orjson.dumps(structured).decode() if structured else NO_WORDS))
    if structured is None or (text and structured == {"result": text}):  # so SDKs wrap what is only text
        structured = None
    if media:
        if structured is not None and _parsed(text) != structured:
            text = f"{text}\n{orjson.dumps(structured).decode()}".strip()
        return Media(media[0].data, media[0].mime_type, text, media[1:])
    if structured is None:
        return text
    if not text or _parsed(text) == structured:
        return structured
    return {"output": text, "structured": structured}


def _words(block: dict[str, Any]) -> str:
    match block:
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": "resource", "resource": {"text": str(text)}}:
            return text
        case {"type": "resource_link", "uri": str(uri)}:
            return f"{block.get('title') or block.get('name') or 'Resource'}: {uri}"
    return ""


def _media(block: dict[str, Any], words: list[str], others: Sequence[Media]) -> Media | None:
    """The picture or sound of a block, if there is room for it beside the `others`; else `words` tell of it."""
    match block:
        case {"type": "image" | "audio", "data": str(data), "mimeType": str(kind)}:
            pass
        case {"type": "resource", "resource": {"blob": str(data), "mimeType": str(kind)}}:
            pass
        case _:
            return None
    if len(others) >= MOST_MEDIA:
        words.append(f"[{kind}: left out, {MOST_MEDIA} are shown]")
        return None
    size = len(data) * 3 // 4 - data[-2:].count("=")
    if size + sum(len(each.data) for each in others) > LARGEST_MEDIA:
        words.append(f"[{kind}: left out, no more than {LARGEST_MEDIA} bytes are shown]")
        return None
    try:
        return Media(base64.b64decode(data, validate=True), kind)
    except (binascii.Error, ValueError):
        words.append(f"[{kind} that is not base64: left out]")
        return None


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
