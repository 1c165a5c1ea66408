"""How a model is called: sampling, prices, each provider's own options (wire-api.md 2.12). Unknown keys are dropped."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, model_validator

from api.requests import Body
from models.errors import Invalid

Price = Annotated[Decimal, Field(max_digits=40, decimal_places=20)]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]

_MESSAGE = "Invalid model config."
_THINKING_DISPLAYS = ("summarized", "omitted")
_COST_KEYS = (
    "input_price_per_million_tokens",
    "output_price_per_million_tokens",
    "cache_read_price_per_million_tokens",
    "cache_write_price_per_million_tokens",
)


class ModelCost(Body):
    """US dollars a million tokens: numbers or strings in, strings out."""

    input_price_per_million_tokens: Price | None = None
    output_price_per_million_tokens: Price | None = None
    cache_read_price_per_million_tokens: Price | None = None
    cache_write_price_per_million_tokens: Price | None = None


class OpenAIOptions(Body):
    """For openai and azure."""

    include: list[str] | None = None
    instructions: str | None = None
    logit_bias: dict[str, Int64] | None = None
    log_probs: bool | None = None
    top_log_probs: Int64 | None = None
    max_tool_calls: Int64 | None = None
    parallel_tool_calls: bool | None = None
    user: str | None = None
    reasoning_effort: str | None = Field(default=None, description="none, minimal, low, medium, high or xhigh")
    reasoning_summary: str | None = Field(default=None, description="auto, concise or detailed")
    max_completion_tokens: Int64 | None = None
    text_verbosity: str | None = Field(default=None, description="low, medium or high")
    prediction: dict[str, Any] | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = Field(default=None, description="auto, default, flex, scale or priority")
    structured_outputs: bool | None = None
    strict_json_schema: bool | None = None
    web_search_enabled: bool | None = None
    search_context_size: str | None = Field(default=None, description="low, medium or high")
    allowed_domains: list[str] | None = None


class Thinking(Body):
    budget_tokens: Int64 | None = None


class AnthropicOptions(Body):
    """For anthropic and bedrock."""

    send_reasoning: bool | None = None
    thinking: Thinking | None = None
    effort: str | None = Field(default=None, description="low, medium, high, xhigh or max")
    thinking_display: str | None = Field(default=None, description="summarized or omitted")
    disable_parallel_tool_use: bool | None = None
    web_search_enabled: bool | None = None
    allowed_domains: list[str] | None = Field(default=None, description="not together with blocked_domains")
    blocked_domains: list[str] | None = None


class ThinkingConfig(Body):
    thinking_budget: Int64 | None = None
    include_thoughts: bool | None = None


class SafetySetting(Body):
    category: str | None = None
    threshold: str | None = None


class GoogleOptions(Body):
    thinking_config: ThinkingConfig | None = None
    cached_content: str | None = None
    safety_settings: list[SafetySetting] | None = None
    threshold: str | None = None
    web_search_enabled: bool | None = None


class OpenAICompatOptions(Body):
    user: str | None = None
    reasoning_effort: str | None = Field(default=None, description="none, minimal, low, medium, high or xhigh")


class Reasoning(Body):
    enabled: bool | None = None
    exclude: bool | None = None
    max_tokens: Int64 | None = None
    effort: str | None = Field(default=None, description="none, minimal, low, medium, high or xhigh")


class OpenRouterRouting(Body):
    order: list[str] | None = None
    allow_fallbacks: bool | None = None
    require_parameters: bool | None = None
    data_collection: str | None = None
    only: list[str] | None = None
    ignore: list[str] | None = None
    quantizations: list[str] | None = None
    sort: str | None = None


class OpenRouterOptions(Body):
    reasoning: Reasoning | None = None
    extra_body: dict[str, Any] | None = None
    include_usage: bool | None = None
    logit_bias: dict[str, Int64] | None = None
    log_probs: bool | None = None
    parallel_tool_calls: bool | None = None
    user: str | None = None
    provider: OpenRouterRouting | None = None


class VercelRouting(Body):
    order: list[str] | None = None
    models: list[str] | None = None


class VercelOptions(Body):
    reasoning: Reasoning | None = None
    providerOptions: VercelRouting | None = None  # noqa: N815 - the wire's own spelling
    user: str | None = None
    logit_bias: dict[str, Int64] | None = None
    logprobs: bool | None = None
    top_logprobs: Int64 | None = None
    parallel_tool_calls: bool | None = None
    extra_body: dict[str, Any] | None = None


class ProviderOptions(Body):
    openai: OpenAIOptions | None = None
    anthropic: AnthropicOptions | None = None
    google: GoogleOptions | None = None
    openaicompat: OpenAICompatOptions | None = None
    openrouter: OpenRouterOptions | None = None
    vercel: VercelOptions | None = None


class CallConfig(Body):
    """What is sent along with every call of a model; what is absent is the provider's default."""

    max_output_tokens: Int64 | None = None
    temperature: FiniteFloat | None = None
    top_p: FiniteFloat | None = None
    top_k: Int64 | None = None
    presence_penalty: FiniteFloat | None = None
    frequency_penalty: FiniteFloat | None = None
    cost: ModelCost | None = None
    provider_options: ProviderOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _move_legacy_prices(cls, value: Any) -> Any:
        """Prices once stood at the top level; `cost` wins where it has them."""
        if not isinstance(value, dict):
            return value
        legacy = {key: value[key] for key in _COST_KEYS if value.get(key) is not None}
        cost = value.get("cost") or {}
        if not legacy or not isinstance(cost, dict):
            return value
        return {**value, "cost": {**legacy, **{key: each for key, each in cost.items() if each is not None}}}

    def check(self) -> None:
        """Raises Invalid for what has the right type and yet makes no sense."""
        for key in _COST_KEYS:
            price = getattr(self.cost, key, None)
            if price is not None and price < 0:
                raise Invalid(_MESSAGE, f"cost.{key} must be greater than or equal to zero")
        anthropic = self.provider_options.anthropic if self.provider_options else None
        shown = anthropic.thinking_display if anthropic else None
        if shown and shown not in _THINKING_DISPLAYS:
            allowed = ", ".join(_THINKING_DISPLAYS)
            raise Invalid(_MESSAGE, f"provider_options.anthropic.thinking_display must be one of {allowed}")

    def stored(self) -> dict[str, Any]:
        """The document to keep: without what is absent, prices as strings."""
        return _plain(self.model_dump(exclude_none=True))


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, each in value.items():
        match each:
            case dict() if key in ("cost", "provider_options") and not each:
                continue
            case dict():
                kept[key] = _plain(each)
            case Decimal():
                kept[key] = format(each.normalize(), "f")
            case _:
                kept[key] = each
    return kept
