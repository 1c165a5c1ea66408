"""Streams as providers and their imitators document or send them, and what each reading makes of a stream."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import orjson

from activities.providers.fast import FastPath
from activities.providers.http import Connections, Exchange
from activities.providers.litellm import _count_tokens, _parser, warm_up
from activities.providers.parsed import ParsedAnswer
from activities.providers.provider import Chunk, ModelRequest, ReasoningDelta, TextDelta, ToolCallDelta
from activities.providers.shapes import Unplaced
from activities.providers.sse import Splitter
from models.errors import ProviderFailed

Event = dict[str, Any]
UNPLACED = "unplaced"
MODELS = {"anthropic": "claude-sonnet-4-5"}
PATHS = {fast: FastPath(fast) for fast in (True, False)}


def chunk(delta: Mapping[str, Any] | None = None, finish: str | None = None, **more: Any) -> Event:
    """One event of a chat completion."""
    head = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}


def counted(**usage: Any) -> Event:
    return {
        **chunk(),
        "choices": [],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, **usage},
    }


def call(index: int | None = 0, call_id: str | None = None, name: str | None = None, arguments: str = "") -> Event:
    """A piece of a tool call; what is None is left out."""
    function = {"name": name, "arguments": arguments} if name is not None else {"arguments": arguments}
    given = {"index": index, "id": call_id, "type": "function", "function": function}
    return {key: value for key, value in given.items() if value is not None}


def opened(index: int, **block: Any) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": block}


def grown(index: int, kind: str, **delta: Any) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}


def closed(index: int) -> Event:
    return {"type": "content_block_stop", "index": index}


def begun(**usage: Any) -> Event:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    return {"type": "message_start", "message": {**message, "usage": {"input_tokens": 25, "output_tokens": 1, **usage}}}


def ended(reason: str | None = "end_turn", **usage: Any) -> list[Event]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 15, **usage}},
        {"type": "message_stop"},
    ]


PAGE = {"type": "web_search_result", "url": "https://a.example", "title": "A", "encrypted_content": "Eq"}
STREAMS: Mapping[str, tuple[str, Sequence[Event]]] = {
    "openai text": (
        "openai",
        [
            chunk({"role": "assistant", "content": "", "refusal": None}),
            chunk({"content": "Grüße"}),
            chunk({"content": " 🐢"}, logprobs=None),
            chunk(None, "stop"),
            counted(),
        ],
    ),
    "openai calls": (
        "openai",
        [
            chunk({"role": "assistant", "content": None, "tool_calls": [call(0, "call_a", "f")]}),
            chunk({"tool_calls": [call(0, arguments='{"x":')]}),
            chunk({"tool_calls": [call(1, "call_b", "g")]}),
            chunk({"tool_calls": [call(0, arguments="1}"), call(1, arguments="{}")]}),
            chunk(None, "tool_calls"),
            counted(prompt_tokens_details={"cached_tokens": 4}, completion_tokens_details={"reasoning_tokens": 3}),
        ],
    ),
    "openai cites": (
        "openai",
        [
            chunk({"content": "see"}),
            chunk(
                {
                    "content": " there",
                    "annotations": [
                        {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
                    ],
                }
            ),
            chunk(None, "stop"),
        ],
    ),
    "azure filters first": (
        "azure",
        [
            {**chunk(), "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
            chunk({"content": "ok"}, content_filter_results={}),
            chunk(None, "content_filter"),
        ],
    ),
    "vllm counts always": (
        "openai-compat",
        [
            chunk(
                {"reasoning_content": "hm", "content": None},
                usage={"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
            ),
            chunk({"content": "so"}, usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}),
            chunk({"content": ""}, "length", usage={"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}),
        ],
    ),
    "deepseek": (
        "openai-compat",
        [
            chunk({"reasoning_content": "a"}),
            chunk({"reasoning_content": "b"}),
            chunk({"content": "c", "reasoning_content": None}),
            chunk(
                {"content": ""},
                "stop",
                usage={
                    "prompt_tokens": 9,
                    "completion_tokens": 4,
                    "total_tokens": 13,
                    "prompt_cache_hit_tokens": 5,
                    "prompt_cache_miss_tokens": 4,
                },
            ),
        ],
    ),
    "every call is number 0": (
        "openai-compat",
        [
            chunk({"tool_calls": [call(0, "a", "f", "{}")]}),
            chunk({"tool_calls": [call(0, "b", "g", "{}")]}),
            chunk(None, "stop"),
        ],
    ),
    "the id comes with each piece": (
        "openai-compat",
        [
            chunk({"tool_calls": [call(0, "a", "f", "{")]}),
            chunk({"tool_calls": [call(0, "a", "f", "}")]}),
            chunk(None, "tool_calls"),
        ],
    ),
    "calls without number and id": (
        "vercel",
        [chunk({"tool_calls": [call(None, None, "f", "{}"), call(None, None, "g", "[]")]}), chunk(None, "stop")],
    ),
    "openrouter": (
        "openrouter",
        [
            chunk(
                {
                    "role": "assistant",
                    "content": "",
                    "reasoning": "r",
                    "reasoning_details": [{"type": "reasoning.text", "text": "r"}],
                }
            ),
            chunk({"content": "x", "reasoning": None}),
            chunk({"content": ""}, "stop"),
            counted(cost=0.1, prompt_tokens_details={"cached_tokens": 2, "cache_write_tokens": 3}),
        ],
    ),
    "a proxy of Anthropic's": (
        "openai-compat",
        [
            chunk({"reasoning_content": "r", "thinking_blocks": [{"type": "thinking", "thinking": "r"}]}),
            chunk({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "s"}]}),
            chunk({"content": "x"}),
            chunk(None, "stop"),
            counted(cache_read_input_tokens=3, cache_creation_input_tokens=2),
        ],
    ),
    "anthropic text": (
        "anthropic",
        [
            begun(),
            opened(0, type="text", text=""),
            {"type": "ping"},
            grown(0, "text_delta", text="Hel"),
            grown(0, "text_delta", text="lo"),
            closed(0),
            *ended(),
        ],
    ),
    "anthropic calls": (
        "anthropic",
        [
            begun(cache_read_input_tokens=7, cache_creation_input_tokens=3),
            opened(0, type="tool_use", id="t1", name="f", input={}),
            grown(0, "input_json_delta", partial_json=""),
            grown(0, "input_json_delta", partial_json='{"a":1}'),
            closed(0),
            opened(1, type="tool_use", id="t2", name="g", input={}),
            grown(1, "input_json_delta", partial_json=""),
            closed(1),
            *ended("tool_use"),
        ],
    ),
    "anthropic thinks": (
        "anthropic",
        [
            begun(),
            opened(0, type="thinking", thinking="", signature=""),
            grown(0, "thinking_delta", thinking="let me see"),
            grown(0, "signature_delta", signature="EqQ"),
            closed(0),
            opened(1, type="redacted_thinking", data="b64"),
            closed(1),
            opened(2, type="text", text=""),
            grown(2, "text_delta", text="so"),
            closed(2),
            *ended(output_tokens_details={"thinking_tokens": 4}),
        ],
    ),
    "anthropic searches": (
        "anthropic",
        [
            begun(),
            opened(0, type="server_tool_use", id="s1", name="web_search", input={}),
            grown(0, "input_json_delta", partial_json='{"query":"q"}'),
            closed(0),
            opened(1, type="web_search_tool_result", tool_use_id="s1", content=[PAGE]),
            closed(1),
            opened(2, type="text", text=""),
            grown(
                2,
                "citations_delta",
                citation={
                    "type": "web_search_result_location",
                    "url": "https://a.example",
                    "title": "A",
                    "cited_text": "x",
                    "encrypted_index": "E",
                },
            ),
            grown(2, "text_delta", text="found"),
            closed(2),
            *ended(server_tool_use={"web_search_requests": 1}),
        ],
    ),
    "anthropic has news": (
        "anthropic",
        [
            begun(),
            {"type": "weather", "content": "rain"},
            opened(0, type="text", text="o"),
            grown(0, "text_delta", text="k"),
            closed(0),
            *ended("pause_turn"),
        ],
    ),
    "anthropic in two iterations": (
        "anthropic",
        [
            begun(),
            opened(0, type="text", text=""),
            grown(0, "text_delta", text="ok"),
            closed(0),
            *ended(
                "max_tokens",
                iterations=[
                    {"type": "message", "input_tokens": 5, "output_tokens": 2},
                    {"type": "message", "input_tokens": 6, "output_tokens": 3, "cache_read_input_tokens": 4},
                ],
            ),
        ],
    ),
}


def as_bytes(events: Iterable[Event], *, done: bool = True) -> bytes:
    """The events on the wire, in the plainest way."""
    body = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
    return body + b"data: [DONE]\n\n" if done else body


def reading(kind: str, pieces: Iterable[bytes], *, fast: bool) -> list[Chunk] | str:
    """What one reading makes of a stream that arrives in these pieces: chunks, joined, or the sort of its failure."""
    request, exchange = ModelRequest(kind, MODELS.get(kind, "m"), []), _exchange(kind)
    answer = PATHS[fast].reader(request, kind, _count_tokens) or ParsedAnswer(kind, kind)
    if isinstance(answer, ParsedAnswer):
        answer.parse = _parser(request)
    splitter = Splitter()
    try:
        if not any(answer.hear(splitter.split(piece), exchange.decode) for piece in pieces):
            answer.hear(splitter.split(b"", last=True), exchange.decode)
    except ProviderFailed as failed:
        if not answer.reason:
            return failed.facts.signal or failed.facts.code
    except (Unplaced, AttributeError, LookupError, TypeError):
        if not answer.reason:
            return UNPLACED
    try:
        return joined([*answer.taken(), *answer.ending()])
    except ProviderFailed as failed:
        return failed.facts.signal


@cache
def _exchange(kind: str) -> Exchange:
    """One that is never sent: what is asked of it here is to tell an event from an error."""

    async def made() -> Exchange:
        return Exchange(Connections(), kind, first_byte_timeout=1, silence_timeout=1)

    warm_up(kind)
    return asyncio.run(made())


def joined(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The same answer, whatever pieces it came in: ids of our own left out, no arguments an empty object."""
    said: list[Chunk] = []
    places: dict[int, int] = {}
    for each in chunks:
        last = said[-1] if said else None
        if isinstance(each, TextDelta) and isinstance(last, TextDelta):
            said[-1] = TextDelta(last.text + each.text)
        elif isinstance(each, ReasoningDelta) and isinstance(last, ReasoningDelta) and last.text and each.text:
            said[-1] = ReasoningDelta(last.text + each.text)
        elif isinstance(each, ToolCallDelta) and each.index in places:
            known = said[places[each.index]]
            assert isinstance(known, ToolCallDelta)
            said[places[each.index]] = ToolCallDelta(
                known.index, known.id, known.name, known.arguments + each.arguments, known.run_by
            )
        else:
            if isinstance(each, ToolCallDelta):
                places[each.index] = len(said)
                made_up = each.id.startswith("call_") and len(each.id) == 37
                each = ToolCallDelta(each.index, "" if made_up else each.id, each.name, each.arguments, each.run_by)
            said.append(each)
    return [
        ToolCallDelta(each.index, each.id, each.name, each.arguments or "{}", each.run_by)
        if isinstance(each, ToolCallDelta)
        else each
        for each in said
    ]
