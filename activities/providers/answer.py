"""One answer as it unfolds: pieces joined, calls numbered, a whole answer told from a cut one."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from activities.providers.provider import (
    Chunk,
    Finished,
    ReasoningDelta,
    SourceDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from models.errors import FailureFacts, ProviderFailed

DONE = b"[DONE]"
ENDINGS = frozenset({"stop", "length", "tool_calls", "content_filter"})
BROKEN = frozenset({"error", "network_error"})  # the provider says so itself: what it said is no whole answer
# Imitators end in the words of other dialects. What is not named here is a plain stop, as litellm has it.
ENDS: Mapping[str, str] = {
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    **dict.fromkeys(("max_tokens", "MAX_TOKENS", "compaction"), "length"),
    **dict.fromkeys(
        (
            "refusal",
            "content_filtered",
            "sensitive",
            "guardrail_intervened",
            "ERROR_TOXIC",
            "SAFETY",
            "RECITATION",
            "ESCALATION",
            "LANGUAGE",
            "OTHER",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "NO_IMAGE",
            "IMAGE_RECITATION",
            "IMAGE_OTHER",
        ),
        "content_filter",
    ),
}
_NOTHING, _TEXT, _THOUGHT = -3, -2, -1  # what the pieces are that wait; from 0 on the number of a call


class Answer(ABC):
    """What has been said so far. Each dialect reads its own events into it; `taken` gives what came of them.

    Pieces of one text, one thought or one call's arguments that arrive together are one chunk.
    """

    def __init__(self, provider: str, family: str = "") -> None:
        self.done = False
        self.reason = ""
        self._provider = provider
        self._family = family
        self._said = False
        self._response_id = ""
        self._calls: dict[int, tuple[int, str]] = {}
        self._count = 0
        self._chunks: list[Chunk] = []
        self._kind = _NOTHING
        self._pieces: list[str] = []

    @abstractmethod
    def read(self, event: dict[str, Any]) -> None:
        """Take in one event of the provider's stream; raises Unplaced, or ProviderFailed when it makes no sense."""

    @abstractmethod
    def usage(self) -> Usage | None:
        """What the provider counted, if it said."""

    def hear(self, payloads: Sequence[bytes], decode: Callable[[bytes], dict[str, Any]]) -> bool:
        """Take in what events carry, as far as the answer's last word; True once that was said."""
        for payload in payloads:
            if payload == DONE:
                self.done = True
            else:
                self.read(decode(payload))
            if self.done:
                return True
        return False

    def taken(self) -> Sequence[Chunk]:
        """The chunks since this was last asked."""
        self._flush()
        chunks, self._chunks = self._chunks, []
        return chunks

    def ending(self) -> list[Chunk]:
        """Usage and the end, if the provider did end its answer; otherwise it was cut."""
        if not self.reason:
            if not (self.done and self._said):
                raise self.cut("The stream ended before the answer did.")
            self.reason = "tool_calls" if self._calls else "stop"
        return [self.usage() or Usage(), Finished(self.reason, self._response_id)]

    def cut(self, text: str) -> ProviderFailed:
        """The failure of an answer that is not whole."""
        return ProviderFailed(FailureFacts(self._provider, text=text, signal="stream_cut"))

    def _text(self, text: str) -> None:
        self._piece(_TEXT, text)

    def _thought(self, text: str) -> None:
        self._piece(_THOUGHT, text)

    def _piece(self, kind: int, text: str) -> None:
        if not text:
            return
        if kind != self._kind:
            self._flush()
            self._kind = kind
        self._pieces.append(text)

    def _add(self, chunk: Chunk) -> None:
        self._flush()
        self._chunks.append(chunk)

    def _flush(self) -> None:
        if not self._pieces:
            return
        text = self._pieces[0] if len(self._pieces) == 1 else "".join(self._pieces)
        self._pieces = []
        kind, self._kind = self._kind, _NOTHING
        self._said = True
        if kind == _TEXT:
            self._chunks.append(TextDelta(text))
        elif kind == _THOUGHT:
            self._chunks.append(ReasoningDelta(text))
        else:
            self._chunks.append(ToolCallDelta(kind, arguments=text))

    def _marked(self, *, signature: str = "", redacted: str = "") -> None:
        """What must go back to the provider beside a thought."""
        self._said = True
        self._add(ReasoningDelta(signature=signature, redacted=redacted, family=self._family))

    def _call(self, given: int, call_id: str, name: str, arguments: str, run_by: str = "") -> None:
        """Number calls ourselves: some imitators give every call the index 0, or repeat the id with each piece."""
        known = self._calls.get(given)
        if known is not None and (not call_id or call_id == known[1]):
            self._piece(known[0], arguments)
            return
        index, self._count = self._count, self._count + 1
        call_id = call_id or f"call_{uuid.uuid4().hex}"
        self._calls[given] = (index, call_id)
        self._said = True
        self._add(ToolCallDelta(index, call_id, name, arguments, run_by))

    def _cites(self, cited: Sequence[Any]) -> None:
        for each in cited:
            if isinstance(each, dict) and each.get("url"):
                self._add(SourceDelta(str(each["url"]), str(each.get("title") or "")))

    def _end(self, reason: str) -> None:
        """The provider said why it ends; it may say a little more, such as what it counted."""
        if reason in BROKEN:
            raise self.cut("The provider ended its answer with an error.")
        reason = ENDS.get(reason, reason)
        self.reason = reason if reason in ENDINGS else "stop"
