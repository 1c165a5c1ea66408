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
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any, cast

import httpx
import orjson

from activities.providers import asked
from activities.providers.answer import Answer
from activities.providers.asked import ROUTES, SENT_BY_LITELLM, Route
from activities.providers.fast import FastPath
from activities.providers.http import Connections, Exchange
from activities.providers.options import Options, at_desktop, options_for, searches
from activities.providers.parsed import Parse, ParsedAnswer
from activities.providers.provider import Chunk, ModelRequest
from activities.providers.shapes import Unplaced
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

ToolsKey = tuple[str, str, bytes]
MOST_TOOLS = 64
# Translated sets of tools, which are never written to: litellm walks through all of each, a millisecond for twenty.
_TOOLS: dict[ToolsKey, list[Any]] = {}

ALWAYS = frozenset({"max_tokens", "stream", "thinking", "tools", "parallel_tool_calls"})


class LitellmProvider:
    """Every real provider type, over one connection pool."""

    def __init__(self, fast: FastPath | None = None) -> None:
        context = get_ssl_configuration()
        self._connections = Connections(context if isinstance(context, ssl.SSLContext) else None)
        self._fast = fast or FastPath(enabled=True)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Chunk, None]:
        """Yield the answer's chunks; see `provider.Provider`."""
        route = ROUTES[request.provider]
        warm_up(request.provider)
        if not request.api_key and not route.keyless:
            raise ProviderFailed(FailureFacts(provider=request.provider, signal="missing_key"))
        exchange = Exchange(
            self._connections,
            request.provider,
            secrets=(request.api_key, *(each for each in request.provider_settings.values() if isinstance(each, str))),
            first_byte_timeout=request.first_byte_timeout,
            silence_timeout=request.silence_timeout,
            tape=request.tape,
        )
        family = profile_for(request.provider, request.model).family
        answer = self._fast.reader(request, family, _count_tokens) or ParsedAnswer(request.provider, family)
        more, failure = True, None
        try:
            try:
                source = await self._open(request, route, exchange, answer)
            except ProviderFailed:
                raise
            except Exception as error:
                raise exchange.failure or ProviderFailed(_facts(error, request.provider, exchange)) from error
            while more and failure is None:
                try:
                    more = await _advance(exchange, source, answer)
                except ProviderFailed as failed:
                    failure = failed
                except Exception as error:
                    failure = self._misread(error, request, exchange, answer)
                heard = answer.taken()  # also what came whole before a failure: it may be the answer's end
                for chunk in heard:
                    yield chunk
                if heard:
                    exchange.heard()
            if failure is not None and not answer.reason:  # after its last word a broken connection takes nothing away
                raise failure
            for chunk in answer.ending():
                yield chunk
        finally:
            await exchange.close()

    async def close(self) -> None:
        """Close the connection pool."""
        await self._connections.close()

    def _misread(self, error: Exception, request: ModelRequest, exchange: Exchange, answer: Answer) -> ProviderFailed:
        """What a reading stumbled over: of our own, it is left to litellm for a while."""
        if exchange.failure is not None:
            return exchange.failure
        if isinstance(answer, ParsedAnswer):
            if isinstance(error, AttributeError | LookupError | TypeError):
                return answer.senseless(type(error).__name__)
            return ProviderFailed(_facts(error, request.provider, exchange))
        return self._fast.give_up(request, str(error) if isinstance(error, Unplaced) else type(error).__name__)

    async def _open(
        self, request: ModelRequest, route: Route, exchange: Exchange, answer: Answer
    ) -> "AsyncIterator[Any] | None":
        """Send the request; litellm's own iterator of parsed chunks, unless the answer reads the events itself."""
        options = options_for(
            request.provider,
            request.call_config,
            tools=bool(request.tools),
            output_limit=_output_limit(route, request.model),
            most=request.max_tokens,
        )
        if request.provider_tools:
            searches(options, request)
        if request.at_desktop:
            request = at_desktop(options, request)
        messages = asked.messages_of(request, options.replay_reasoning and route.replays_reasoning)
        if "thinking" in options.params and not thinks_from_the_start(messages):
            del options.params["thinking"]
        if request.provider in SENT_BY_LITELLM:
            assert isinstance(answer, ParsedAnswer)
            return await _through_litellm(request, route, exchange, options, messages, answer)
        url, headers, body = await _translated(request, route, options, messages)
        if isinstance(answer, ParsedAnswer):
            answer.parse = _parser(request)
        await exchange.send(url, headers, orjson.dumps(body))
        return None


async def _advance(exchange: Exchange, source: "AsyncIterator[Any] | None", answer: Answer) -> bool:
    """Let the answer read what arrives together; False at its end."""
    if source is not None:
        assert isinstance(answer, ParsedAnswer)
        parsed = await exchange.next_of(source)
        if parsed is not None:
            answer.take(parsed)
        return parsed is not None
    payloads = await exchange.read()
    if answer.hear(payloads, exchange.decode):
        exchange.end()
        return False
    return bool(payloads)


def _output_limit(route: Route, model: str) -> int | None:
    for name in (f"{route.name}/{model}", model):
        if known := litellm.model_cost.get(name):
            limit = known.get("max_output_tokens")
            return limit if isinstance(limit, int) else None
    return None


