"""wire-api.md 2: each object as the application really answers it, golden, and read by the reference client."""

from typing import Any
from uuid import UUID

import pytest

from models.store import debug
from models.store.database import fetch
from models.store.moves import StepRow
from tests.api.talk import said
from tests.contracts.wire import golden
from tests.contracts.wire.world import NOWHERE, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEGUN, ENDED = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01.5Z"
PARTS: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": "hi"},
    "reasoning": {"type": "reasoning", "text": "hm", "created_at": BEGUN, "completed_at": ENDED},
    "tool_call": {
        "type": "tool-call",
        "tool_call_id": "c1",
        "tool_name": "execute",
        "args": {"command": "git status | wc -l"},
        "parsed_commands": [["git", "status"], ["wc"]],
        "created_at": BEGUN,
    },
    "tool_call_provider_executed": {
        "type": "tool-call",
        "tool_call_id": "c2",
        "tool_name": "web_search",
        "args": {"query": "mutex"},
        "provider_executed": True,
    },
    "tool_result_provider_executed": {
        "type": "tool-result",
        "tool_call_id": "c2",
        "tool_name": "web_search",
        "result": {"output": "found"},
        "provider_executed": True,
    },
    "source": {"type": "source", "url": "https://example.com/", "source_id": "s1", "title": "Example"},
    "context_file": {"type": "context-file", "context_file_path": "/AGENTS.md", "context_file_truncated": True},
    "skill": {"type": "skill", "skill_name": "deploy", "skill_description": "How we deploy."},
}
RESULT = {
    "type": "tool-result",
    "tool_call_id": "c1",
    "tool_name": "execute",
    "result": {"output": "3", "exit_code": 1},
    "is_error": True,
    "is_media": True,
    "created_at": ENDED,
}
INTERNAL = {"provider_metadata": {"secret": 1}, "context_file_content": "secret", "skill_dir": "/secret"}
USAGE = {
    "input_tokens": 10,
    "output_tokens": 5,
    "total_tokens": 18,
    "reasoning_tokens": 2,
    "cache_creation_tokens": 1,
    "cache_read_tokens": 3,
}


async def answered(world: World, method: str, path: str, body: Any = None, **more: Any) -> Any:
    response = await world.ask(method, path, body, **more)
    assert response.is_success, response.text
    return response.json()


async def test_2_1_chats(world: World) -> None:
    talk = await world.newcomer("lister")
    content = [*said("Explain how a mutex works, please."), {"type": "file-reference", "file_name": "main.py"}]
    asked = {"plan_mode": "plan", "labels": {"team": "storage"}, "client_type": "ui"}
    made = await answered(world, "POST", "", world.new(content=content, **asked), by=talk.person)
    golden.same("chat_created", made)
    child = await talk.start("child")
    await world.adopt(UUID(made["id"]), child)
    await talk.fail(
        child, message="No.", detail="Why.", kind="auth", provider="openai", retryable=False, status_code=401
    )
    await talk.answer(UUID(made["id"]))
    golden.same("chat_with_child", await talk.get(UUID(made["id"])))
    golden.same("chat_failed", await talk.get(child))
    golden.same("chat_list", await answered(world, "GET", "", by=talk.person))


async def test_2_2_files(world: World) -> None:
    file_id = await world.upload()
    content = [{"type": "file", "file_id": file_id}]
    made = await answered(world, "POST", "", world.new(content=content))
    golden.same("file_metadata", made["files"][0])
    golden.same("uploaded_file", {"id": file_id})
    page = await world.talk.history(UUID(made["id"]))
    golden.same("part_file", page["messages"][0]["content"][0])


async def test_2_3_and_2_4_messages_and_parts(world: World) -> None:
    reference = {"type": "file-reference", "file_name": "main.py", "start_line": 1, "end_line": 2, "content": "x = 1"}
    chat = await world.talk.start("hello", content=[*said("hello"), reference])
    parts = [{**part, **INTERNAL} for part in PARTS.values()]
    model = UUID(await world.model())
    await world.commit(chat, StepRow("assistant", parts, usage=USAGE, context_limit=1000, model_config_id=model))
    await world.commit(chat, StepRow("tool", [RESULT]))
    page = await world.talk.history(chat)
    tool, assistant, user = page["messages"]
    golden.same("message_user", user)
    golden.same("message_assistant", assistant)
    golden.same("part_file_reference", user["content"][1])
    golden.same("part_tool_result", tool["content"][0])
    for name, part in zip(PARTS, assistant["content"], strict=True):
        assert part == PARTS[name], "a part carries its own keys only"
        golden.same(f"part_{name}", part)


async def test_2_6_what_is_queued_and_what_sending_and_editing_answer(world: World) -> None:
    chat = await world.talk.start("one")
    golden.same("sent_message_queued", await world.talk.say(chat, "later"))
    page = await world.talk.history(chat)
    golden.same("messages", page)
    golden.same("queued_message", page["queued_messages"][0])
    queued = page["queued_messages"][0]["id"]
    golden.same("promotion_accepted", await answered(world, "POST", f"/{chat}/queue/{queued}/promote"))
    first = page["messages"][-1]["id"]
    golden.same("edited_message", await answered(world, "PATCH", f"/{chat}/messages/{first}", {"content": said("two")}))
    idle = await world.talk.start("one")
    await world.talk.answer(idle)
    golden.same("sent_message", await world.talk.say(idle, "more"))
    golden.same("prompts", await answered(world, "GET", f"/{idle}/prompts"))
    golden.same("proposed_title", {"title": "A title"})


