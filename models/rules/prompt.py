"""Transcript → provider messages, in the OpenAI chat-completions form that the provider door takes (runtime.md 1.7)."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import orjson

from models.parts import NUL, NUL_AT_REST, Part
from models.rules import attachments, screenshots
from models.rules.history import is_context, visible_to_model
from models.rules.profiles import Profile, profile_for
from models.rules.repair import SIGNATURE, repaired, safe_name

Message = dict[str, Any]

NOTHING = "(no text)"  # a message of white space alone would be refused
BEGINNING = "(the conversation goes on)"
CACHED = {"type": "ephemeral"}
NOT_AGAIN = "its content is not shown again"
DONE = "Done. This is the screen now."
SCREEN = "[The screen after these actions:]"
THOUGHTS = ("thinking", "redacted_thinking")
_NUL_IN_JSON = "\\u0000"


def build(
    rows: Sequence[Mapping[str, Any]],
    *,
    provider: str,
    model: str = "",
    tools: Collection[str] = (),
    instructions: Sequence[str] = (),
    files: Mapping[str, attachments.File] | None = None,
    gone: Collection[str] = (),
) -> list[Message]:
    """The messages to send: `rows` in order, those hidden from the model left out, every call answered once.

    `instructions` follow the stored system messages. `files` has what users' files hold, by id; those in `gone` are
    not stored any more. `tools` are the names of the tools that there are.
    """
    profile = profile_for(provider, model)
    writer = _Writer(profile, files or {}, frozenset(gone))
    visible = [row for row in rows if visible_to_model(row)]
    system = [text for row in visible if row["role"] == "system" for text in _first_text(row["content"])]
    system += [text for text in instructions if text.strip()]
    family = profile.family if profile.runs_tools else ""
    rest = repaired(
        [row for row in visible if row["role"] != "system" and not is_context(row)], tools=tools, family=family
    )
    talk = [*_told(rest, writer, screenshots.shown(rest, profile), inline=profile.pictures_in_results)]
    if profile.alternates:
        talk = list(alternating(talk))
    if not talk:
        talk = [{"role": "user", "content": BEGINNING}]
    if profile.joins_system and system:
        system = ["\n\n".join(system)]
    made: list[Message] = [{"role": "system", "content": text} for text in system]
    if profile.caches:
        for message in (*made[-1:], *talk[-2:]):
            _mark(message, on_calls=profile.family == "anthropic")
    return made + talk


def thinks_from_the_start(messages: Sequence[Mapping[str, Any]]) -> bool:
    """May a model of Anthropic's think while it goes on with this? Not where its turn began without a signed thought.

    A turn that has come as far as tool results must begin with the thought that led to its first call.
    """
    if not messages or messages[-1].get("role") != "tool":
        return True
    first: Mapping[str, Any] = {}
    for message in reversed(messages):
        if message.get("role") not in ("assistant", "tool"):
            break
        if message["role"] == "assistant":
            first = message
    content = first.get("content")
    begins = content[0].get("type") if isinstance(content, list) and content else ""
    return bool(first.get("thinking_blocks")) or begins == "thinking"


def _told(
    rows: Sequence[Mapping[str, Any]], writer: "_Writer", pictures: Collection[int], *, inline: bool
) -> Iterator[Message]:
    """The rows as messages; pictures that a result cannot hold follow their step's results, in a user's message."""
    waiting: list[Message] = []
    for place, row in enumerate(rows):
        if waiting and row["role"] != "tool":
            yield {"role": "user", "content": [_text_block([SCREEN]), *waiting]}
            waiting = []
        message = writer.message(row)
        if place in pictures:
            picture = screenshots.content(row["content"][0])
            text = _seen(row["content"][0])
            message = {**(message or {}), "content": [_text_block([text]), picture] if inline else text}
            waiting += [] if inline else [picture]
        if message is not None:
            yield message
    if waiting:
        yield {"role": "user", "content": [_text_block([SCREEN]), *waiting]}


class _Writer:
    """Writes one row at a time, for one profile."""

    def __init__(
        self,
        profile: Profile,
        files: Mapping[str, attachments.File],
        gone: frozenset[str],
    ) -> None:
        self._profile = profile
        self._files = files
        self._gone = gone

    def message(self, row: Mapping[str, Any]) -> Message | None:
        parts: list[Part] = row["content"]
        match row["role"]:
            case "user":
                return {"role": "user", "content": self._user(parts)}
            case "assistant":
                return self._assistant(parts)
            case _:
                return {"role": "tool", "tool_call_id": parts[0]["tool_call_id"], "content": _result(parts[0])}

    def _user(self, parts: Sequence[Part]) -> str | list[Message]:
        said: list[Message] = []
        texts: list[str] = []
        for part in parts:
            piece = self._said(part)
            if isinstance(piece, str):
                if piece.strip():
                    texts.append(piece)
                continue
            if texts:
                said.append(_text_block(texts))
                texts = []
            said.append(piece)
        if not said:
            return "\n\n".join(texts) or NOTHING
        return [*said, _text_block(texts)] if texts else said

    def _said(self, part: Part) -> str | Message:
        match part["type"]:
            case "text":
                return _decoded(part.get("text") or "")
            case "file-reference":
                name, content = _decoded(part.get("file_name") or ""), _decoded(part.get("content") or "")
                return f"[file {name}, lines {part.get('start_line', 0)}-{part.get('end_line', 0)}]\n{content}"
            case "file":
                decoded = {**part, "name": _decoded(part.get("name") or "")}
                return attachments.shown(decoded, self._files, str(part.get("file_id") or "") in self._gone)
            case _:
                return ""

    def _assistant(self, parts: Sequence[Part]) -> Message | None:
        """The message, if it says anything: thoughts alone say nothing to the next step, and are refused."""
        blocks: list[Message] = []
        calls: list[Message] = []
        runs = False
        for part in parts:
            if part.get("provider_executed"):
                runs = True
                blocks.append(_run_by_provider(part))
            elif part["type"] == "tool-call":
                calls.append(self._call(part))
            else:
                blocks += self._blocks(part)
        thoughts = [block for block in blocks if block["type"] in THOUGHTS]
        if len(thoughts) == len(blocks) and not calls:
            return None
        message: Message = {"role": "assistant"}
        if runs:  # in the order in which they came; a redacted thought has a place of its own only before all
            redacted = any(block["type"] == "redacted_thinking" for block in thoughts)
            message["content"] = [block for block in blocks if not (redacted and block in thoughts)]
            if redacted:
                message["thinking_blocks"] = thoughts
        else:
            message["content"] = "".join(block["text"] for block in blocks if block["type"] == "text") or None
            if thoughts:
                message["thinking_blocks"] = thoughts
        if calls:
            message["tool_calls"] = calls
        return message

    def _blocks(self, part: Part) -> list[Message]:
        match part["type"]:
            case "text":
                text = _decoded(part.get("text") or "")
                return [{"type": "text", "text": text}] if text.strip() else []  # Anthropic refuses white space alone
            case "reasoning" if self._profile.keeps_thinking:
                return _thinking(part, self._profile.family)
            case "file":
                return [{"type": "text", "text": f"[file {_decoded(part.get('name') or '')}: {NOT_AGAIN}]"}]
            case _:
                return []

    def _call(self, part: Part) -> Message:
        args = part.get("args")
        call: Message = {
            "id": part["tool_call_id"],
            "type": "function",
            "function": {
                "name": safe_name(part.get("tool_name") or ""),
                "arguments": _json(args) if isinstance(args, dict) else "{}",
            },
        }
        if self._profile.family == "google":
            signature = part.get("given_id", "").partition(SIGNATURE)[2]
            if signature:
                call["provider_specific_fields"] = {"thought_signature": signature}
        return call


def _first_text(parts: Sequence[Part]) -> list[str]:
    text = next((_decoded(part.get("text") or "") for part in parts if part["type"] == "text"), "")
    return [text] if text.strip() else []


def _thinking(part: Part, family: str) -> list[Message]:
    metadata = part.get("provider_metadata") or {}
    if metadata.get("family", family) != family:
        return []
    if metadata.get("redacted"):
        return [{"type": "redacted_thinking", "data": metadata["redacted"]}]
    if metadata.get("signature"):
        text = _decoded(part.get("text") or "")
        return [{"type": "thinking", "thinking": text, "signature": metadata["signature"]}]
    return []  # unsigned thinking (an interrupted block) would be refused


def _run_by_provider(part: Part) -> Message:
    """The block that the provider sent, as it was."""
    if part["type"] == "tool-call":
        args = part.get("args")
        return {
            "type": "server_tool_use",
            "id": part["tool_call_id"],
            "name": safe_name(part.get("tool_name") or ""),
            "input": args if isinstance(args, dict) else {},
        }
    metadata = part["provider_metadata"]
    return {"type": metadata["kind"], "tool_use_id": part["tool_call_id"], "content": metadata["content"]}


def _result(part: Part) -> str:
    result = part.get("result")
    if part.get("is_media") and isinstance(result, dict):
        note = screenshots.LEFT_OUT if screenshots.is_picture(part) else NOT_AGAIN
        shown = {key: value for key, value in result.items() if key not in ("data", "more")}
        result = {**shown, "note": f"[media: {note}]"}
    return _json(result)


def _seen(part: Part) -> str:
    """What is said of a picture that is shown."""
    return _decoded(part["result"].get("text") or "") or DONE


def alternating(messages: Sequence[Message]) -> Iterator[Message]:
    """The messages, a user's first, neighbours of one role joined where they are plain."""
    last: Message | None = None
    if messages and messages[0]["role"] != "user":
        last = {"role": "user", "content": BEGINNING}
    for message in messages:
        if last is not None and last["role"] == message["role"] and _joins(last, message):
            last = {**last, **message, "content": _joined(last["content"], message["content"])}
            continue
        if last is not None:
            yield last
        last = message
    if last is not None:
        yield last


