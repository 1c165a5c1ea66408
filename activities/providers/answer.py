"""One answer as it unfolds: events made into chunks, calls numbered, a whole answer told from a cut one."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from activities.providers.provider import (
    Chunk,
    Finished,
    ProviderResult,
    ReasoningDelta,
    SourceDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from models.errors import FailureFacts, ProviderFailed

Parse = Callable[[dict[str, Any]], Any]
FINISH = {"function_call": "tool_calls", "tool_use": "tool_calls", "max_tokens": "length", "refusal": "content_filter"}
ENDINGS = frozenset({"stop", "length", "tool_calls", "content_filter"})


class Answer:
    """What has been said so far: enough to number tool calls and to know a whole answer from a cut one."""

    def __init__(self, provider: str, family: str = "") -> None:
        self._provider = provider
        self._family = family
        self.done = False
        self.reason = ""
        self._said = False
        self._response_id = ""
        self._usage: Usage | None = None
        self._calls: dict[int, tuple[int, str]] = {}
        self._count = 0
        self._run_by_provider: set[str] = set()

    def read(self, event: dict[str, Any], parse: Parse) -> list[Chunk]:
        """The chunks of one event of the provider's stream."""
        if not self._response_id:
            named = event.get("id") or event.get("responseId") or (event.get("message") or {}).get("id")
            self._response_id = str(named or "")
        if (text := _plain_text(event)) is not None:
            self._said = self._said or bool(text)
            return [TextDelta(text)] if text else []
        kind = event.get("type")
        if kind == "ping":
            return []
        if kind == "message_stop":
            self.done = True
            return []
        if (aside := self._aside(event)) is not None:
            return aside
        try:
            parsed = parse(event)
        except Exception as error:
            text = f"The provider sent an event that makes no sense: {type(error).__name__}"
            raise ProviderFailed(FailureFacts(self._provider, text=text, signal="stream_cut")) from error
        # litellm reads an ending into each of Gemini's events; the event itself knows better.
        candidates = event.get("candidates")
        return self.take(parsed, may_end=not candidates or any(each.get("finishReason") for each in candidates))

    def take(self, parsed: Any, *, may_end: bool = True) -> list[Chunk]:
        """The chunks of one of litellm's parsed events."""
        if (usage := getattr(parsed, "usage", None)) is not None:
            self._usage = _usage(usage)
        choices = getattr(parsed, "choices", None)
        if not choices:
            return []
        choice = choices[0]
        if may_end and choice.finish_reason:
            reason = str(choice.finish_reason)
            reason = FINISH.get(reason, reason)
            self.reason = reason if reason in ENDINGS else "stop"
        delta = choice.delta
        if delta is None:
            return []
        chunks: list[Chunk] = []
        if thought := getattr(delta, "reasoning_content", None):
            chunks.append(ReasoningDelta(thought))
        for block in getattr(delta, "thinking_blocks", None) or ():
            if signature := block.get("signature"):
                chunks.append(ReasoningDelta(signature=signature, family=self._family))
            if redacted := block.get("data"):
                chunks.append(ReasoningDelta(redacted=redacted, family=self._family))
        if text := getattr(delta, "content", None):
            chunks.append(TextDelta(text))
        chunks.extend(self._call(call) for call in getattr(delta, "tool_calls", None) or ())
        self._said = self._said or bool(chunks)
        return chunks

    def ending(self) -> list[Chunk]:
        """Usage and the end, if the provider did end its answer; otherwise it was cut."""
        if not self.reason:
            if not (self.done and self._said):
                text = "The stream ended before the answer did."
                raise ProviderFailed(FailureFacts(self._provider, text=text, signal="stream_cut"))
            self.reason = "tool_calls" if self._calls else "stop"
        return [self._usage or Usage(), Finished(self.reason, self._response_id)]

    def _aside(self, event: dict[str, Any]) -> list[Chunk] | None:
        """What litellm's reading has no place for: tools that the provider runs itself, and what it cites."""
        block = event.get("content_block")
        if isinstance(block, dict):
            kind = str(block.get("type", ""))
            if kind == "server_tool_use":
                self._run_by_provider.add(str(block.get("id", "")))
            if not kind.endswith("_tool_result"):
                return None
            return [ProviderResult(str(block.get("tool_use_id", "")), kind, block.get("content"), self._family)]
        delta = event.get("delta")
        if isinstance(delta, dict) and delta.get("type") == "citations_delta":
            return _sources([delta.get("citation")])
        choices = event.get("choices")
        cited = (choices[0].get("delta") or {}).get("annotations") if choices else None
        return _sources([each.get("url_citation") for each in cited]) if cited else None

    def _call(self, call: Any) -> ToolCallDelta:
        """Number calls ourselves: some imitators give every call the index 0, or repeat the id with each piece."""
        given, call_id = call.index or 0, call.id or ""
        known = self._calls.get(given)
        function = call.function
        if known is not None and (not call_id or call_id == known[1]):
            return ToolCallDelta(known[0], arguments=function.arguments or "")
        index, self._count = self._count, self._count + 1
        call_id = call_id or f"call_{uuid.uuid4().hex}"
        self._calls[given] = (index, call_id)
        run_by = self._family if call_id in self._run_by_provider else ""
        return ToolCallDelta(index, call_id, function.name or "", function.arguments or "", run_by)


def _sources(cited: Sequence[Any]) -> list[Chunk]:
    return [
        SourceDelta(str(each["url"]), str(each.get("title") or ""))
        for each in cited
        if isinstance(each, dict) and each.get("url")
    ]


def _plain_text(event: dict[str, Any]) -> str | None:
    """The text of an event that carries nothing else: most of a stream, and the same in litellm's reading."""
    choices = event.get("choices")
    if choices:
        choice = choices[0]
        delta = choice.get("delta")
        if (
            len(choices) == 1
            and delta
            and len(delta) == 1
            and not choice.get("finish_reason")
            and not event.get("usage")
        ):
            text = delta.get("content")
            return text if isinstance(text, str) else None
    elif event.get("type") == "content_block_delta":
        delta = event.get("delta")
        if isinstance(delta, dict) and delta.get("type") == "text_delta" and "citation" not in delta:
            text = delta.get("text")
            return text if isinstance(text, str) else None
    return None


def _usage(given: Any) -> Usage:
    """litellm's usage with the cached tokens taken out of the input."""
    details, output = given.prompt_tokens_details, given.completion_tokens_details
    read = getattr(details, "cached_tokens", None) or 0
    created = (
        getattr(details, "cache_creation_tokens", None) or getattr(given, "cache_creation_input_tokens", None) or 0
    )
    prompt, completion = given.prompt_tokens or 0, given.completion_tokens or 0
    return Usage(
        input_tokens=max(prompt - read - created, 0),
        output_tokens=completion,
        total_tokens=given.total_tokens or prompt + completion,
        reasoning_tokens=getattr(output, "reasoning_tokens", None) or 0,
        cache_creation_tokens=created,
        cache_read_tokens=read,
    )
