"""Examples for the OpenAPI document: made from its schemas, in the words of one small story."""

from collections.abc import Mapping
from typing import Any

_ID = "0199c0de-7a3b-7c11-9d2f-5b8f2a6f0c01"
_TIME = "2026-05-20T10:00:00.25Z"

# What a property of this name holds, where its schema has no example of its own.
WORDS: Mapping[str, Any] = {
    "api_key": "sk-secret",
    "args": '{"city": "Oslo"}',
    "avatar_url": "https://example.com/ada.png",
    "base_url": "https://api.openai.com/v1",
    "chat_title": "Explain how a mutex works.",
    "context_limit": 128_000,
    "count": 1,
    "current_password": "correct horse battery staple",
    "custom_prompt": "Answer briefly.",
    "default_system_prompt": "You are a helpful agent.",
    "delay_ms": 1000,
    "display_name": "Example",
    "email": "ada@example.com",
    "error": "The provider is busy.",
    "group_name": "engineering",
    "masked": "sk-1…cdef",
    "member_count": 3,
    "message_count": 2,
    "mime_type": "text/markdown",
    "model": "gpt-5-mini",
    "name": "ada",
    "old_password": "correct horse battery staple",
    "password": "correct horse battery staple",
    "plan_mode_instructions": "Ask before you plan.",
    "provider": "openai",
    "result": {"output": "sunny"},
    "role": "assistant",
    "roles": "agents-access",
    "session_token": "ts_session_…",
    "state": "R0",
    "status": "running",
    "system_prompt": "Be brief.",
    "text": "A mutex lets one thread at a time pass.",
    "threshold_percent": 70,
    "title": "Explain how a mutex works.",
    "tool_call_id": "call_1",
    "tool_name": "get_weather",
    "username": "ada",
    "version": "0.1.0",
}
_PLAIN: Mapping[str, Any] = {"integer": 0, "number": 0.5, "boolean": False, "string": "text"}
_FORMATS: Mapping[str, str] = {"uuid": _ID, "date-time": _TIME, "binary": "Words."}
_PYTHON: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
}
_DEEPEST = 8


def example(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that the schema allows; `schemas` are those it refers to."""
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], schemas, name, depth)
    if schema.get("examples"):
        return schema["examples"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            choice = next(each for each in schema[key] if each.get("type") != "null")
            return example(choice, schemas, name, depth)
    if schema.get("type") == "object":
        return _object(schema, schemas, depth)
    if schema.get("type") == "array":
        return [] if depth >= _DEEPEST else [example(schema["items"], schemas, name, depth + 1)]
    return _plain(schema, name)


def _plain(schema: Mapping[str, Any], name: str) -> Any:
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return WORDS[name] if WORDS.get(name) in schema["enum"] else schema["enum"][0]
    if "type" not in schema:  # any JSON value
        return WORDS.get(name, {})
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if isinstance(WORDS.get(name), _PYTHON[schema["type"]]):
        return WORDS[name]
    return schema.get("default", schema.get("minimum", _PLAIN[schema["type"]]))


def _object(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """What is required, and what is told by an example; of what leaves all open, everything."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    required = schema.get("required", ())
    told = {key: each for key, each in properties.items() if key in required or each.get("examples")}
    return {key: example(each, schemas, key, depth + 1) for key, each in (told or properties).items()}
