"""Call options in the words of each provider: parameters that litellm translates, keys that go as they are."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from activities.providers.provider import ModelRequest
from models.rules import computer

DEFAULT_MAX_OUTPUT_TOKENS = 32_000
WEB_SEARCH = {"type": "web_search_20250305", "name": "web_search"}
SEARCH_MODEL = "-search"
NEWEST_COMPUTER = "2025-11-24"
COMPUTERS = ((re.compile(r"-3-|(sonnet|haiku)-4-5|(opus|sonnet)-4(-1|-2025|-0|$|@)"), "2025-01-24"),)
"""Models that know an older form of Anthropic's tool `computer`, and its date."""
SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
GOOGLE_CATEGORIES = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")


@dataclass(slots=True)
class Options:
    """`params` are OpenAI's words, for litellm to translate; `body` is merged into the request unseen.

    `tools` are the provider's own, in its own words, to stand beside ours; `betas` are what must be named to use them.
    """

    params: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    tools: list[dict[str, Any]] = field(default_factory=list)
    betas: list[str] = field(default_factory=list)
    replay_reasoning: bool = True


def options_for(
    provider: str, call_config: Mapping[str, Any], *, tools: bool, output_limit: int | None, most: int = 0
) -> Options:
    """The options of one call; `output_limit` is what the model can write at most, where that is known.

    `most` is what this call may write at most, whatever the model's options say.
    """
    options = Options()
    chosen = call_config.get("max_output_tokens")
    options.params["max_tokens"] = chosen or min(DEFAULT_MAX_OUTPUT_TOKENS, output_limit or DEFAULT_MAX_OUTPUT_TOKENS)
    if most:
        options.params["max_tokens"] = min(options.params["max_tokens"], most)
    for name in SAMPLING:
        if call_config.get(name) is not None:
            options.params[name] = call_config[name]
    if call_config.get("top_k") is not None and provider not in ("openai", "azure"):
        place = options.body if provider in ("openai-compat", "openrouter", "vercel") else options.params
        place["top_k"] = call_config["top_k"]
    section, apply = PROVIDERS[provider]
    given = (call_config.get("provider_options") or {}).get(section) or {}
    apply(options, {key: value for key, value in given.items() if value is not None}, tools)
    return options


def searches(options: Options, request: ModelRequest) -> None:
    """Let the provider search the web, if the call config says so and it can where we ask it.

    Anthropic runs the search as a tool of its own. OpenAI does so at this address for its search models alone.
    """
    section, _ = PROVIDERS[request.provider]
    given = (request.call_config.get("provider_options") or {}).get(section) or {}
    if not given.get("web_search_enabled"):
        return
    if request.provider == "anthropic":
        taken = any(tool["function"]["name"] == WEB_SEARCH["name"] for tool in request.tools)
        domains = {key: given[key] for key in ("allowed_domains", "blocked_domains") if given.get(key)}
        if not taken:  # a tool of ours has that name: names must differ
            options.tools.append({**WEB_SEARCH, **dict([*domains.items()][:1])})
    elif section == "openai" and SEARCH_MODEL in request.model:
        size = given.get("search_context_size")
        options.body["web_search_options"] = {"search_context_size": size} if size else {}


def at_desktop(options: Options, request: ModelRequest) -> ModelRequest:
    """The request without our tool `computer` where the provider's own takes its place, and that among its tools.

    Anthropic has one at this address. OpenAI has its own at another, and takes ours here as it is.
    """
    rest = [tool for tool in request.tools if tool["function"]["name"] != computer.TOOL]
    if request.provider != "anthropic" or len(rest) == len(request.tools):
        return request
    version = next((version for names, version in COMPUTERS if names.search(request.model)), NEWEST_COMPUTER)
    width, height = computer.GEOMETRY["anthropic"]
    kind, beta = f"computer_{version.replace('-', '')}", f"computer-use-{version}"
    options.tools.append({"type": kind, "name": computer.TOOL, "display_width_px": width, "display_height_px": height})
    options.betas.append(beta)
    return replace(request, tools=rest)


