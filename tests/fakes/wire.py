"""The bytes that OpenAI and Anthropic would stream for a behaviour."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tests.fakes.behaviour import Behaviour

COUNTED = "token"
PLAIN = "plain"
CUT = "cut"


@dataclass(slots=True)
class Event:
    """Bytes of one event; `kind` is `token` where the pace and the counted failures apply."""

    data: bytes
    kind: str = PLAIN


def words(behaviour: Behaviour) -> Iterator[str]:
    """The visible text, token by token; texts differ, since litellm takes repeated chunks for a mad model."""
    if behaviour.empty:
        return
    if behaviour.text:
        yield behaviour.text
        return
    for index in range(behaviour.tokens):
        if behaviour.stamp:
            yield f"{time.time():.6f} "
        elif index == 0 and behaviour.huge_chunk:
            yield "x" * behaviour.huge_chunk
        else:
            yield f"w{index} "


def thoughts(behaviour: Behaviour) -> Iterator[str]:
    """The reasoning, token by token."""
    return (f"r{index} " for index in range(behaviour.reasoning))


def calls(behaviour: Behaviour) -> Iterator[tuple[int, str, str, list[str]]]:
    """Tool calls as (index, id, name, pieces of the arguments)."""
    for index, call in enumerate(behaviour.tool_calls):
        given = call.get("arguments", {})
        arguments = given if isinstance(given, str) else json.dumps(given)
        middle = len(arguments) // 2
        yield index, str(call.get("id", f"call_{index}")), str(call["name"]), [arguments[:middle], arguments[middle:]]


def output_tokens(behaviour: Behaviour) -> int:
    """What the answer counts for."""
    visible = 0 if behaviour.empty else (1 if behaviour.text else behaviour.tokens)
    return visible + max(behaviour.reasoning, behaviour.reasoning_tokens) + 10 * len(behaviour.tool_calls)


def _data(value: Any) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def openai(behaviour: Behaviour, model: str, answer_id: str, include_usage: bool) -> Iterator[Event]:
    """A chat-completions stream."""
    head = {"id": answer_id, "object": "chat.completion.chunk", "created": 1732300000, "model": model}
    opening = f'data: {json.dumps(head)[:-1]}, "choices":'.encode()

    def delta(text: str, key: str = "content") -> bytes:
        return opening + f'[{{"index":0,"delta":{{"{key}":{json.dumps(text)}}},"finish_reason":null}}]}}\n\n'.encode()

    def choice(value: dict[str, Any], finish: str | None = None) -> bytes:
        return opening + json.dumps([{"index": 0, "delta": value, "finish_reason": finish}]).encode() + b"}\n\n"

    yield Event(choice({"role": "assistant", "content": ""}))
    for text in thoughts(behaviour):
        yield Event(delta(text, behaviour.reasoning_key))
    for text in words(behaviour):
        yield Event(delta(text), COUNTED)
    if behaviour.cites:
        cited = {"type": "url_citation", "url_citation": {"url": behaviour.cites, "title": "Found"}}
        yield Event(choice({"annotations": [cited]}))
    for index, call_id, name, pieces in calls(behaviour):
        index = 0 if behaviour.same_index else index
        first = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        yield Event(choice({"tool_calls": [first]}))
        for piece in pieces:
            yield Event(choice({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
    yield Event(choice({}, behaviour.finish_reason or ("tool_calls" if behaviour.tool_calls else "stop")))
    if behaviour.cut_after_finish:
        yield Event(b"", CUT)
    if include_usage:
        prompt = behaviour.input_tokens + behaviour.cached_tokens
        output = output_tokens(behaviour)
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": behaviour.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": max(behaviour.reasoning, behaviour.reasoning_tokens)},
        }
        yield Event(opening + b"[]," + b'"usage":' + json.dumps(usage).encode() + b"}\n\n")
    yield Event(b"data: [DONE]\n\n")


PAGE = {"url": "https://example.com/found", "title": "Found"}


def _searched(behaviour: Behaviour, answer_id: str) -> Iterator[tuple[dict[str, Any], Sequence[str]]]:
    """The blocks of a web search, with the pieces that its input comes in."""
    if not behaviour.search:
        return
    search_id = f"srvtoolu_{answer_id.replace('-', '_')}"
    query = ('{"query":', json.dumps(behaviour.search) + "}")
    yield {"type": "server_tool_use", "id": search_id, "name": "web_search", "input": {}}, query
    found: Any = [{"type": "web_search_result", **PAGE, "encrypted_content": "EqgfCioIARgB", "page_age": "1 day"}]
    if behaviour.search_fails:
        found = {"type": "web_search_tool_result_error", "error_code": behaviour.search_fails}
    yield {"type": "web_search_tool_result", "tool_use_id": search_id, "content": found}, ()


def _cited(behaviour: Behaviour) -> list[dict[str, Any]]:
    if not behaviour.search or behaviour.search_fails:
        return []
    cited = {"type": "web_search_result_location", **PAGE, "encrypted_index": "Eo8B", "cited_text": "found"}
    return [{"type": "citations_delta", "citation": cited}]


def _input(pieces: Sequence[str]) -> list[dict[str, Any]]:
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


def anthropic(behaviour: Behaviour, model: str, answer_id: str) -> Iterator[Event]:
    """A messages stream."""

    def event(kind: str, **values: Any) -> bytes:
        return f"event: {kind}\n".encode() + _data({"type": kind, **values})

    usage = {
        "input_tokens": behaviour.input_tokens,
        "cache_creation_input_tokens": behaviour.cache_creation_tokens,
        "cache_read_input_tokens": behaviour.cached_tokens,
        "output_tokens": 1,
    }
    message = {"id": answer_id, "type": "message", "role": "assistant", "model": model, "content": [], "usage": usage}
    yield Event(event("message_start", message={**message, "stop_reason": None, "stop_sequence": None}))
    yield Event(event("ping"))
    block = 0

    def whole(content: dict[str, Any], deltas: Iterable[dict[str, Any]], kind: str = PLAIN) -> Iterator[Event]:
        nonlocal block
        yield Event(event("content_block_start", index=block, content_block=content))
        for value in deltas:
            counted = kind if value["type"] == "text_delta" else PLAIN
            yield Event(event("content_block_delta", index=block, delta=value), counted)
        yield Event(event("content_block_stop", index=block))
        block += 1

    if behaviour.redacted:
        yield from whole({"type": "redacted_thinking", "data": behaviour.redacted}, ())
    if behaviour.reasoning:
        thought = [{"type": "thinking_delta", "thinking": text} for text in thoughts(behaviour)]
        signed = {"type": "signature_delta", "signature": f"sig-{answer_id}"}
        yield from whole({"type": "thinking", "thinking": "", "signature": ""}, [*thought, signed])
    for content, pieces in _searched(behaviour, answer_id):
        yield from whole(content, _input(pieces))
    if not behaviour.empty and (behaviour.tokens or behaviour.text):
        said = ({"type": "text_delta", "text": text} for text in words(behaviour))
        yield from whole({"type": "text", "text": ""}, chain(said, _cited(behaviour)), COUNTED)
    for _, call_id, name, pieces in calls(behaviour):
        yield from whole({"type": "tool_use", "id": call_id, "name": name, "input": {}}, _input(pieces))
    reason = behaviour.finish_reason or ("tool_use" if behaviour.tool_calls else "end_turn")
    final = {**usage, "output_tokens": output_tokens(behaviour)}
    yield Event(event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=final))
    yield Event(event("message_stop"))


def error_body(style: str, error_type: str, code: str, message: str) -> bytes:
    """An error body in the provider's own shape."""
    if style == "anthropic":
        return json.dumps({"type": "error", "error": {"type": error_type or "api_error", "message": message}}).encode()
    if style == "google":
        return json.dumps({"error": {"message": message, "status": code or "UNKNOWN"}}).encode()
    if style == "bedrock":
        return json.dumps({"message": message}).encode()
    return json.dumps(
        {"error": {"message": message, "type": error_type or "server_error", "param": None, "code": code or None}}
    ).encode()


def error_event(style: str, behaviour: Behaviour) -> bytes:
    """An error inside a stream that began well."""
    body = error_body(style, behaviour.error_type, behaviour.code, behaviour.message or "Overloaded")
    return (b"event: error\n" if style == "anthropic" else b"") + b"data: " + body + b"\n\n"
