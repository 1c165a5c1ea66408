"""What a provider's failure means: its kind, whether another attempt may help, and the words for the user.

Facts first, then an ordered judgement: the first rule of `RULES` that holds decides.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from models.errors import FailureFacts
from models.rules.moments import rfc3339

MAX_DETAIL = 500


class ErrorKind(StrEnum):
    """The kinds of the wire (ChatErrorKind)."""

    GENERIC = "generic"
    OVERLOADED = "overloaded"
    RATE_LIMIT = "rate_limit"
    TIMEOUT = "timeout"
    STREAM_SILENCE_TIMEOUT = "stream_silence_timeout"
    AUTH = "auth"
    CONFIG = "config"
    USAGE_LIMIT = "usage_limit"
    MISSING_KEY = "missing_key"
    PROVIDER_DISABLED = "provider_disabled"
    CONTENT_FILTER = "content_filter"


NAMES: Mapping[str, str] = {
    "anthropic": "Anthropic",
    "azure": "Azure OpenAI",
    "bedrock": "AWS Bedrock",
    "demo": "The demo provider",
    "google": "Google",
    "openai": "OpenAI",
    "openai-compat": "The OpenAI-compatible provider",
    "openrouter": "OpenRouter",
    "vercel": "Vercel AI Gateway",
}
NAMELESS = "The AI provider"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judged failure. `retry_message` is the factual half of `message`, for a banner while we try again."""

    kind: ErrorKind
    retryable: bool
    message: str
    retry_message: str
    detail: str = ""
    provider: str = ""
    status_code: int | None = None
    retry_after: timedelta | None = None

    def error(self) -> dict[str, Any]:
        """The ChatError of the wire."""
        return {"message": self.message, "retryable": self.retryable, **self._known(detail=self.detail)}

    def retry(self, attempt: int, delay: timedelta, retrying_at: datetime) -> dict[str, Any]:
        """The ChatStreamRetry of the wire: attempt number `attempt` failed, the next begins at `retrying_at`."""
        return {
            "attempt": attempt,
            "delay_ms": round(delay / timedelta(milliseconds=1)),
            "error": self.retry_message,
            "retrying_at": rfc3339(retrying_at),
            **self._known(),
        }

    def _known(self, **more: Any) -> dict[str, Any]:
        values = {"kind": self.kind.value, "provider": self.provider, "status_code": self.status_code, **more}
        return {key: value for key, value in values.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True)
class Evidence:
    """The facts, made comparable."""

    status: int | None
    text: str
    signal: str

    def says(self, pattern: re.Pattern[str]) -> bool:
        return pattern.search(self.text) is not None


@dataclass(frozen=True, slots=True)
class Rule:
    """If `holds`, the failure is of this kind; `{name}` is the provider, and banners leave `advice` out."""

    holds: Callable[[Evidence], bool]
    kind: ErrorKind
    retryable: bool
    fact: str
    advice: str = ""


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


CANCELED = _words(r"\b(chat|request|operation) (was )?(interrupted|cancell?ed)", r"context cancell?ed")
STATE_MISMATCH = _words(r"no tool output found for function call", r"without its required .?reasoning.? item")
INSUFFICIENT_QUOTA = _words(r"insufficient[_ ]quota")
QUOTA = _words(r"\bquota", r"\bbilling\b", r"payment required")
STRONG_AUTH = _words(
    r"authentication", r"unauthori[sz]ed", r"(invalid|incorrect)[ _](x-)?api[ _-]key", r"invalid x-api-key"
)
FORBIDDEN = _words(r"forbidden")
RATE_LIMIT = _words(r"rate[ _-]?limit", r"too many requests")
DISABLED = _words(r"provider[_ ](is )?disabled")
DEADLINE = _words(r"context deadline exceeded")
TRANSPORT = _words(
    r"time?d?[ _-]?out",
    r"unavailable",
    r"connection (reset|refused|closed|failed|timed out)",
    r"\beof\b",
    r"broken pipe",
    r"bad gateway",
    r"client conn",
    r"goaway",
    r"stream closed",
    r"use of closed connection",
)
CONFIG = _words(
    r"(invalid|unknown|unsupported|unrecognized) model",
    r"model[^\n]{0,160}(not found|does not exist|is not supported|not supported by|is not a valid)",
    r"not supported by this model",
    r"model_not_found",
    r"context[ _](length|window)",
    r"maximum context",
    r"(prompt|input) is too long",
    r"request_too_large",
    r"max_tokens is too large",
    r"(malformed|invalid)[ _]config",
)
SERVER_ERROR = _words(r"server[ _]error")
OVERFLOW = _words(
    r"context[ _](length|window|size|limit)",
    r"maximum context",
    r"(prompt|input) (is )?too long",
    r"request_too_large",
    r"token count[^\n]{0,80}exceed",
)

