"""OpenAI's chat-completion events, and its imitators', read without litellm: a few dictionary look-ups a token."""

from typing import Any

from activities.providers import shapes
from activities.providers.answer import Answer
from activities.providers.provider import Usage
from activities.providers.shapes import Unplaced, count

PLAIN = frozenset({"content", "role"})


class OpenAIAnswer(Answer):
    """Reads chat-completion chunks."""

    _usage: Usage | None = None

    def usage(self) -> Usage | None:
        return self._usage

    def read(self, event: dict[str, Any]) -> None:
        if not self._response_id:
            self._response_id = str(event.get("id") or "")
        if (counted := event.get("usage")) is not None:
            self._usage = _usage(shapes.mapping(counted, "usage"))
        choices = event.get("choices")
        if not choices:
            return
        if len(shapes.sequence(choices, "choices")) > 1:
            raise Unplaced("more than one choice")
        choice = shapes.mapping(choices[0], "choice")
        if delta := choice.get("delta"):
            self._delta(shapes.mapping(delta, "delta"))
        if reason := choice.get("finish_reason"):
            self._end(shapes.text(reason, "finish_reason"))

    def _delta(self, delta: dict[str, Any]) -> None:
        if not delta.keys() <= PLAIN:
            self._thoughts(delta)
        if content := delta.get("content"):
            self._text(shapes.text(content, "content"))
        if calls := delta.get("tool_calls"):
            self._calls_of(calls)
        if cited := delta.get("annotations"):
            given = shapes.sequence(cited, "annotations")
            self._cites([shapes.mapping(each, "annotation").get("url_citation") for each in given])

    def _thoughts(self, delta: dict[str, Any]) -> None:
        if delta.get("function_call"):
            raise Unplaced("a function_call")
        self._thought(shapes.text(delta.get("reasoning") or delta.get("reasoning_content"), "reasoning"))
        for block in shapes.sequence(delta.get("thinking_blocks") or [], "thinking_blocks"):
            if signature := shapes.mapping(block, "thinking block").get("signature"):
                self._marked(signature=shapes.text(signature, "signature"))
            if redacted := block.get("data"):
                self._marked(redacted=shapes.text(redacted, "redacted thought"))

    def _calls_of(self, calls: Any) -> None:
        unnumbered = 0
        for call in shapes.sequence(calls, "tool_calls"):
            index = shapes.mapping(call, "tool call").get("index")
            if index is None:
                index, unnumbered = unnumbered, unnumbered + 1
            function = shapes.mapping(call.get("function"), "function")
            self._call(
                count(index, "index"),
                shapes.text(call.get("id"), "id"),
                shapes.text(function.get("name"), "name"),
                shapes.text(function.get("arguments"), "arguments"),
            )


def _usage(given: dict[str, Any]) -> Usage:
    """OpenAI counts cached tokens as input; its imitators tell of them in places of their own."""
    details = shapes.mapping(given.get("prompt_tokens_details") or {}, "prompt_tokens_details")
    output = shapes.mapping(given.get("completion_tokens_details") or {}, "completion_tokens_details")
    read = count(details.get("cached_tokens"))
    for name in ("prompt_cache_hit_tokens", "cache_read_input_tokens"):
        if given.get(name) is not None:
            read = count(given[name])
    created = count(given.get("cache_creation_input_tokens"))
    if not created:
        names = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
        created = count(next((details[name] for name in names if details.get(name) is not None), None))
    thought = output.get("reasoning_tokens")
    prompt, completion = count(given.get("prompt_tokens")), count(given.get("completion_tokens"))
    return Usage(
        input_tokens=max(prompt - read - created, 0),
        output_tokens=completion,
        total_tokens=count(given.get("total_tokens")) or prompt + completion,
        reasoning_tokens=count(given.get("reasoning_tokens") if thought is None else thought),
        cache_creation_tokens=created,
        cache_read_tokens=read,
    )
