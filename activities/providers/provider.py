"""What the worker asks of a model provider, and what it gets back: one method, a few words."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Thinking text; `signature` (Anthropic) and `redacted` data arrive on their own and must be replayed unchanged."""

    text: str = ""
    signature: str = ""
    redacted: str = ""


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of tool call number `index` of this step; `id` and `name` come with its first piece."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the step. `input_tokens` excludes cached ones; `output_tokens` includes reasoning."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    reasoning_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The provider ended its answer itself: `reason` is stop, length, tool_calls or content_filter."""

    reason: str
    response_id: str = ""


Chunk = TextDelta | ReasoningDelta | ToolCallDelta | Usage | Finished


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call: `messages` and `tools` in OpenAI chat-completions form, `provider` a wire type."""

    provider: str
    model: str
    messages: Sequence[Mapping[str, Any]]
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    provider_settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tools: Sequence[Mapping[str, Any]] = ()
    call_config: Mapping[str, Any] = field(default_factory=dict)
    first_byte_timeout: float = 300.0
    silence_timeout: float = 600.0


class Provider(Protocol):
    """A source of model answers."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[Chunk, None]:
        """Yield the answer's chunks, `Usage` and `Finished` last; raise `ProviderFailed`, never a library's error.

        Closing the generator closes the connection to the provider at once.
        """
        ...
