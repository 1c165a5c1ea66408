"""The one door to litellm, which translates: our request into a provider's, and the provider's events into our chunks.

litellm knows how each provider wants to be asked and how it answers; the connection is ours (`http.Exchange`). Its
completion call would cost 5–9 ms of CPU, its stream wrapper 0.2–0.5 ms a token, and that wrapper makes a clean `stop`
of a cut stream. So most providers are asked through litellm's translators alone (0.1–0.5 ms a call, 0.03 ms a token),
and what we call an ending is what the provider said. Google and Bedrock, whose requests litellm does not build apart
from sending them, go through `acompletion` over the same connection.
"""

import os
import ssl
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import httpx
import orjson

from activities.providers.answer import Answer, Parse
from activities.providers.http import DONE, Exchange, open_client
from activities.providers.options import PROVIDERS, Options, options_for, searches
from activities.providers.provider import Chunk, ModelRequest
from models.errors import FailureFacts, ProviderFailed
from models.rules.profiles import profile_for
from models.rules.prompt import thinks_from_the_start

# Without it the import fetches a price list over the network.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
from litellm.llms.anthropic.chat.handler import ModelResponseIterator as AnthropicEvents
from litellm.llms.base_llm.chat.transformation import BaseConfig
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, get_ssl_configuration
from litellm.llms.openai.chat.gpt_transformation import OpenAIChatCompletionStreamingHandler as OpenAIEvents
from litellm.types.utils import LlmProviders
from litellm.utils import ProviderConfigManager

litellm.suppress_debug_info = True
litellm.telemetry = False
# A tokenizer's vocabulary, kept after it was turned into the text that is used: 13 MB.
litellm.utils.json_data = None

AZURE_API_VERSION = "2024-10-21"
ALWAYS = frozenset({"max_tokens", "stream", "thinking", "tools", "parallel_tool_calls"})


@dataclass(frozen=True, slots=True)
class Route:
    """How a provider type is reached: litellm's name for it, and the base URL when none is configured."""

    name: str
    base_url: str = ""
    keyless: bool = False
    replays_reasoning: bool = False


ROUTES: Mapping[str, Route] = {
    "openai": Route("openai", "https://api.openai.com/v1"),
    "openai-compat": Route("hosted_vllm", keyless=True),
    "azure": Route("azure"),
    "openrouter": Route("openrouter", "https://openrouter.ai/api/v1"),
    "vercel": Route("vercel_ai_gateway", "https://ai-gateway.vercel.sh/v1"),
    "anthropic": Route("anthropic", "https://api.anthropic.com", replays_reasoning=True),
    "google": Route("gemini", "https://generativelanguage.googleapis.com/v1beta", replays_reasoning=True),
    "bedrock": Route("bedrock", keyless=True, replays_reasoning=True),
}
assert ROUTES.keys() == PROVIDERS.keys()
SENT_BY_LITELLM = frozenset({"google", "bedrock"})


class LitellmProvider:
    """Every real provider type, over one connection pool."""

    def __init__(self) -> None:
        # litellm's aiohttp transport reads a paced stream for a third of the CPU that httpx's own takes.
        context = get_ssl_configuration()
        verified = context if isinstance(context, ssl.SSLContext) else None
        self._client = open_client(AsyncHTTPHandler.create_async_transport(ssl_context=verified))

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Chunk, None]:
        """Yield the answer's chunks; see `provider.Provider`."""
        route = ROUTES[request.provider]
        warm_up(request.provider)
        if not request.api_key and not route.keyless:
            raise ProviderFailed(FailureFacts(provider=request.provider, signal="missing_key"))
        exchange = Exchange(
            self._client,
            request.provider,
            secrets=(request.api_key, *(each for each in request.provider_settings.values() if isinstance(each, str))),
            first_byte_timeout=request.first_byte_timeout,
            silence_timeout=request.silence_timeout,
            tape=request.tape,
        )
        answer = Answer(request.provider, profile_for(request.provider, request.model).family)
        try:
            try:
                source = await self._open(request, route, exchange)
                while (chunks := await _next(exchange, source, answer)) is not None:
                    for chunk in chunks:
                        yield chunk
                    if chunks:
                        exchange.heard()
            except ProviderFailed:
                if not answer.reason:  # after its last word a broken connection takes nothing away
                    raise
            except Exception as error:
                raise exchange.failure or ProviderFailed(_facts(error, request.provider, exchange)) from error
            for chunk in answer.ending():
                yield chunk
        finally:
            await exchange.close()

    async def close(self) -> None:
        """Close the connection pool."""
        await self._client.aclose()

    async def _open(self, request: ModelRequest, route: Route, exchange: Exchange) -> "Parse | AsyncIterator[Any]":
        """Send the request; return what reads its events: a parser, or litellm's own iterator of parsed chunks."""
        options = options_for(
            request.provider,
            request.call_config,
            tools=bool(request.tools),
            output_limit=_output_limit(route, request.model),
            most=request.max_tokens,
        )
        if request.provider_tools:
            searches(options, request)
        messages = _copied(request, options.replay_reasoning and route.replays_reasoning)
        if "thinking" in options.params and not thinks_from_the_start(messages):
            del options.params["thinking"]
        if request.provider in SENT_BY_LITELLM:
            return await _through_litellm(request, route, exchange, options, messages)
        url, headers, body, parse = await _translated(request, route, options, messages)
        await exchange.send(url, headers, orjson.dumps(body))
        return parse


