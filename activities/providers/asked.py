"""What of a request needs no translation: where each provider is, what it is asked, and copies that may be changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from activities.providers.options import PROVIDERS, Options
from activities.providers.provider import ModelRequest

HEADERS: Mapping[str, str] = {"content-type": "application/json", "user-agent": "turnstone"}
AZURE_API_VERSION = "2024-10-21"


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


def messages_of(request: ModelRequest, replay_reasoning: bool) -> list[dict[str, Any]]:
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


def parameters(request: ModelRequest, options: Options) -> dict[str, Any]:
    asked: dict[str, Any] = {**options.params, "stream": True, "stream_options": {"include_usage": True}}
    if request.tools:
        asked["tools"] = orjson.loads(orjson.dumps(request.tools, default=list))
        if request.tool_choice:
            asked["tool_choice"] = request.tool_choice
    return asked


def address(request: ModelRequest, base_url: str) -> tuple[str, dict[str, str]]:
    """Where to and as whom, for whoever speaks chat completions."""
    headers = {**HEADERS}
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