async def test_1_2_errors(world: World) -> None:
    golden.same("error", (await world.ask("GET", f"/{NOWHERE}")).json())
    golden.same("error_detail", (await world.ask("POST", "", world.new(content=[]))).json())
    golden.same("error_validations", (await world.ask("POST", "", world.new(labels={"": "", "-": "v"}))).json())


async def test_2_12_models(world: World) -> None:
    body = {"type": "openai", "name": "main", "enabled": True, "base_url": "https://api.openai.com/v1"}
    keys = {"api_keys": ["sk-1234567890abcdef"]}
    provider = await answered(world, "POST", "/api/v2/ai/providers", {**body, **keys}, by=world.owner)
    golden.same("ai_provider", provider)
    aws = {"type": "bedrock", "name": "aws", "base_url": "https://bedrock.us-east-1.amazonaws.com"}
    settings = {"settings": {"_type": "bedrock", "_version": 1, "region": "us-east-1"}}
    bedrock = await answered(world, "POST", "/api/v2/ai/providers", {**aws, **settings}, by=world.owner)
    golden.same("ai_provider_bedrock", bedrock)
    config = {
        "ai_provider_id": provider["id"],
        "model": "our-own",
        "display_name": "Our own",
        "context_limit": 400_000,
        "model_config": {
            "max_output_tokens": 1000,
            "temperature": 0.5,
            "cost": {"input_price_per_million_tokens": 0.25, "output_price_per_million_tokens": "2"},
            "provider_options": {"openai": {"reasoning_effort": "low", "store": False}},
        },
    }
    golden.same("model_config", await answered(world, "POST", "/model-configs", config, by=world.owner))
    plain = {"ai_provider_id": provider["id"], "model": "plain", "context_limit": 1000}
    golden.same("model_config_plain", await answered(world, "POST", "/model-configs", plain, by=world.owner))
    keyless = {"type": "anthropic", "name": "keyless", "enabled": True, "base_url": "https://api.anthropic.com"}
    await answered(world, "POST", "/api/v2/ai/providers", keyless, by=world.owner)
    golden.same("models", await answered(world, "GET", "/models"))


async def test_2_14_debug_runs(world: World) -> None:
    chat = await world.talk.start("what is a mutex?")
    async with world.api.resources.database.begin() as session:
        [tip] = await fetch(session, "SELECT max(id) AS id FROM chat_messages WHERE chat_id = %(id)s", {"id": chat})
        begun = debug.Begun(chat, "chat_turn", "stream", {"messages": []}, tip["id"], None, None, "openai", "gpt")
        place = await debug.begin(session, begun)
        assert place is not None
        ended = debug.Ended("completed", "completed", {"content": []}, {"input_tokens": 3}, None, [{"number": 1}])
        await debug.end(session, place, ended)
    golden.same("debug_runs", await answered(world, "GET", f"/{chat}/debug/runs"))
    golden.same("debug_run", await answered(world, "GET", f"/{chat}/debug/runs/{place.run_id}"))


async def test_2_15_and_2_16_cost_and_limits(world: World) -> None:
    talk = await world.newcomer("spender")
    chat, model = await talk.start("dear"), UUID(await world.model())
    await talk.answer(chat, usage=USAGE, total_cost_micros=1_500, runtime_ms=20, model_config_id=model)
    golden.same("chat_cost", await answered(world, "GET", f"/{chat}/cost", by=talk.person))
    golden.same("usage_limit_status_off", await answered(world, "GET", "/usage-limits/status", by=talk.person))
    never = await answered(world, "GET", "/usage-limits", by=world.owner)
    golden.same("usage_limits_never_set", {**never, "unpriced_model_count": 1})
    golden.same("cost_users", await answered(world, "GET", "/cost/users?username=spender", by=world.owner))
    body = {"spend_limit_micros": 1_000, "period": "month"}
    golden.same("usage_limit_config", await answered(world, "PUT", "/usage-limits", body, by=world.owner))
    golden.same("error_usage_limit", (await world.ask("POST", "", world.new(), by=talk.person)).json())
    golden.same("usage_limit_status", await answered(world, "GET", "/usage-limits/status", by=talk.person))
    golden.same("cost_summary", await answered(world, "GET", "/cost/me/summary", by=talk.person))
    limit = {"spend_limit_micros": 7}
    person = f"/usage-limits/overrides/{talk.person.id}"
    golden.same("usage_limit_override", await answered(world, "PUT", person, limit, by=world.owner))
    named = {"name": "engineering", "display_name": "Engineering"}
    group = await answered(world, "POST", "/api/v2/organizations/default/groups", named, by=world.owner)
    path = f"/usage-limits/group-overrides/{group['id']}"
    golden.same("usage_limit_group_override", await answered(world, "PUT", path, limit, by=world.owner))
    shown = await answered(world, "GET", "/usage-limits", by=world.owner)
    golden.same("usage_limits", {**shown, "unpriced_model_count": 1})


async def test_6_settings(world: World) -> None:
    model = await world.model()
    path = f"/config/user-compaction-thresholds/{model}"
    golden.same("compaction_threshold", await answered(world, "PUT", path, {"threshold_percent": 5}))
    golden.same("compaction_thresholds", await answered(world, "GET", "/config/user-compaction-thresholds"))
    golden.same("user_debug_logging", await answered(world, "GET", "/config/user-debug-logging"))
    golden.same("debug_logging", await answered(world, "GET", "/config/debug-logging", by=world.owner))
    golden.same("user_prompt", await answered(world, "GET", "/config/user-prompt"))
    golden.same("model_override", await answered(world, "GET", "/config/model-override/general", by=world.owner))