def _copy(options: Options, given: Mapping[str, Any], names: Mapping[str, str]) -> None:
    options.body.update({name: given[key] for key, name in names.items() if key in given})


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


# include, instructions, max_tool_calls and reasoning_summary belong to the Responses API: chat completions refuse them.
OPENAI = _same(
    "logit_bias",
    "user",
    "reasoning_effort",
    "prediction",
    "store",
    "metadata",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
) | {"log_probs": "logprobs", "top_log_probs": "top_logprobs", "text_verbosity": "verbosity"}
OPENROUTER = _same("reasoning", "logit_bias", "user", "provider") | {"log_probs": "logprobs"}
VERCEL = _same("reasoning", "logit_bias", "logprobs", "top_logprobs", "user")


def _openai(options: Options, given: Mapping[str, Any], tools: bool) -> None:
    _copy(options, given, OPENAI)
    if "max_completion_tokens" in given:
        options.params["max_tokens"] = given["max_completion_tokens"]
    _parallel(options, given, tools)


def _parallel(options: Options, given: Mapping[str, Any], tools: bool) -> None:
    if tools and "parallel_tool_calls" in given:
        options.body["parallel_tool_calls"] = given["parallel_tool_calls"]


def _anthropic(options: Options, given: Mapping[str, Any], tools: bool) -> None:
    params = options.params
    options.replay_reasoning = given.get("send_reasoning", True)
    if budget := (given.get("thinking") or {}).get("budget_tokens"):
        params["thinking"] = {"type": "enabled", "budget_tokens": budget}
        if params["max_tokens"] <= budget:
            params["max_tokens"] += budget
        for refused in ("temperature", "top_p", "top_k"):  # Anthropic's rule while it thinks
            params.pop(refused, None)
    if effort := given.get("effort"):
        params["reasoning_effort"] = effort
    if display := given.get("thinking_display"):
        options.body["thinking"] = {"display": display}
    if tools and given.get("disable_parallel_tool_use"):
        params["parallel_tool_calls"] = False


def _google(options: Options, given: Mapping[str, Any], tools: bool) -> None:
    thinking = given.get("thinking_config") or {}
    config = {"thinkingBudget": thinking.get("thinking_budget"), "includeThoughts": thinking.get("include_thoughts")}
    if known := {key: value for key, value in config.items() if value is not None}:
        options.params["thinkingConfig"] = known
    if "cached_content" in given:
        options.params["cached_content"] = given["cached_content"]
    if settings := given.get("safety_settings"):
        options.params["safety_settings"] = list(settings)
    elif threshold := given.get("threshold"):
        options.params["safety_settings"] = [
            {"category": f"HARM_CATEGORY_{category}", "threshold": threshold} for category in GOOGLE_CATEGORIES
        ]


def _openai_compatible(options: Options, given: Mapping[str, Any], tools: bool) -> None:
    _copy(options, given, _same("user", "reasoning_effort"))


def _openrouter(options: Options, given: Mapping[str, Any], tools: bool) -> None:
    options.body.update(given.get("extra_body") or {})
    _copy(options, given, OPENROUTER)
    _parallel(options, given, tools)


def _vercel(options: Options, given: Mapping[str, Any], tools: bool) -> None:
    options.body.update(given.get("extra_body") or {})
    _copy(options, given, VERCEL)
    if "providerOptions" in given:
        options.body["providerOptions"] = {"gateway": given["providerOptions"]}
    _parallel(options, given, tools)


PROVIDERS: Mapping[str, tuple[str, Callable[[Options, Mapping[str, Any], bool], None]]] = {
    "openai": ("openai", _openai),
    "azure": ("openai", _openai),
    "anthropic": ("anthropic", _anthropic),
    "bedrock": ("anthropic", _anthropic),
    "google": ("google", _google),
    "openai-compat": ("openaicompat", _openai_compatible),
    "openrouter": ("openrouter", _openrouter),
    "vercel": ("vercel", _vercel),
}
