"""What a server's tool said, as an outcome of a call: words first, then the first picture or sound."""

import base64
import binascii
from typing import Any

import orjson

from activities.tools.endings import ToolFailed
from activities.tools.tool import Media

LARGEST_MEDIA = 10 * 1024 * 1024  # bytes
NO_WORDS = "The tool failed without saying why."


def outcome(result: dict[str, Any]) -> Any:
    """The outcome of a `CallToolResult` in its wire form; raises ToolFailed where the tool says that it failed."""
    words: list[str] = []
    media: Media | None = None
    for block in result.get("content") or ():
        said = _words(block)
        if said:
            words.append(said)
        elif media is None and (found := _media(block, words)):
            media = found
    text = "\n".join(words)
    structured = result.get("structuredContent")
    if result.get("isError"):
        raise ToolFailed(text or (orjson.dumps(structured).decode() if structured else NO_WORDS))
    if media is not None:
        return Media(media.data, media.mime_type, text)
    if structured is None or (text and structured == {"result": text}):  # so SDKs wrap what is only text
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


def _media(block: dict[str, Any], words: list[str]) -> Media | None:
    match block:
        case {"type": "image" | "audio", "data": str(data), "mimeType": str(kind)}:
            pass
        case {"type": "resource", "resource": {"blob": str(data), "mimeType": str(kind)}}:
            pass
        case _:
            return None
    if len(data) > LARGEST_MEDIA * 4 // 3:
        words.append(f"[{kind} of more than {LARGEST_MEDIA} bytes: left out]")
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
