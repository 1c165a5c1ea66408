"""What the real providers refuse: (status, type, code, message), or None when the request is sound."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Refusal = tuple[int, str, str, str]
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
UNKNOWN_MODEL = "no-such-model"
BAD_KEY = "bad-key"


def _invalid(message: str, code: str = "") -> Refusal:
    return 400, "invalid_request_error", code, message


def openai(headers: Mapping[str, str], body: Any) -> Refusal | None:
    """The chat-completions rules."""
    key = headers.get("authorization", "").removeprefix("Bearer ").strip() or headers.get("api-key", "")
    if not key:
        return 401, "invalid_request_error", "", "You didn't provide an API key."
    if key.startswith(BAD_KEY):
        return 401, "invalid_request_error", "invalid_api_key", f"Incorrect API key provided: {key}."
    if not isinstance(body, dict):
        return _invalid("We could not parse the JSON body of your request.")
    if not isinstance(body.get("model"), str) or not body["model"]:
        return _invalid("you must provide a model parameter")
    if body["model"].endswith(UNKNOWN_MODEL):
        return 404, "invalid_request_error", "model_not_found", f"The model `{body['model']}` does not exist."
    if body.get("stream") is not True:
        return _invalid("This fake only streams: set stream to true.")
    for tool in body.get("tools") or ():
        if tool.get("type") != "function" or not NAME.fullmatch(tool["function"].get("name", "")):
            return _invalid(f"Invalid tool: {tool}")
    return _openai_messages(body.get("messages"))


KNOWN = {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio", "cache_control"}


def _unanswered(calls: set[str]) -> Refusal:
    return _invalid(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(sorted(calls))}"
    )


def _openai_messages(messages: Any) -> Refusal | None:
    if not isinstance(messages, list) or not messages:
        return _invalid("[] is too short - 'messages'")
    open_calls: set[str] = set()
    for position, message in enumerate(messages):
        where, role = f"messages[{position}]", message.get("role")
        if role not in ("system", "developer", "user", "assistant", "tool"):
            return _invalid(f"Invalid value: {role!r} for '{where}.role'.")
        if unknown := set(message) - KNOWN:
            return _invalid(f"Additional properties are not allowed in {where}: {sorted(unknown)}")
        if role == "tool":
            if message.get("tool_call_id") not in open_calls or not isinstance(message.get("content"), str | list):
                return _invalid(
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                )
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            return _unanswered(open_calls)
        if not message.get("tool_calls") and not message.get("content"):
            return _invalid(f"Invalid value for 'content': expected a string, got null or empty in {where}.")
        for call in message.get("tool_calls") or ():
            if refusal := _openai_call(call, where, open_calls):
                return refusal
            open_calls.add(call["id"])
    return _unanswered(open_calls) if open_calls else None


def _openai_call(call: Mapping[str, Any], where: str, open_calls: set[str]) -> Refusal | None:
    function = call.get("function", {})
    if not call.get("id") or not NAME.fullmatch(function.get("name", "")):
        return _invalid(f"Invalid tool call in {where}.")
    if not isinstance(function.get("arguments"), str):
        return _invalid(f"Invalid type for '{where}.tool_calls.function.arguments'.")
    if call["id"] in open_calls:
        return _invalid(f"Duplicate tool call id {call['id']}.")
    return None


def anthropic(headers: Mapping[str, str], body: Any) -> Refusal | None:
    """The messages rules."""
    key = headers.get("x-api-key", "")
    if not key or key.startswith(BAD_KEY):
        return 401, "authentication_error", "", "invalid x-api-key"
    if not headers.get("anthropic-version"):
        return _invalid("anthropic-version: header is required")
    if not isinstance(body, dict):
        return _invalid("The request body is not valid JSON.")
    for required in ("model", "max_tokens", "messages"):
        if not body.get(required):
            return _invalid(f"{required}: Field required")
    if body["model"].endswith(UNKNOWN_MODEL):
        return 404, "not_found_error", "", f"model: {body['model']}"
    if body.get("stream") is not True:
        return _invalid("This fake only streams: set stream to true.")
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled":
        if thinking.get("budget_tokens", 0) < 1024:
            return _invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if thinking["budget_tokens"] >= body["max_tokens"]:
            return _invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
        if body.get("temperature", 1) != 1:
            return _invalid("`temperature` may only be set to 1 when thinking is enabled.")
    return _anthropic_messages(body["messages"])


def _blocks(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else (content or [])


def _anthropic_messages(messages: Sequence[Mapping[str, Any]]) -> Refusal | None:
    if messages[0].get("role") != "user":
        return _invalid('messages: first message must use the "user" role')
    open_calls: set[str] = set()
    for position, message in enumerate(messages):
        role = message.get("role")
        if role not in ("user", "assistant"):
            return _invalid(f'messages: Unexpected role "{role}".')
        if position and messages[position - 1].get("role") == role:
            return _invalid('messages: roles must alternate between "user" and "assistant"')
        blocks = _blocks(message)
        if not blocks:
            return _invalid(f"messages.{position}: all messages must have non-empty content")
        if any(block.get("type") == "text" and not str(block.get("text", "")).strip() for block in blocks):
            return _invalid("messages: text content blocks must be non-empty")
        answered = {block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"}
        if stray := answered - open_calls:
            return _invalid(f"messages.{position}: unexpected `tool_use_id` in `tool_result` blocks: {stray}")
        if missing := open_calls - answered:
            return _invalid(
                f"messages.{position}: `tool_use` ids without `tool_result` blocks immediately after: {missing}"
            )
        for block in blocks:
            if block.get("type") == "thinking" and not block.get("signature"):
                return _invalid(f"messages.{position}: thinking.signature: Field required")
        open_calls = {str(block.get("id")) for block in blocks if block.get("type") == "tool_use"}
    if open_calls:
        return _invalid(f"messages: `tool_use` ids were found without `tool_result` blocks: {sorted(open_calls)}")
    return None
