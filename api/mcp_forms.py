"""What an admin may say of an MCP server: each field judged, and cleared where its sign-in has no use for it."""

import re
from collections.abc import Mapping
from typing import Any

from api.schemas.mcp import CreateMcpServer, UpdateMcpServer
from models.errors import Invalid, Validation
from models.rules import addresses

TRANSPORTS = ("streamable_http", "sse")
AUTH_TYPES = ("none", "oauth2", "api_key", "custom_headers", "user_oidc")
AVAILABILITIES = ("force_on", "default_on", "default_off")
_CHOICES = {"transport": TRANSPORTS, "auth_type": AUTH_TYPES, "availability": AVAILABILITIES}
_REQUIRED = ("display_name", "slug", "transport", "url", "auth_type", "availability")
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
LONGEST_URL = 2048
LONGEST_SLUG = 40  # a tool's name must have room behind it
MOST_NAMES, MOST_HEADERS = 500, 50
# Said by the transport itself; to set them would break it, or lead the request elsewhere.
OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type", "accept"})
# What belongs to each kind of sign-in.
BELONGS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "oauth2": (
        "oauth2_client_id",
        "oauth2_client_secret",
        "oauth2_auth_url",
        "oauth2_token_url",
        "oauth2_scopes",
        "oauth2_resource",
    ),
    "api_key": ("api_key_header", "api_key_value"),
    "custom_headers": ("custom_headers",),
    "user_oidc": (),
}
OAUTH = ("oauth2_client_id", "oauth2_auth_url", "oauth2_token_url")


def given(body: CreateMcpServer | UpdateMcpServer) -> dict[str, Any]:
    """The fields that were sent, trimmed, without empty list items."""
    fields = body.model_dump(include=body.model_fields_set)
    return {name: _trimmed(value) for name, value in fields.items() if value is not None}


def check(fields: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> None:
    """Raise Invalid with one validation for each field that is wrong; `before` is what the others are."""
    whole: dict[str, Any] = {**(before or {}), **fields}
    wrong = [Validation(name, "is required") for name in _REQUIRED if not whole.get(name)]
    bad = {each.field for each in wrong}
    for name, choices in _CHOICES.items():
        if name not in bad and whole[name] not in choices:
            wrong.append(Validation(name, f'must be one of [{" ".join(choices)}], got "{str(whole[name])[:80]}"'))
    if "slug" not in bad and (len(whole["slug"]) > LONGEST_SLUG or not _SLUG.match(whole["slug"])):
        wrong.append(
            Validation("slug", f"must be lowercase letters and digits with single dashes, at most {LONGEST_SLUG}")
        )
    wrong += [
        Validation(name, problem)
        for name in ("url", "oauth2_auth_url", "oauth2_token_url")
        if whole.get(name) and (problem := _problem(str(whole[name])))
    ]
    icon = str(fields.get("icon_url") or "")
    if icon and (icon.startswith("//") or not icon.startswith("/")) and _problem(icon):
        wrong.append(Validation("icon_url", "must be a path or an http or https URL"))
    wrong += [
        Validation(name, f"must have at most {MOST_NAMES} names")
        for name in ("tool_allow_list", "tool_deny_list")
        if len(fields.get(name) or ()) > MOST_NAMES
    ]
    wrong += _of_kind(fields, whole)
    if wrong:
        raise Invalid(validations=wrong)


def _of_kind(fields: Mapping[str, Any], whole: Mapping[str, Any]) -> list[Validation]:
    """What is wrong with what the server is shown."""
    kind = whole.get("auth_type")
    if kind == "api_key":
        wrong = [Validation(name, "is required") for name in ("api_key_header", "api_key_value") if not whole.get(name)]
        if whole.get("api_key_header") and (problem := _bad_header(whole["api_key_header"], whole["api_key_value"])):
            wrong.append(Validation("api_key_header", problem))
        return wrong
    if kind == "custom_headers":
        headers = whole.get("custom_headers")
        if not headers:
            return [Validation("custom_headers", "must have at least one pair")]
        if not isinstance(headers, Mapping):  # stored before, and judged then
            return []
        if len(headers) > MOST_HEADERS:
            return [Validation("custom_headers", f"must have at most {MOST_HEADERS} pairs")]
        problems = ((name, _bad_header(name, value)) for name, value in headers.items())
        return [Validation("custom_headers", f'"{name[:80]}" {problem}') for name, problem in problems if problem]
    if kind == "oauth2":
        there = [name for name in OAUTH if whole.get(name)]
        if 0 < len(there) < len(OAUTH):
            return [
                Validation(name, "is required with the others, or none is") for name in OAUTH if not whole.get(name)
            ]
    return []


def settled(fields: dict[str, Any], auth_type: str) -> dict[str, Any]:
    """The fields, with those cleared that belong to another kind of sign-in."""
    foreign = {name for kind, names in BELONGS.items() for name in names if kind != auth_type}
    return {**fields, **{name: {} if name == "custom_headers" else "" for name in foreign}}


def _trimmed(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\x00", "").strip()
        case list():
            return list(dict.fromkeys(text for each in value if (text := _trimmed(each))))
        case dict():
            return {_trimmed(name): _trimmed(each) for name, each in value.items() if _trimmed(name)}
    return value


def _bad_header(name: str, value: str) -> str:
    if not _TOKEN.match(name):
        return "is not the name of a header"
    if name.lower() in OURS or name.lower().startswith("mcp-"):
        return "is set by the transport itself"
    # A value that is stored already is ciphertext, which is such text.
    return "" if value.isascii() and value.isprintable() else "must have a value of printable ASCII characters"


def _problem(url: str) -> str:
    return addresses.problem(url) if len(url) <= LONGEST_URL else addresses.UNREADABLE