RULES = (
    # What we saw ourselves needs no reading of text.
    Rule(lambda e: e.signal == "cancelled", ErrorKind.GENERIC, False, "The request was canceled."),
    Rule(
        lambda e: e.signal == "silence",
        ErrorKind.STREAM_SILENCE_TIMEOUT,
        True,
        "{name} did not respond in time.",
    ),
    Rule(lambda e: e.signal == "stream_cut", ErrorKind.TIMEOUT, True, "{name} is temporarily unavailable."),
    Rule(lambda e: e.signal == "too_large", ErrorKind.GENERIC, False, "{name} sent more than an answer may hold."),
    Rule(lambda e: e.signal == "empty", ErrorKind.GENERIC, True, "{name} returned an empty answer."),
    Rule(
        lambda e: e.signal == "content_filter",
        ErrorKind.CONTENT_FILTER,
        False,
        "{name} withheld its answer under its content policy.",
        "Rephrase the message and try again.",
    ),
    Rule(
        lambda e: e.signal == "missing_key",
        ErrorKind.MISSING_KEY,
        False,
        "The API key for this conversation is no longer available.",
        "Check the provider's keys, then send the message again.",
    ),
    Rule(lambda e: e.says(CANCELED), ErrorKind.GENERIC, False, "The request was canceled."),
    Rule(
        lambda e: e.says(STATE_MISMATCH),
        ErrorKind.GENERIC,
        False,
        "Internal state mismatch: {name} does not recognize this conversation.",
        "Start a new chat.",
    ),
    # Overload comes dressed in many statuses; its own word settles it.
    Rule(
        lambda e: e.status == 529 or "overloaded" in e.text,
        ErrorKind.OVERLOADED,
        True,
        "{name} is temporarily overloaded.",
        "Please try again later.",
    ),
    # Before rate limits: a spent quota is a 429 too, and waiting does not help.
    Rule(
        lambda e: e.says(INSUFFICIENT_QUOTA) or e.status == 402 or (e.status != 429 and e.says(QUOTA)),
        ErrorKind.USAGE_LIMIT,
        False,
        "The usage quota of {name} is exceeded.",
        "Check the provider's plan and billing.",
    ),
    # A rejected key beats talk of models: without a key nothing else is true.
    Rule(
        lambda e: e.status == 401 or e.says(STRONG_AUTH),
        ErrorKind.AUTH,
        False,
        "{name} did not accept the credentials: authentication failed.",
        "Check the API key and its permissions.",
    ),
    # A 403 about a model is the model's fault, not the key's.
    Rule(
        lambda e: (e.status == 403 or e.says(FORBIDDEN)) and not e.says(CONFIG),
        ErrorKind.AUTH,
        False,
        "{name} did not accept the credentials: authentication failed.",
        "Check the API key and its permissions.",
    ),
    Rule(
        lambda e: (e.status == 429 or e.says(RATE_LIMIT)) and not e.says(CONFIG),
        ErrorKind.RATE_LIMIT,
        True,
        "{name} is rate limiting requests.",
        "Please try again later.",
    ),
    # Before timeouts: gateways say it with a 503.
    Rule(
        lambda e: e.says(DISABLED),
        ErrorKind.PROVIDER_DISABLED,
        False,
        "{name} is disabled.",
        "Contact the administrator.",
    ),
    # Our own patience ran out: another attempt has no time either.
    Rule(
        lambda e: e.status is None and e.says(DEADLINE),
        ErrorKind.TIMEOUT,
        False,
        "The request timed out before it completed.",
    ),
    # Transport words wrap other errors ("503 invalid model"): they only count when nothing points at the configuration.
    Rule(
        lambda e: (
            (e.status in (408, 502, 503, 504) or (not _is_request_error(e) and e.says(TRANSPORT)))
            and not e.says(CONFIG)
        ),
        ErrorKind.TIMEOUT,
        True,
        "{name} is temporarily unavailable.",
        "Please try again later.",
    ),
    Rule(
        lambda e: e.status == 404 or e.says(CONFIG),
        ErrorKind.CONFIG,
        False,
        "{name} rejected the model configuration.",
        "Check the model and provider settings.",
    ),
    Rule(
        lambda e: (e.status or 0) >= 500 or (not _is_request_error(e) and e.says(SERVER_ERROR)),
        ErrorKind.GENERIC,
        True,
        "{name} returned an unexpected error.",
    ),
)
UNEXPECTED = Rule(lambda e: True, ErrorKind.GENERIC, False, "{name} returned an unexpected error.")
UNKNOWN = Rule(lambda e: True, ErrorKind.GENERIC, False, "The chat request failed unexpectedly.")