def _joins(first: Message, second: Message) -> bool:
    if first["role"] == "user":
        return True
    return not ({"thinking_blocks", "tool_calls"} & first.keys() or "thinking_blocks" in second) and (
        first["role"] == "assistant" and isinstance(first["content"], str) and isinstance(second["content"], str | None)
    )


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str | None):
        return "\n\n".join(filter(None, (first, second)))
    return [*_blocks(first), *_blocks(second)]


def _blocks(content: Any) -> list[Message]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _mark(message: Message, *, on_calls: bool) -> None:
    """Ask for a cache up to here; the mark goes onto the last block that may have one."""
    if message.get("tool_calls"):
        if on_calls:  # OpenAI's form has no place for it
            message["tool_calls"][-1]["cache_control"] = CACHED
    elif isinstance(message["content"], list) and message["role"] != "tool":
        marked = [block for block in message["content"] if block["type"] not in THOUGHTS]
        marked[-1]["cache_control"] = CACHED
    else:
        message["cache_control"] = CACHED


def _text_block(texts: Sequence[str]) -> Message:
    return {"type": "text", "text": "\n\n".join(texts)}


def _decoded(text: str) -> str:
    return text.replace(NUL_AT_REST, NUL) if NUL_AT_REST in text else text


def _json(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits
        text = json.dumps(value, ensure_ascii=False)
    return text.replace(NUL_AT_REST, _NUL_IN_JSON) if NUL_AT_REST in text else text
