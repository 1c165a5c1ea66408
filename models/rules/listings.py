"""How each provider type is asked for its models, and what its answer says: one question that costs nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

AZURE_API_VERSION = "2024-10-21"
ANTHROPIC_VERSION = "2023-06-01"
MOST = 5_000
LONGEST = 512  # characters of a name


@dataclass(frozen=True, slots=True)
class Question:
    """A GET request; `is_signed` by AWS's rules instead of carrying a key."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_signed: bool = False


@dataclass(frozen=True, slots=True)
class Offered:
    """A model that a provider lists; zero where it does not say how much it takes or gives."""

    id: str
    display_name: str = ""
    context_limit: int = 0
    max_output_tokens: int = 0


class NoList(ValueError):
    """The answer is no list of models."""


def questions(kind: str, base_url: str, key: str, settings: Mapping[str, Any]) -> list[Question]:
    """The list of models last; before it what proves the key, for those who show their list to everybody."""
    base = base_url.rstrip("/")
    bearer = {"authorization": f"Bearer {key}"} if key else {}
    match kind:
        case "anthropic":
            headers = {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION}
            return [Question(f"{base.removesuffix('/v1')}/v1/models?limit=1000", headers)]
        case "google":
            return [Question(f"{base}/models?pageSize=1000", {"x-goog-api-key": key})]
        case "azure":
            if base.endswith("/v1"):
                return [Question(f"{base}/models", {"api-key": key})]
            version = urlencode({"api-version": settings.get("api_version") or AZURE_API_VERSION})
            return [Question(f"{base.removesuffix('/openai')}/openai/models?{version}", {"api-key": key})]
        case "bedrock":
            url = f"{_control_plane(base)}/foundation-models?byOutputModality=TEXT"
            return [Question(url, bearer, is_signed=not key)]
        case "openrouter":
            return [Question(f"{base}/key", bearer), Question(f"{base}/models", bearer)]
        case "vercel":
            return [Question(f"{base}/credits", bearer), Question(f"{base}/models", bearer)]
    return [Question(f"{base}/models", bearer)]


def offered(kind: str, document: Any) -> list[Offered]:
    """The models that chats could use, by name; raises NoList."""
    names = {"google": "models", "bedrock": "modelSummaries"}
    listed = document.get(names.get(kind, "data")) if isinstance(document, dict) else None
    if listed is None and kind == "google" and document == {}:
        listed = []
    if not isinstance(listed, list):
        raise NoList
    found = {each.id: each for each in _read(kind, listed)}
    return sorted(found.values(), key=lambda each: each.id)[:MOST]


def said(document: Any) -> str:
    """The message in a provider's refusal, if it has one that we can tell from the rest."""
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error", document) if isinstance(document, dict) else None
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return ""
    return next((word for name in ("message", "Message", "detail") if isinstance(word := error.get(name), str)), "")


def _read(kind: str, listed: list[Any]) -> Iterator[Offered]:
    id_name, own_name = {"google": ("name", "displayName"), "bedrock": ("modelId", "modelName")}.get(
        kind, ("id", "name")
    )
    for each in listed:
        name = each.get(id_name) if isinstance(each, dict) else None
        if not isinstance(name, str):
            raise NoList
        methods = each.get("supportedGenerationMethods")
        if isinstance(methods, list) and "generateContent" not in methods:
            continue
        top = each.get("top_provider")
        yield Offered(
            name.removeprefix("models/")[:LONGEST],
            _word(each, "display_name", own_name)[:LONGEST],
            _number(each, "context_length", "context_window", "max_model_len", "inputTokenLimit", "max_input_tokens"),
            _number(each, "max_tokens", "outputTokenLimit", "max_output_tokens")
            or _number(top if isinstance(top, dict) else {}, "max_completion_tokens"),
        )


def _word(each: Mapping[str, Any], *names: str) -> str:
    return next((value for name in names if isinstance(value := each.get(name), str)), "")


def _number(each: Mapping[str, Any], *names: str) -> int:
    return next((value for name in names if type(value := each.get(name)) is int and 0 < value < 2**53), 0)


def _control_plane(base: str) -> str:
    """AWS lists models at another host than the one that runs them."""
    parts = urlsplit(base)
    return urlunsplit(parts._replace(netloc=parts.netloc.replace("bedrock-runtime", "bedrock", 1)))
