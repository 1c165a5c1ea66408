"""How the fake provider answers one request: set by a script, or by `@fake {json}` in the last user message."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

DIRECTIVE = "@fake"
SCREEN = "[The screen after these actions:]"
RESULT = re.compile(r"<<(\w+)\.(\w+)>>")  # in what is answered: `<<call_1.chat_id>>`, of what came of that call


@dataclass(frozen=True)
class Behaviour:
    """One answer. Counts are tokens of visible text unless they say otherwise; times are milliseconds."""

    tokens: int = 8
    raw: str = ""  # the whole body of the stream, verbatim
    text: str = ""  # sent in one piece instead of counted tokens
    interval_ms: float = 0.0
    stamp: bool = False  # each token is the time it was sent at, as `1732300000.123456 `
    reasoning: int = 0  # reasoning tokens before the text
    reasoning_key: str = "reasoning_content"  # OpenRouter and newer vLLM say `reasoning`
    tool_calls: Sequence[Mapping[str, Any]] = ()  # {"name", "arguments" (object or text), "id"?}
    status: int = 200
    times: int = 0  # fail only so many requests with this directive; 0 is always
    error_type: str = ""
    code: str = ""
    message: str = ""
    body: str = ""  # raw error body, verbatim
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: str = ""
    cut_after: int = -1  # hang up after so many tokens, without a finish reason
    malformed_after: int = -1  # a line that is not JSON, then the end
    error_after: int = -1  # an error event inside the stream, then the end
    silence_after: int = -1  # say nothing more, keep the connection
    slow_first_byte_ms: float = 0.0
    slow_first_token_ms: float = 0.0  # headers at once, the first event late
    ping_every_ms: float = 0.0  # keep-alive comments while silent
    huge_chunk: int = 0  # characters of the first token
    packed: bool = False  # all events in one write
    split: int = 0  # bytes per write, to cut events in the middle
    cut_after_finish: bool = False  # hang up between the finish reason and the terminal event
    same_index: bool = False  # every tool call is number 0, as some imitators have it
    redacted: str = ""  # Anthropic: a redacted thought
    search: str = ""  # Anthropic: a web search that it runs itself before the text, which cites what was found
    search_fails: str = ""  # its error code
    cites: str = ""  # OpenAI: an address that the answer cites
    empty: bool = False  # an ending without content
    empty_body: bool = False  # 200 and not one byte
    finish_reason: str = ""
    input_tokens: int = 20
    cached_tokens: int = 0
    cache_creation_tokens: int = 0
    reasoning_tokens: int = 0
    then: Mapping[str, Any] = field(default_factory=dict)  # the answer once tool results are in

    @property
    def fails(self) -> bool:
        return self.status != 200 or any(
            count >= 0 for count in (self.cut_after, self.malformed_after, self.error_after, self.silence_after)
        )

    def after_failures(self) -> "Behaviour":
        """The same answer, whole."""
        return replace(
            self, status=200, cut_after=-1, malformed_after=-1, error_after=-1, silence_after=-1, empty_body=False
        )


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or () if isinstance(part, Mapping))


def _is_tool_result(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    if message.get("role") == "tool":
        return True
    parts = [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []
    # What a tool's picture is in chat completions: a user's message after the results.
    return any(part.get("type") == "tool_result" or part.get("text") == SCREEN for part in parts)


def read(values: Mapping[str, Any]) -> Behaviour:
    """A behaviour from JSON; unknown keys are an error, so that a misspelt test fails."""
    known = {each.name for each in fields(Behaviour)}
    if unknown := set(values) - known:
        raise ValueError(f"unknown keys in {DIRECTIVE}: {sorted(unknown)}")
    return Behaviour(**values)


def directed(messages: Sequence[Mapping[str, Any]]) -> tuple[Behaviour | None, str]:
    """What the last user message asks for, and the directive's own text; None when it asks nothing."""
    asked = next((m for m in reversed(messages) if m.get("role") == "user" and not _is_tool_result(m)), None)
    text = _text_of(asked.get("content")) if asked else ""
    _, found, tail = text.rpartition(DIRECTIVE)
    if not found:
        return None, ""
    start = tail.lstrip()
    values, end = json.JSONDecoder().raw_decode(start)
    if not _is_tool_result(messages[-1]):
        return read(values), start[:end]
    # After each step's results the next `then` inside; the innermost one for all that come.
    later = values.get("then", {})
    for _ in range(_steps_since(messages, asked) - 1):
        later = later.get("then", later)
    return read(later), start[:end] + "#then"


def _steps_since(messages: Sequence[Mapping[str, Any]], asked: Mapping[str, Any] | None) -> int:
    """How many answers there are after this message."""
    place = next(place for place, message in enumerate(messages) if message is asked)
    return sum(message.get("role") == "assistant" for message in messages[place:])


def nested(**behaviour: Any) -> str:
    """A directive inside the arguments of another: who reads the outer one takes it for text."""
    return f"{DIRECTIVE} {json.dumps(behaviour)}"


def hidden(directive: str) -> str:
    """A message whose one readable directive is its first: those nested in it are spelt as only JSON reads them."""
    before, found, inner = directive.partition(DIRECTIVE)
    return before + found + inner.replace(DIRECTIVE, "\\u0040" + DIRECTIVE[1:])


def filled(behaviour: Behaviour, messages: Sequence[Mapping[str, Any]]) -> Behaviour:
    """The same with what came of earlier calls where it asks for that; a result that is not there stays a question."""
    told: dict[str, Any] = {}
    for message in messages:
        if message.get("role") == "tool":
            try:
                told[message["tool_call_id"]] = json.loads(_text_of(message["content"]))
            except ValueError:
                continue

    def value(found: re.Match[str]) -> str:
        outcome = told.get(found[1])
        return str(outcome.get(found[2], found[0])) if isinstance(outcome, dict) else found[0]

    def fill(given: Any) -> Any:
        if isinstance(given, str):
            return RESULT.sub(value, given)
        if isinstance(given, Mapping):
            return {key: fill(each) for key, each in given.items()}
        return [fill(each) for each in given] if isinstance(given, list) else given

    if not told:
        return behaviour
    return replace(behaviour, text=fill(behaviour.text), tool_calls=[fill(call) for call in behaviour.tool_calls])
