"""An answer that litellm's parsers read: for every provider that we have no reading of our own for."""

from collections.abc import Callable
from typing import Any

from activities.providers.answer import BROKEN, Answer
from activities.providers.provider import ProviderResult, Usage
from models.errors import ProviderFailed

Parse = Callable[[dict[str, Any]], Any]


class ParsedAnswer(Answer):
    """What litellm's reading of the events comes to; `parse` may be set once the request is translated."""

    parse: Parse
    _usage: Usage | None = None

    def __init__(self, provider: str, family: str = "") -> None:
        super().__init__(provider, family)
        self._run_by_provider: set[str] = set()

    def usage(self) -> Usage | None:
        return self._usage

    def read(self, event: dict[str, Any]) -> None:
        if not self._response_id:
            named = event.get("id") or event.get("responseId") or (event.get("message") or {}).get("id")
            self._response_id = str(named or "")
        if (text := _plain_text(event)) is not None:
            self._text(text)
            return
        kind = event.get("type")
        if kind == "ping":
            return
        if kind == "message_stop":
            self.done = True
            return
        if self._aside(event):
            return
        may_end = _may_end(event)
        cited = _annotations(event)
        if (broken := _finish_reason(event)) in BROKEN:
            self._end(broken)
        try:
            parsed = self.parse(event)
        except Exception as error:
            raise self.senseless(type(error).__name__) from error
        self.take(parsed, may_end=may_end)
        self._cites(cited)

    def take(self, parsed: Any, *, may_end: bool = True) -> None:
        """Take in one of litellm's parsed events."""
        if (usage := getattr(parsed, "usage", None)) is not None:
            self._usage = _usage(usage)
        choices = getattr(parsed, "choices", None)
        if not choices:
            return
        choice = choices[0]
        delta = choice.delta
        if delta is not None:
            self._delta(delta)
        if may_end and choice.finish_reason:
            self._end(str(choice.finish_reason))

    def _delta(self, delta: Any) -> None:
        if thought := getattr(delta, "reasoning_content", None):
            self._thought(self._words(thought))
        for block in getattr(delta, "thinking_blocks", None) or ():
            if signature := block.get("signature"):
                self._marked(signature=signature)
            if redacted := block.get("data"):
                self._marked(redacted=redacted)
        if text := getattr(delta, "content", None):
            self._text(self._words(text))
        for call in getattr(delta, "tool_calls", None) or ():
            function, call_id = call.function, call.id or ""
            run_by = self._family if call_id in self._run_by_provider else ""
            self._call(call.index or 0, call_id, function.name or "", function.arguments or "", run_by)

    def _words(self, given: Any) -> str:
        if not isinstance(given, str):
            raise self.senseless(type(given).__name__)
        return given

    def senseless(self, what: str) -> ProviderFailed:
        """The failure of an answer with an event that nothing can be made of."""
        return self.cut(f"The provider sent an event that makes no sense: {what}")

    def _aside(self, event: dict[str, Any]) -> bool:
        """Was it something that litellm's reading has no place for: what the provider ran itself, or cites?"""
        block = event.get("content_block")
        if isinstance(block, dict):
            kind = str(block.get("type", ""))
            if kind == "server_tool_use":
                self._run_by_provider.add(str(block.get("id", "")))
            if not kind.endswith("_tool_result"):
                return False
            self._said = True
            self._add(ProviderResult(str(block.get("tool_use_id", "")), kind, block.get("content"), self._family))
            return True
        delta = event.get("delta")
        if isinstance(delta, dict) and delta.get("type") == "citations_delta":
            self._cites([delta.get("citation")])
            return True
        return False


def _finish_reason(event: dict[str, Any]) -> str:
    if choices := event.get("choices"):
        return str(choices[0].get("finish_reason") or "")
    delta = event.get("delta")
    return str(delta.get("stop_reason") or "") if isinstance(delta, dict) else ""


def _annotations(event: dict[str, Any]) -> list[Any]:
    choices = event.get("choices")
    cited = (choices[0].get("delta") or {}).get("annotations") if choices else None
    return [each.get("url_citation") for each in cited or () if isinstance(each, dict)]


def _may_end(event: dict[str, Any]) -> bool:
    """litellm reads an ending into events that have none, and a good one into a bad one; the event knows better."""
    if candidates := event.get("candidates"):
        return any(each.get("finishReason") for each in candidates)
    if event.get("type") == "message_delta":
        return bool((event.get("delta") or {}).get("stop_reason"))
    return True


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
