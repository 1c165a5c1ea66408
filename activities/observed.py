"""A model call as it is seen from outside: its span in the turn's trace, its first token, its tokens."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from time import monotonic

from activities.meters import Meters
from activities.providers.provider import Chunk, Finished, ModelRequest, TextDelta, Usage
from activities.tracing import Mark, Tracing, Turn
from models.errors import ProviderFailed

# The conventions' names, where they differ from our provider types.
_PROVIDERS = {"azure": "azure.ai.openai", "bedrock": "aws.bedrock", "google": "gcp.gemini"}


async def observed(
    meters: Meters,
    tracing: Tracing,
    turn: Turn | None,
    request: ModelRequest,
    chunks: AsyncGenerator[Chunk, None],
    *,
    purpose: str,
    price: Callable[[Usage], int | None],
) -> AsyncGenerator[Chunk, None]:
    """The chunks of `request`'s answer, unchanged; closing this closes them. `price` is what their usage costs."""
    begun = monotonic()
    first = True
    text: list[str] = []
    with tracing.span(turn, f"chat {request.model}", _asked(request)) as mark:
        mark.tell(tracing.said("gen_ai.input.messages", request.messages))
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    if first:
                        first = False
                        meters.first_token_seconds.labels(request.provider).observe(monotonic() - begun)
                        mark.tell({"gen_ai.response.time_to_first_chunk": monotonic() - begun})
                    if isinstance(chunk, Usage):
                        _used(meters, mark, request.provider, purpose, chunk)
                        meters.cost.labels(purpose).inc(price(chunk) or 0)
                    elif isinstance(chunk, Finished):
                        mark.tell(
                            {"gen_ai.response.finish_reasons": [chunk.reason], "gen_ai.response.id": chunk.response_id}
                        )
                    elif tracing.content and isinstance(chunk, TextDelta):
                        text.append(chunk.text)
                    yield chunk
        except ProviderFailed as failed:
            mark.fail(str(failed.facts.status or failed.facts.signal or "provider_failed"))
            raise
        finally:
            if text:
                mark.tell(tracing.said("gen_ai.output.messages", [{"role": "assistant", "content": "".join(text)}]))


def _asked(request: ModelRequest) -> dict[str, str | int | float]:
    told: dict[str, str | int | float] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(request.provider, request.provider),
        "gen_ai.request.model": request.model,
    }
    for key, name in (("temperature", "temperature"), ("top_p", "top_p"), ("max_output_tokens", "max_tokens")):
        value = request.call_config.get(key)
        if isinstance(value, int | float):
            told[f"gen_ai.request.{name}"] = value
    return told


def _used(meters: Meters, mark: Mark, provider: str, purpose: str, usage: Usage) -> None:
    counts = {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cache_read": usage.cache_read_tokens,
        "cache_creation": usage.cache_creation_tokens,
        "reasoning": usage.reasoning_tokens,
    }
    for kind, tokens in counts.items():
        if tokens > 0:
            meters.tokens.labels(provider, kind, purpose).inc(tokens)
    mark.tell(
        {
            # The conventions count cached tokens as input; ours are apart.
            "gen_ai.usage.input_tokens": usage.input_tokens + usage.cache_read_tokens + usage.cache_creation_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_creation_tokens,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        }
    )
