"""What of a conversation with a provider may be kept for debugging: no credentials, and only so much."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

REDACTED = "[redacted]"
MAX_DOCUMENT = 256 * 1024  # bytes of one stored document
MAX_BODY = 64 * 1024  # characters of a raw HTTP body
MAX_ITEMS = 400
MARGIN = 1024  # characters; no secret is longer
MAX_DEPTH = 40

_SECRET_HEADER = re.compile(r"auth|cookie|credential|key|passw|secret|session|signature|token", re.IGNORECASE)
# They hold words like `tokens`, and tell what an operator wants to know.
_HARMLESS_HEADER = re.compile(r"ratelimit|rate-limit", re.IGNORECASE)
_SECRET_NAMES = frozenset(
    {"authorization", "cookie", "credential", "credentials", "passwd", "privatekey", "proxyauthorization", "setcookie"}
)
_SECRET_ENDINGS = ("apikey", "accesskey", "accesskeyid", "password", "secret", "secretkey", "token")


class _Rule(NamedTuple):
    """What a text must hold for the search to be worth it, what is searched for, and what is left of it."""

    needle: str
    pattern: re.Pattern[str]
    kept: str = ""


def _key(prefix: str, rest: str = r"[A-Za-z0-9_.-]{16,}") -> _Rule:
    """A key with a prefix that nothing stands before. The literal comes first: that is what makes the search fast."""
    return _Rule(prefix, re.compile(f"{re.escape(prefix)}(?<![A-Za-z0-9]{re.escape(prefix)}){rest}"))


_PREFIXES = (
    *("sk-", "sk_", "pk_", "rk_", "ts_token_", "ts_session_", "xoxa-", "xoxb-", "xoxp-", "xoxr-", "xoxs-", "ghp_"),
    *("gho_", "ghr_", "ghs_", "ghu_", "github_pat_", "glpat-", "hf_", "AIza", "ya29."),
)
_NAMES = ("key=", "token=", "signature=", "sig=")
_RULES = (
    _Rule(
        "PRIVATE KEY-----",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    ),
    *map(_key, _PREFIXES),
    *(_key(prefix, r"[A-Z0-9]{16}") for prefix in ("AKIA", "ASIA")),
    _key("eyJ", r"[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    _Rule("Bearer ", re.compile(r"Bearer [A-Za-z0-9._~+/=-]{8,}"), "Bearer "),
    _Rule("://", re.compile(r"://[^\s/:@\"']+:[^\s/@\"']+(?=@)"), "://"),
    *(_Rule(name, re.compile(rf"{name}(?<=[?&_-]{name})[^&\s\"']+"), name) for name in _NAMES),
)


def headers(given: Mapping[str, str], secrets: Iterable[str] = ()) -> dict[str, str]:
    """The headers, with the values of those that may hold a credential taken out."""
    known = tuple(secrets)
    return {
        name: REDACTED
        if _SECRET_HEADER.search(name) and not _HARMLESS_HEADER.search(name)
        else text(value, known)[:MAX_BODY]
        for name, value in given.items()
    }


def text(given: str, secrets: Iterable[str] = ()) -> str:
    """The text without these secrets and without anything that looks like a key."""
    for secret in secrets:
        if len(secret) >= 8:
            given = given.replace(secret, REDACTED)
    for rule in _RULES:
        if rule.needle in given:
            given = rule.pattern.sub(rule.kept + REDACTED, given)
    return given


def document(given: Any, secrets: Iterable[str] = (), *, limit: int = MAX_DOCUMENT) -> Any:
    """The JSON value without secrets, and small enough to be kept: long texts and lists lose their middle."""
    known = tuple(secrets)
    longest, items = limit // 16, MAX_ITEMS
    while True:
        kept = _bounded(given, known, longest, items, MAX_DEPTH)
        if len(orjson.dumps(kept)) <= limit:
            return kept
        if longest <= 64 and items <= 8:
            return {"cut": f"more than {limit} bytes"}
        longest, items = max(longest // 4, 64), max(items // 2, 8)


def body(raw: bytes, secrets: Iterable[str] = (), *, complete: bool = True, limit: int = MAX_BODY) -> Any:
    """An HTTP body: as JSON where it is whole and JSON, else as the beginning of its text."""
    known = tuple(secrets)
    if complete:
        try:
            return document(orjson.loads(raw), known, limit=limit)
        except orjson.JSONDecodeError:
            pass
    # Redacted before it is cut, so that no half of a secret is left at the edge.
    return short(text(raw.decode("utf-8", "replace").replace("\x00", "\ufffd"), known), limit)


def short(given: str, limit: int) -> str:
    """The text, or its two ends around a note of how much is missing."""
    if len(given) <= limit:
        return given
    head = limit * 2 // 3
    tail = limit - head
    return f"{given[:head]}… [{len(given) - limit} characters cut] …{given[-tail:]}"


def is_secret_name(name: str) -> bool:
    """Does a JSON key of this name hold a credential? Counts of tokens do not."""
    plain = "".join(each for each in name.lower() if each.isalnum())
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS)


def _bounded(given: Any, secrets: Sequence[str], longest: int, items: int, depth: int) -> Any:
    match given:
        case str():
            return _plain(given, secrets, longest)
        case bool() | int() | float() | None:
            return given
        case bytes():
            return f"[{len(given)} bytes]"
        case Mapping():
            if not depth:
                return "[too deep]"
            pairs = list(given.items())
            kept = {
                _plain(str(name), secrets, longest): REDACTED
                if is_secret_name(str(name)) and isinstance(value, str | list)
                else _bounded(value, secrets, longest, items, depth - 1)
                for name, value in pairs[:items]
            }
            if len(pairs) > items:
                kept["…"] = f"[{len(pairs) - items} more cut]"
            return kept
        case list() | tuple():
            if not depth:
                return "[too deep]"
            kept_items = [_bounded(each, secrets, longest, items, depth - 1) for each in _ends(given, items)]
            if len(given) > items:
                kept_items.insert(items // 4, f"[{len(given) - items} items cut]")
            return kept_items
    return text(str(given), secrets)[:longest]


def _plain(given: str, secrets: Sequence[str], longest: int) -> str:
    if len(given) <= 2 * longest + MARGIN:
        return short(text(given.replace("\x00", "\ufffd"), secrets), longest)
    # The search for secrets is slow, so it is made in the two ends alone; what it may have halved is dropped.
    head = text(given[: longest + MARGIN].replace("\x00", "\ufffd"), secrets)[:-MARGIN]
    tail = text(given[-longest - MARGIN :].replace("\x00", "\ufffd"), secrets)[MARGIN:]
    return f"{head[: longest * 2 // 3]}… [of {len(given)} characters] …{tail[-(longest // 3) :]}"


def _ends(given: Sequence[Any], items: int) -> Sequence[Any]:
    """A few of the first and most of the last: what was said lately explains the most."""
    if len(given) <= items:
        return given
    first = items // 4
    return [*given[:first], *given[len(given) - (items - first) :]]
