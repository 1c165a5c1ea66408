"""Anthropic's messages events read without litellm: blocks that open, grow and close, each with a number."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from activities.providers import shapes
from activities.providers.answer import Answer
from activities.providers.provider import ProviderResult, Usage
from activities.providers.shapes import Unplaced, count

CALLS = ("tool_use", "server_tool_use")
CountTokens = Callable[[str], int]


@dataclass(slots=True)
class _Block:
    """What is known of an open block: a call has its number, and its input if that came whole at its start."""

    kind: str
    call: int = 0
    given: dict[str, Any] | None = None
    grown: bool = False


class AnthropicAnswer(Answer):
    """Reads messages events; `count_tokens` is asked about thoughts that the provider did not count itself."""

    def __init__(self, provider: str, family: str, count_tokens: CountTokens) -> None:
        super().__init__(provider, family)
        self._count_tokens = count_tokens
        self._blocks: dict[Any, _Block] = {}
        self._opened = 0
        self._counted: dict[str, Any] = {}
        self._thoughts: list[str] = []

    def read(self, event: dict[str, Any]) -> None:
        match event.get("type"):
            case "content_block_delta":
                self._grow(event.get("index"), shapes.mapping(event.get("delta"), "delta"))
            case "content_block_start":
                self._open(event.get("index"), shapes.mapping(event.get("content_block"), "content_block"))
            case "content_block_stop":
                self._close(event.get("index"))
            case "message_start":
                message = shapes.mapping(event.get("message"), "message")
                self._response_id = self._response_id or str(message.get("id") or "")
                self._counts(message)
            case "message_delta":
                self._counts(event)
                if reason := shapes.mapping(event.get("delta") or {}, "delta").get("stop_reason"):
                    self._end(shapes.text(reason, "stop_reason"))
            case "message_stop":
                self.done = True
            case str() if "choices" not in event:
                pass  # more kinds of events may come, and are to be passed over: so the provider documents it
            case _:
                raise Unplaced("an event of no type")

    def usage(self) -> Usage | None:
        if not self._counted:
            return None
        given = self._counted
        tokens = {name: self._tokens(name) for name in ("input_tokens", "output_tokens")}
        read, created = self._tokens("cache_read_input_tokens"), self._tokens("cache_creation_input_tokens")
        output = tokens["output_tokens"]
        thought = self._thinking_tokens(given)
        if thought is None and self._thoughts:
            thought = self._count_tokens("".join(self._thoughts))
        return Usage(
            input_tokens=tokens["input_tokens"],
            output_tokens=output,
            total_tokens=tokens["input_tokens"] + read + created + output,
            reasoning_tokens=min(max(thought or 0, 0), output),
            cache_creation_tokens=created,
            cache_read_tokens=read,
        )

    def _open(self, index: Any, block: dict[str, Any]) -> None:
        kind = str(block.get("type", ""))
        made = self._blocks[index] = _Block(kind)
        match kind:
            case "text":
                self._text(shapes.text(block.get("text"), kind))
            case "thinking":
                self._think(shapes.text(block.get("thinking"), kind))
                if signature := block.get("signature"):
                    self._marked(signature=shapes.text(signature, "signature"))
            case "redacted_thinking":
                self._marked(redacted=shapes.text(block.get("data"), kind))
            case "tool_use" | "server_tool_use":
                made.call, self._opened = self._opened, self._opened + 1
                made.given = shapes.mapping(block.get("input") or {}, "input")
                run_by = self._family if kind == "server_tool_use" else ""
                name = shapes.text(block.get("name"), "name")
                self._call(made.call, shapes.text(block.get("id"), "id"), name, "", run_by)
            case _ if kind.endswith("_tool_result"):
                self._said = True
                self._add(ProviderResult(str(block.get("tool_use_id", "")), kind, block.get("content"), self._family))
            case _:
                raise Unplaced(f"a content block of the kind {kind[:40]!r}")

    def _grow(self, index: Any, delta: dict[str, Any]) -> None:
        match delta.get("type"):
            case "text_delta":
                self._text(shapes.text(delta.get("text"), "text"))
            case "input_json_delta":
                self._argue(index, shapes.text(delta.get("partial_json"), "partial_json"))
            case "thinking_delta":
                self._think(shapes.text(delta.get("thinking"), "thinking"))
            case "signature_delta":
                if signature := shapes.text(delta.get("signature"), "signature"):
                    self._marked(signature=signature)
            case "citations_delta":
                self._cites([delta.get("citation")])
            case kind:
                raise Unplaced(f"a delta of the kind {str(kind)[:40]!r}")

    def _argue(self, index: Any, piece: str) -> None:
        block = self._blocks.get(index)
        if block is None:
            raise Unplaced("arguments of a block that was not opened")
        if block.kind in CALLS:
            block.grown = block.grown or bool(piece)
            self._call(block.call, "", "", piece)
        elif not block.kind.endswith("_tool_result"):
            raise Unplaced(f"arguments of a block of the kind {block.kind[:40]!r}")

    def _close(self, index: Any) -> None:
        block = self._blocks.pop(index, None)
        if block is not None and block.kind in CALLS and not block.grown:
            self._call(block.call, "", "", orjson.dumps(block.given or {}).decode())

    def _think(self, text: str) -> None:
        if text:
            self._thoughts.append(text)
            self._thought(text)

    def _counts(self, holder: dict[str, Any]) -> None:
        """Counts are cumulative; the later ones may leave out what was said before."""
        if (counted := holder.get("usage")) is not None:
            self._counted = {**self._counted, **shapes.mapping(counted, "usage")}
            for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
                self._tokens(name)

    def _tokens(self, name: str) -> int:
        """A count; of an answer in several iterations, the sum of theirs."""
        if iterations := self._counted.get("iterations"):
            return sum(count(shapes.mapping(each, "iteration").get(name)) for each in iterations)
        return count(self._counted.get(name))

    def _thinking_tokens(self, given: dict[str, Any]) -> int | None:
        told = [
            details.get("thinking_tokens") if isinstance(details := each.get("output_tokens_details"), dict) else None
            for each in given.get("iterations") or [given]
        ]
        known = [each for each in told if isinstance(each, int)]
        if len(known) == len(told):
            return sum(known)
        details = given.get("output_tokens_details")
        alone = details.get("thinking_tokens") if isinstance(details, dict) else None
        return alone if isinstance(alone, int) else None