async def _next(exchange: Exchange, source: "Parse | AsyncIterator[Any]", answer: Answer) -> list[Chunk] | None:
    """The chunks that arrive together, perhaps none; None at the end of the answer."""
    if answer.done:
        return None
    if isinstance(source, AsyncIterator):
        parsed = await exchange.next_of(source)
        return None if parsed is None else answer.take(parsed)
    payloads = await exchange.read()
    chunks: list[Chunk] = []
    for payload in payloads:
        if payload == DONE:
            answer.done = True
        if not answer.done:
            chunks += answer.read(exchange.decode(payload), source)
        if answer.done:
            exchange.end()
            break
    return chunks if payloads else None


def _output_limit(route: Route, model: str) -> int | None:
    for name in (f"{route.name}/{model}", model):
        if known := litellm.model_cost.get(name):
            limit = known.get("max_output_tokens")
            return limit if isinstance(limit, int) else None
    return None


def _copied(request: ModelRequest, replay_reasoning: bool) -> list[dict[str, Any]]:
    """A deep copy, since litellm rewrites messages in place; thoughts only for those who take them back."""
    messages: list[dict[str, Any]]
    if any(isinstance(message.get("content"), list) for message in request.messages):
        messages = _tree(request.messages)
    else:
        messages = orjson.loads(orjson.dumps(request.messages, default=list))
    if not replay_reasoning:
        for message in messages:
            message.pop("thinking_blocks", None)
            message.pop("reasoning_content", None)
            if isinstance(message.get("content"), list):
                message["content"] = [block for block in message["content"] if block.get("type") != "thinking"]
    return messages


def _tree(value: Any) -> Any:
    """A copy of all but the texts: they may be files of megabytes, which JSON would copy twice."""
    if isinstance(value, Mapping):
        return {key: _tree(each) for key, each in value.items()}
    return [_tree(each) for each in value] if isinstance(value, list | tuple) else value


def _asked(request: ModelRequest, options: Options) -> dict[str, Any]:
    asked: dict[str, Any] = {**options.params, "stream": True, "stream_options": {"include_usage": True}}
    if request.tools:
        asked["tools"] = orjson.loads(orjson.dumps(request.tools, default=list))
        if request.tool_choice:
            asked["tool_choice"] = request.tool_choice
    return asked


async def _translated(
    request: ModelRequest, route: Route, options: Options, messages: list[dict[str, Any]]
) -> tuple[str, dict[str, str], dict[str, Any], Parse]:
    """The provider's own request, and the parser of its events."""
    base_url = (request.base_url or route.base_url).rstrip("/")
    if not base_url:
        raise ProviderFailed(FailureFacts(request.provider, text="Malformed config: the provider has no base URL."))
    config = ProviderConfigManager.get_provider_chat_config(model=request.model, provider=LlmProviders(route.name))
    assert config is not None
    supported = ALWAYS.union(config.get_supported_openai_params(request.model))
    asked = {name: value for name, value in _asked(request, options).items() if name in supported or name == "top_k"}
    native = {"top_k": asked.pop("top_k")} if "top_k" in asked else {}
    params = config.map_openai_params(asked, native, request.model, drop_params=True)
    url, headers = _address(request, base_url, config, params, messages)
    body = await config.async_transform_request(request.model, cast("Any", messages), params, {}, headers)
    body |= body.pop("extra_body", None) or {}
    if options.tools:
        body["tools"] = [*(body.get("tools") or ()), *options.tools]
    for name, value in options.body.items():
        if name == "thinking":  # a detail of it, where there is any
            value = {**body[name], **value} if name in body else None
        if value is not None:
            body[name] = value
    body["stream"] = True
    if request.provider == "anthropic":
        return url, headers, body, AnthropicEvents(None, sync_stream=False).chunk_parser
    events = config.get_model_response_iterator(cast("Any", None), sync_stream=False) or OpenAIEvents(
        None, sync_stream=False
    )
    return url, headers, body, cast("Parse", events.chunk_parser)