async def _translated(
    request: ModelRequest, route: Route, options: Options, messages: list[dict[str, Any]]
) -> tuple[str, dict[str, str], dict[str, Any]]:
    """The provider's own request: where to, as whom, and what."""
    base_url = (request.base_url or route.base_url).rstrip("/")
    if not base_url:
        raise ProviderFailed(FailureFacts(request.provider, text="Malformed config: the provider has no base URL."))
    config = _config(request.provider, request.model)
    supported = _supported(request.provider, request.model)
    tools = _key_of_tools(request)
    if known := _TOOLS.get(tools) if tools else None:
        request = replace(request, tools=request.tools[:1])  # one for all: what depends on there being some stays
    wanted = {
        name: value
        for name, value in asked.parameters(request, options).items()
        if name in supported or name == "top_k"
    }
    native = {"top_k": wanted.pop("top_k")} if "top_k" in wanted else {}
    params = config.map_openai_params(wanted, native, request.model, drop_params=True)
    url, headers = _address(request, base_url, config, params, messages)
    body = await config.async_transform_request(request.model, cast("Any", messages), params, {}, headers)
    if options.betas:
        headers["anthropic-beta"] = ",".join(filter(None, (headers.get("anthropic-beta"), *options.betas)))
    body |= body.pop("extra_body", None) or {}
    if known:
        body["tools"] = known
    elif tools and body.get("tools"):
        if len(_TOOLS) >= MOST_TOOLS:
            _TOOLS.clear()
        _TOOLS[tools] = body["tools"]
    if options.tools:
        body["tools"] = [*(body.get("tools") or ()), *options.tools]
    for name, value in options.body.items():
        if name == "thinking":  # a detail of it, where there is any
            value = {**body[name], **value} if name in body else None
        if value is not None:
            body[name] = value
    body["stream"] = True
    return url, headers, body


def _key_of_tools(request: ModelRequest) -> ToolsKey | None:
    """What the translation of the tools follows from, where it follows from nothing else."""
    if not request.tools or request.provider == "anthropic":
        return None
    return request.provider, request.model, orjson.dumps(request.tools, default=list)


def _parser(request: ModelRequest) -> Parse:
    """litellm's parser of the provider's events."""
    if request.provider == "anthropic":
        return AnthropicEvents(None, sync_stream=False).chunk_parser
    events = _config(request.provider, request.model).get_model_response_iterator(
        cast("Any", None), sync_stream=False
    ) or OpenAIEvents(None, sync_stream=False)
    return cast("Parse", events.chunk_parser)


def _count_tokens(text: str) -> int:
    return int(litellm.token_counter(text=text, count_response_tokens=True))


class _Messages(litellm.AnthropicConfig):
    """Anthropic's translation, which looks a model up in the price list several times a request: once is enough."""

    _is_adaptive_thinking_model = staticmethod(
        lru_cache(256)(litellm.AnthropicConfig._is_adaptive_thinking_model)  # noqa: SLF001
    )


def _config(provider: str, model: str) -> BaseConfig:
    if provider == "anthropic":
        return _Messages()
    config = ProviderConfigManager.get_provider_chat_config(model=model, provider=LlmProviders(ROUTES[provider].name))
    assert config is not None
    return config


@lru_cache(maxsize=256)
def _supported(provider: str, model: str) -> frozenset[str]:
    """The parameters that a model takes: litellm walks its price list several times to know."""
    return ALWAYS.union(_config(provider, model).get_supported_openai_params(model) or ())


def _address(
    request: ModelRequest, base_url: str, config: BaseConfig, params: dict[str, Any], messages: list[dict[str, Any]]
) -> tuple[str, dict[str, str]]:
    """Where to and as whom."""
    if request.provider == "anthropic":
        headers = config.validate_environment(
            {**asked.HEADERS}, request.model, cast("Any", messages), params, {}, request.api_key, base_url
        )
        return f"{base_url.removesuffix('/v1')}/v1/messages", headers
    return asked.address(request, base_url)


class _Body(httpx.AsyncByteStream):
    """The answer's bytes, for litellm to read as they come."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self._exchange.receive():
            yield data


class _Door(AsyncHTTPHandler):
    """litellm's HTTP client, replaced by our exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def post(self, url: str, data: Any = None, json: Any = None, **rest: Any) -> httpx.Response:
        body = data if data is not None else json
        content = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {name: str(value) for name, value in (rest.get("headers") or {}).items()}
        answer = await self._exchange.send(url, headers, content)
        return httpx.Response(
            answer.status,
            # Asked for as it is: what says it is packed all the same is not unpacked, however large it would become.
            headers=[each for each in answer.headers.items() if each[0].lower() != "content-encoding"],
            stream=_Body(self._exchange),
            request=httpx.Request("POST", url),
        )

    def __del__(self) -> None:
        """Nothing of litellm's to dispose of."""


async def _through_litellm(
    request: ModelRequest,
    route: Route,
    exchange: Exchange,
    options: Options,
    messages: list[dict[str, Any]],
    answer: ParsedAnswer,
) -> "AsyncIterator[Any] | None":
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
        **asked.parameters(request, options),
        **options.body,
    )
    source = await wrapper.fetch_stream()
    if parse := getattr(source, "chunk_parser", None):
        answer.parse = cast("Parse", parse)
        return None
    return cast("AsyncIterator[Any]", aiter(source))


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
    opening = _translated(request, ROUTES[provider], options, asked.messages_of(request, True))
    try:
        opening.send(None)
    except StopIteration:
        parse = _parser(request)
        for event in _SAMPLES["anthropic" if provider == "anthropic" else "openai"]:
            parse(deepcopy(event))


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
