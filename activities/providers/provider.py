"""What the worker asks of a model provider, and what it gets back: one method, a few words."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from activities.providers.tape import Tape


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Thinking text; `signature` (Anthropic) and `redacted` data arrive on their own and must be replayed unchanged.

    `family`, with those two, is whose they are: another family's models refuse them.
    """

    text: str = ""
    signature: str = ""
    redacted: str = ""
    family: str = ""


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of tool call number `index` of this step; `id` and `name` come with its first piece.

    `run_by` names the family of the provider that runs the call itself: nobody else may answer it.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    run_by: str = ""


@dataclass(frozen=True, slots=True)
class ProviderResult:
    """What a call that the provider ran itself came to: `content` as it must be replayed, of the provider's `kind`."""

    id: str
    kind: str
    content: Any
    run_by: str


@dataclass(frozen=True, slots=True)
class SourceDelta:
    """A web page that the answer cites."""

    url: str
    title: str = ""


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


Chunk = TextDelta | ReasoningDelta | ToolCallDelta | ProviderResult | SourceDelta | Usage | Finished


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call: `messages` and `tools` in OpenAI chat-completions form, `provider` a wire type.

    `tool_choice` "none": the tools are only named for what was said before; it is a wish that not every provider knows.
    `max_tokens`: what this call may write at most, below what the call config allows; 0 is as much.
    `provider_tools`: the provider may run tools of its own, such as a web search, if the call config has them.
    `at_desktop`: its tool `computer` is ours, and stands for the provider's own, where it has one.
    `cautious`: an earlier attempt came to nothing, perhaps because of how it was read: let litellm read this one.
    """

    provider: str
    model: str
    messages: Sequence[Mapping[str, Any]]
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    provider_settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str = ""
    max_tokens: int = 0
    provider_tools: bool = False
    at_desktop: bool = False
    cautious: bool = False
    call_config: Mapping[str, Any] = field(default_factory=dict)
    first_byte_timeout: float = 300.0
    silence_timeout: float = 600.0
    tape: Tape | None = field(default=None, repr=False, compare=False)


class Provider(Protocol):
    """A source of model answers."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[Chunk, None]:
        """Yield the answer's chunks, `Usage` and `Finished` last; raise `ProviderFailed`, never a library's error.

        Closing the generator closes the connection to the provider at once.
        """
        ...