SECRETS = re.compile(
    r"\b(sk|pk|rk|xai|gsk)-[\w*.-]{6,}|\bAIza[\w-]{10,}|\bAKIA[A-Z0-9]{8,}|(?i:\bbearer\s+)[\w.*~+/=-]{6,}"
    r"|\b(req|org|proj)[_-][\w-]{6,}"
)
NAMED_STATUS = re.compile(r"\b(?:status(?: code)?|http(?:/[\d.]+)?)[ :=]*([1-5]\d\d)\b")
BARE_STATUS = re.compile(r"(?<![:\d.])(?<!stream id )\b(401|403|408|429|5\d\d)\b(?!\d|:|\.\d)")


def classify(facts: FailureFacts, name: str = "") -> Verdict:
    """Judge a failure; `name` is the provider's display name, where it has one of its own."""
    text = f"{facts.text} {facts.code}".lower()
    evidence = Evidence(facts.status or _status_in(text), text, facts.signal)
    fallback = UNEXPECTED if facts.provider or name else UNKNOWN
    rule = next((rule for rule in RULES if rule.holds(evidence)), fallback)
    fact = _named(rule.fact, name or NAMES.get(facts.provider, NAMELESS))
    return Verdict(
        kind=rule.kind,
        retryable=rule.retryable,
        message=f"{fact} {rule.advice}".strip(),
        retry_message=fact,
        # An unstructured body of a refused login may hold anything, our headers included.
        detail="" if rule.kind is ErrorKind.AUTH and not facts.structured else _without_secrets(facts.text),
        provider=facts.provider,
        status_code=evidence.status,
        retry_after=facts.retry_after,
    )


def is_overflow(facts: FailureFacts) -> bool:
    """Did the provider refuse the request because the conversation is too long for the model?"""
    text = f"{facts.text} {facts.code}".lower()
    return not facts.signal and facts.status in (None, 400, 413, 422) and OVERFLOW.search(text) is not None


def _is_request_error(evidence: Evidence) -> bool:
    """A 4xx is about the request, whatever words its text happens to use."""
    return evidence.status is not None and 400 <= evidence.status < 500


def _status_in(text: str) -> int | None:
    found = NAMED_STATUS.search(text) or BARE_STATUS.search(text)
    return int(found[1]) if found else None


def _named(words: str, name: str) -> str:
    if not words.startswith("{name}") and name.startswith("The "):
        name = f"t{name[1:]}"
    return words.format(name=name)


def _without_secrets(text: str) -> str:
    clean = SECRETS.sub("[redacted]", text.strip())
    return clean if len(clean) <= MAX_DETAIL else f"{clean[: MAX_DETAIL - 1]}…"
