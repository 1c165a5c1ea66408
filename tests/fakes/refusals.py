"""What the real providers refuse: (status, type, code, message), or None when the request is sound."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Refusal = tuple[int, str, str, str]
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}")
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
    used: set[str] = set()
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
            if refusal := _openai_content(message, where):
                return refusal
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            return _unanswered(open_calls)
        if refusal := _openai_content(message, where):
            return refusal
        for call in message.get("tool_calls") or ():
            if refusal := _openai_call(call, where, used):
                return refusal
            open_calls.add(call["id"])
            used.add(call["id"])
    return _unanswered(open_calls) if open_calls else None


PARTS = {"user": {"text", "image_url", "input_audio", "file"}}


def _openai_content(message: Mapping[str, Any], where: str) -> Refusal | None:
    content = message.get("content")
    if not message.get("tool_calls") and not content:
        return _invalid(f"Invalid value for 'content': expected a string, got null or empty in {where}.")
    for part in content if isinstance(content, list) else ():
        kind = part.get("type")
        if kind not in PARTS.get(message["role"], {"text"}):
            return _invalid(f"Invalid value: {kind!r} in {where}.content.")
        url = part.get("image_url", {}).get("url") or part.get("file", {}).get("file_data") or ""
        if kind in ("image_url", "file") and not url.startswith(("data:", "https:")):
            return _invalid(f"Invalid {kind} in {where}.content.")
    return None


def _openai_call(call: Mapping[str, Any], where: str, used: set[str]) -> Refusal | None:
    function = call.get("function", {})
    if not CALL_ID.fullmatch(str(call.get("id") or "")) or not NAME.fullmatch(function.get("name", "")):
        return _invalid(f"Invalid tool call in {where}.")
    if unknown := set(call) - {"id", "type", "function", "index"}:
        return _invalid(f"Additional properties are not allowed in {where}.tool_calls: {sorted(unknown)}")
    if not isinstance(function.get("arguments"), str):
        return _invalid(f"Invalid type for '{where}.tool_calls.function.arguments'.")
    if call["id"] in used:  # OpenAI lets it pass in another message; servers that keep calls by id do not
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
    if refusal := _anthropic_thoughts(body):
        return refusal
    if _marks(body) > MOST_MARKS:
        return _invalid(f"A maximum of {MOST_MARKS} blocks with cache_control may be provided. Found {_marks(body)}.")
    names = [tool.get("name") for tool in body.get("tools") or ()]
    if len(names) != len(set(names)):
        return _invalid("tools: Tool names must be unique.")
    if refusal := _anthropic_computer(headers, body):
        return refusal
    return _anthropic_messages(body["messages"])


def _anthropic_computer(headers: Mapping[str, str], body: Mapping[str, Any]) -> Refusal | None:
    """A tool of a date needs the beta of that date, and a screen."""
    betas = headers.get("anthropic-beta", "").split(",")
    for tool in body.get("tools") or ():
        kind = str(tool.get("type") or "")
        if not kind.startswith("computer_"):
            continue
        date = kind.removeprefix("computer_")
        if f"computer-use-{date[:4]}-{date[4:6]}-{date[6:]}" not in betas:
            return _invalid(f"tools: Input tag '{kind}' found using 'type' does not match any of the expected tags")
        if unknown := set(tool) - {"type", "name", "display_width_px", "display_height_px", "cache_control"}:
            return _invalid(f"tools: {sorted(unknown)}: Extra inputs are not permitted")
        if tool.get("name") != "computer" or not all(tool.get(f"display_{side}_px") for side in ("width", "height")):
            return _invalid("tools: a computer needs its name and its display")
    return None


def _anthropic_thoughts(body: Mapping[str, Any]) -> Refusal | None:
    """The rules while thinking is on; a turn that has come as far as tool results must have begun with a thought."""
    thinking = body.get("thinking") or {}
    if thinking.get("type") != "enabled":
        return None
    if thinking.get("budget_tokens", 0) < 1024:
        return _invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if thinking["budget_tokens"] >= body["max_tokens"]:
        return _invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if body.get("temperature", 1) != 1:
        return _invalid("`temperature` may only be set to 1 when thinking is enabled.")
    messages = body["messages"]
    begun = len(messages)
    while begun and (
        messages[begun - 1]["role"] == "assistant"
        or all(block.get("type") == "tool_result" for block in _blocks(messages[begun - 1]))
    ):
        begun -= 1
    kind = _blocks(messages[begun])[0].get("type") if begun < len(messages) else "thinking"
    if kind in ("thinking", "redacted_thinking"):
        return None
    return _invalid(f"messages.{begun}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{kind}`.")


MOST_MARKS = 4
ROLES = {
    "text": ("user", "assistant"),
    "image": ("user",),
    "document": ("user",),
    "tool_result": ("user",),
    "tool_use": ("assistant",),
    "thinking": ("assistant",),
    "redacted_thinking": ("assistant",),
    "server_tool_use": ("assistant",),
    "web_search_tool_result": ("assistant",),
}


def _marks(body: Mapping[str, Any]) -> int:
    system = body.get("system") or []
    places = [*(system if isinstance(system, list) else ()), *(body.get("tools") or ())]
    places += [block for message in body["messages"] for block in _blocks(message)]
    return sum("cache_control" in place for place in places)


def _anthropic_blocks(blocks: Sequence[Mapping[str, Any]], where: str, role: str, used: set[str]) -> Refusal | None:
    searches: set[str] = set()
    for block in blocks:
        kind = str(block.get("type"))
        if role not in ROLES.get(kind, ()):
            return _invalid(f"{where}: a block of type {kind} is not expected in a message of role {role}")
        if kind == "thinking" and not block.get("signature"):
            return _invalid(f"{where}: thinking.signature: Field required")
        if kind in ("thinking", "redacted_thinking") and "cache_control" in block:
            return _invalid(f"{where}: {kind}.cache_control: Extra inputs are not permitted")
        refusal = None
        if kind == "tool_result":
            refusal = _anthropic_result(block, where)
        if kind in ("tool_use", "server_tool_use"):
            refusal = _anthropic_use(block, where, used, searches)
        elif kind == "web_search_tool_result":
            refusal = _anthropic_search_result(block, where, searches)
        if refusal:
            return refusal
    return _invalid(f"{where}: `server_tool_use` without a result: {sorted(searches)}") if searches else None


def _anthropic_result(block: Mapping[str, Any], where: str) -> Refusal | None:
    content = block.get("content")
    for inner in content if isinstance(content, list) else ():
        if inner.get("type") not in ("text", "image", "document"):
            return _invalid(f"{where}: tool_result.content: a block of type {inner.get('type')} is not expected")
        if "cache_control" in inner:
            return _invalid(f"{where}: tool_result.content: cache_control belongs on the tool_result")
        source = inner.get("source", {})
        if inner["type"] == "image" and not (source.get("type") == "base64" and source.get("data")):
            return _invalid(f"{where}: tool_result.content: an image needs a source")
    return None


def _anthropic_use(block: Mapping[str, Any], where: str, used: set[str], searches: set[str]) -> Refusal | None:
    kind, given = str(block["type"]), str(block.get("id"))
    if not CALL_ID.fullmatch(given) or given.startswith("srvtoolu_") != (kind == "server_tool_use"):
        return _invalid(f"{where}: {kind}.id: String should match pattern")
    if given in used:
        return _invalid(f"{where}: `tool_use` ids must be unique")
    if not isinstance(block.get("input"), dict):
        return _invalid(f"{where}: {kind}.input: Input should be a valid dictionary")
    used.add(given)
    if kind == "server_tool_use":
        searches.add(given)
    return None


def _anthropic_search_result(block: Mapping[str, Any], where: str, searches: set[str]) -> Refusal | None:
    if block.get("tool_use_id") not in searches:
        return _invalid(f"{where}: unexpected `tool_use_id` found in `web_search_tool_result` blocks")
    searches.discard(str(block["tool_use_id"]))
    if not isinstance(block.get("content"), list | dict):
        return _invalid(f"{where}: web_search_tool_result.content: Field required")
    return None


def _blocks(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else (content or [])


def _anthropic_messages(messages: Sequence[Mapping[str, Any]]) -> Refusal | None:
    if messages[0].get("role") != "user":
        return _invalid('messages: first message must use the "user" role')
    open_calls: set[str] = set()
    used: set[str] = set()
    for position, message in enumerate(messages):
        role = str(message.get("role"))
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
        if refusal := _anthropic_blocks(blocks, f"messages.{position}", role, used):
            return refusal
        open_calls = {str(block.get("id")) for block in blocks if block.get("type") == "tool_use"}
    if open_calls:
        return _invalid(f"messages: `tool_use` ids were found without `tool_result` blocks: {sorted(open_calls)}")
    return None
