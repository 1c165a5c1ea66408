"""The bytes that Google (Gemini) and AWS (Bedrock Converse) would stream for a behaviour, and what they refuse."""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes.behaviour import Behaviour
from tests.fakes.refusals import Refusal
from tests.fakes.wire import COUNTED, Event, calls, output_tokens, thoughts, words


def messages(style: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conversation with OpenAI's keys, for reading directives."""
    if style == "google":
        return [
            {
                "role": "tool"
                if any("functionResponse" in part for part in turn["parts"])
                else turn.get("role", "user"),
                "content": turn["parts"],
            }
            for turn in body["contents"]
        ]
    return [
        {**turn, "role": "tool" if any("toolResult" in block for block in turn["content"]) else turn["role"]}
        for turn in body["messages"]
    ]


def google_refuses(headers: Mapping[str, str], body: Any) -> Refusal | None:
    """Gemini's rules, a few."""
    if not headers.get("x-goog-api-key"):
        return 403, "", "PERMISSION_DENIED", "Method doesn't allow unregistered callers."
    if not isinstance(body, dict) or not body.get("contents"):
        return 400, "", "INVALID_ARGUMENT", "contents is not specified"
    return None


def bedrock_refuses(headers: Mapping[str, str], body: Any) -> Refusal | None:
    """Converse's rules, a few."""
    if not headers.get("authorization"):
        return 403, "", "MissingAuthenticationToken", "Missing Authentication Token"
    if not isinstance(body, dict) or not body.get("messages"):
        return 400, "", "ValidationException", "messages: must not be empty"
    return None


def google(behaviour: Behaviour, answer_id: str) -> Iterator[Event]:
    """A streamGenerateContent stream."""

    def event(parts: list[dict[str, Any]], **more: Any) -> bytes:
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **more.pop("candidate", {})}
        return (
            b"data: " + json.dumps({"candidates": [candidate], "responseId": answer_id, **more}).encode() + b"\r\n\r\n"
        )

    for text in thoughts(behaviour):
        yield Event(event([{"text": text, "thought": True}]))
    for text in words(behaviour):
        yield Event(event([{"text": text}]), COUNTED)
    for _, _, name, pieces in calls(behaviour):
        yield Event(event([{"functionCall": {"name": name, "args": json.loads("".join(pieces) or "{}")}}]))
    output = output_tokens(behaviour) - behaviour.reasoning
    usage = {
        "promptTokenCount": behaviour.input_tokens + behaviour.cached_tokens,
        "cachedContentTokenCount": behaviour.cached_tokens,
        "candidatesTokenCount": output,
        "thoughtsTokenCount": behaviour.reasoning,
        "totalTokenCount": behaviour.input_tokens + behaviour.cached_tokens + output + behaviour.reasoning,
    }
    ending = {"finishReason": behaviour.finish_reason or "STOP"}
    yield Event(event([{"text": ""}], candidate=ending, usageMetadata=usage))


def _frame(kind: str, value: Mapping[str, Any], message_type: str = "event") -> bytes:
    """One message of AWS's event stream: two lengths, a checksum, headers, the payload, a checksum."""

    def header(name: str, text: str) -> bytes:
        return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(text)) + text.encode()

    label = ":event-type" if message_type == "event" else ":exception-type"
    headers = header(label, kind) + header(":content-type", "application/json") + header(":message-type", message_type)
    payload = json.dumps(value).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def bedrock(behaviour: Behaviour) -> Iterator[Event]:
    """A converse-stream answer."""
    block = 0

    def delta(value: Mapping[str, Any]) -> bytes:
        return _frame("contentBlockDelta", {"contentBlockIndex": block, "delta": value})

    yield Event(_frame("messageStart", {"role": "assistant"}))
    if behaviour.reasoning:
        for text in thoughts(behaviour):
            yield Event(delta({"reasoningContent": {"text": text}}))
        yield Event(delta({"reasoningContent": {"signature": "signed"}}))
        yield Event(_frame("contentBlockStop", {"contentBlockIndex": block}))
        block += 1
    for text in words(behaviour):
        yield Event(delta({"text": text}), COUNTED)
    yield Event(_frame("contentBlockStop", {"contentBlockIndex": block}))
    for _, call_id, name, pieces in calls(behaviour):
        block += 1
        start = {"toolUse": {"toolUseId": call_id, "name": name}}
        yield Event(_frame("contentBlockStart", {"contentBlockIndex": block, "start": start}))
        for piece in pieces:
            yield Event(delta({"toolUse": {"input": piece}}))
        yield Event(_frame("contentBlockStop", {"contentBlockIndex": block}))
    reason = behaviour.finish_reason or ("tool_use" if behaviour.tool_calls else "end_turn")
    yield Event(_frame("messageStop", {"stopReason": reason}))
    usage = {
        "inputTokens": behaviour.input_tokens,
        "outputTokens": output_tokens(behaviour),
        "totalTokens": behaviour.input_tokens + output_tokens(behaviour),
        "cacheReadInputTokens": behaviour.cached_tokens,
        "cacheWriteInputTokens": behaviour.cache_creation_tokens,
    }
    yield Event(_frame("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}))


def throttled(message: str) -> bytes:
    """An exception inside Bedrock's stream."""
    return _frame("throttlingException", {"message": message}, "exception")