def _address(
    request: ModelRequest, base_url: str, config: BaseConfig, params: dict[str, Any], messages: list[dict[str, Any]]
) -> tuple[str, dict[str, str]]:
    """Where to and as whom."""
    headers = {"content-type": "application/json", "user-agent": "turnstone"}
    if request.provider == "anthropic":
        headers = config.validate_environment(
            headers, request.model, cast("Any", messages), params, {}, request.api_key, base_url
        )
        return f"{base_url.removesuffix('/v1')}/v1/messages", headers
    if request.provider == "azure":
        headers["api-key"] = request.api_key
        if base_url.endswith("/v1"):
            return f"{base_url}/chat/completions", headers
        version = request.provider_settings.get("api_version") or AZURE_API_VERSION
        root = base_url.removesuffix("/openai")
        return f"{root}/openai/deployments/{request.model}/chat/completions?api-version={version}", headers
    if request.api_key:
        headers["authorization"] = f"Bearer {request.api_key}"
    return f"{base_url}/chat/completions", headers


class _Door(AsyncHTTPHandler):
    """litellm's HTTP client, replaced by our exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def post(self, url: str, data: Any = None, json: Any = None, **rest: Any) -> httpx.Response:
        body = data if data is not None else json
        content = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {name: str(value) for name, value in (rest.get("headers") or {}).items()}
        return await self._exchange.send(url, headers, content)

    def __del__(self) -> None:
        """Nothing of litellm's to dispose of."""


async def _through_litellm(
    request: ModelRequest, route: Route, exchange: Exchange, options: Options, messages: list[dict[str, Any]]
) -> "Parse | AsyncIterator[Any]":
    """Let litellm send the request over our exchange."""
    target = f"converse/{request.model}" if request.provider == "bedrock" else request.model
    wrapper = await litellm.acompletion(
        model=f"{route.name}/{target}",
        messages=messages,
        api_base=(request.base_url or route.base_url).rstrip("/") or None,
        api_key=request.api_key or None,
        client=_Door(exchange),
        num_retries=0,
        max_retries=0,
        drop_params=True,
        **{name: value for name, value in request.provider_settings.items() if name.startswith("aws_")},
        **_asked(request, options),
        **options.body,
    )
    source = await wrapper.fetch_stream()
    parse = getattr(source, "chunk_parser", None)
    return cast("Parse", parse) if parse else cast("AsyncIterator[Any]", aiter(source))


def _facts(error: BaseException, provider: str, exchange: Exchange) -> FailureFacts:
    """Facts of an exception that litellm raised without asking the provider."""
    chain: list[BaseException] = []
    while error not in chain:
        chain.append(error)
        error = getattr(error, "original_exception", None) or error.__cause__ or error
    status = next((s for s in (getattr(each, "status_code", None) for each in chain) if isinstance(s, int)), None)
    innermost = chain[-1]
    text = str(getattr(innermost, "message", "") or innermost or type(innermost).__name__)
    text = text.removeprefix(f"litellm.{type(innermost).__name__}: ").partition("\nTraceback")[0]
    if not exchange.asked:  # litellm could not put it into the provider's words: the status is its own invention
        return FailureFacts(provider, text=exchange.clean(text), code="invalid_config", structured=True)
    return FailureFacts(provider, status, text=exchange.clean(text))


@cache
def warm_up(provider: str) -> None:
    """Load what the first request to a provider of this type would load: litellm's modules are lazy."""
    with warnings.catch_warnings(action="ignore"):  # pydantic's, about litellm's own models
        litellm.ModelResponse()
        OpenAIEvents(None, sync_stream=False).chunk_parser(deepcopy(_SAMPLES["openai"][0]))
        for model in WARM.get(provider, ()):
            _rehearse(provider, model)


def _rehearse(provider: str, model: str) -> None:
    tool = {"type": "function", "function": {"name": "noop", "parameters": {"type": "object", "properties": {}}}}
    request = ModelRequest(
        provider, model, [{"role": "user", "content": "hello"}], "http://localhost", "key", tools=[tool]
    )
    options = options_for(provider, {}, tools=True, output_limit=None)
    opening = _translated(request, ROUTES[provider], options, _copied(request, True))
    try:
        opening.send(None)
    except StopIteration as result:
        for event in _SAMPLES["anthropic" if provider == "anthropic" else "openai"]:
            result.value[3](deepcopy(event))


WARM: Mapping[str, Sequence[str]] = {
    "openai-compat": ("m",),
    "openai": ("gpt-4o", "gpt-5"),
    "openrouter": ("m",),
    "vercel": ("m",),
    "anthropic": ("claude-sonnet-4-5",),
}
_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
_SAMPLES: Mapping[str, Sequence[dict[str, Any]]] = {
    "openai": (
        {"id": "1", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"content": ""}}], "usage": _USAGE},
    ),
    "anthropic": (  # counting the tokens of a thought loads a tokenizer: 0.2 s and 45 MB
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "so"}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    ),
}
