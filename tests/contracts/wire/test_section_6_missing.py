"""wire-api.md 6 and 5.5: the settings that came last, and people's own provider keys."""

from typing import Any

import pytest

from tests.contracts.wire import golden
from tests.contracts.wire.world import NO_ID, NOWHERE, World, forbidden, not_found, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

# (path, body, hidden from others): everybody but the owner gets 403 on a write.
GUARDED = (
    ("personal-model-overrides", {"allow_users": False}, True),
    ("desktop-enabled", {"enable_desktop": False}, False),
    ("computer-use-provider", {"provider": "anthropic"}, False),
    (
        "advisor",
        {"enabled": False, "max_uses_per_run": 0, "max_output_tokens": 0, "model_config_id": NO_ID},
        False,
    ),
    ("workspace-ttl", {"workspace_ttl_ms": 0}, False),
)


@pytest.mark.parametrize(("path", "body", "hidden"), GUARDED)
async def test_6_others_may_not_write(world: World, path: str, body: dict[str, Any], hidden: bool) -> None:
    forbidden(await world.ask("PUT", f"/config/{path}", body))
    response = await world.ask("GET", f"/config/{path}")
    if hidden:
        not_found(response)
    else:
        assert response.json() == body
    written = await world.ask("PUT", f"/config/{path}", body, by=world.owner)
    assert (written.status_code, written.content) == (204, b"")
    assert (await world.ask("GET", f"/config/{path}", by=world.owner)).json() == body


async def test_6_the_template_allowlist_is_hidden_altogether(world: World) -> None:
    path = "/config/template-allowlist"
    not_found(await world.ask("PUT", path, {"template_ids": []}))
    not_found(await world.ask("GET", path))
    assert (await world.ask("PUT", path, {"template_ids": []}, by=world.owner)).status_code == 204
    assert (await world.ask("GET", path, by=world.owner)).json() == {"template_ids": []}
    bad = await world.ask("PUT", path, {"template_ids": ["x"]}, by=world.owner)
    refused(bad, 400, "Invalid template ID in allowlist.", '"x" is not a valid UUID.')
    unknown = await world.ask("PUT", path, {"template_ids": [NOWHERE]}, by=world.owner)
    assert (unknown.status_code, unknown.json()["message"]) == (400, "One or more templates not found or deprecated.")


@pytest.mark.parametrize(
    ("path", "body", "message", "detail"),
    [
        (
            "computer-use-provider",
            {"provider": "google"},
            "Invalid computer use provider.",
            'Expected one of: anthropic, openai. Got "google".',
        ),
        ("advisor", {"max_uses_per_run": -1}, "max_uses_per_run -1 must be non-negative.", None),
        ("advisor", {"max_output_tokens": -1}, "max_output_tokens -1 must be non-negative.", None),
        (
            "advisor",
            {"model_config_id": NOWHERE},
            f'model_config_id "{NOWHERE}" does not match any existing model config.',
            None,
        ),
        ("workspace-ttl", {"workspace_ttl_ms": -1}, "Workspace TTL must be non-negative.", None),
        ("workspace-ttl", {"workspace_ttl_ms": 59_999}, "Workspace TTL must not be less than 1 minute.", None),
        ("workspace-ttl", {"workspace_ttl_ms": 2_592_000_001}, "Workspace TTL must not exceed 30 days.", None),
    ],
)
async def test_6_a_value_that_makes_no_sense(
    world: World, path: str, body: dict[str, Any], message: str, detail: str | None
) -> None:
    refused(await world.ask("PUT", f"/config/{path}", body, by=world.owner), 400, message, detail)


OWN = "/config/user-personal-model-overrides"


async def test_6_ones_own_models_wait_for_the_gate(world: World) -> None:
    assert (
        await world.ask("PUT", "/config/personal-model-overrides", {"allow_users": False}, by=world.owner)
    ).status_code == 204
    response = await world.ask("PUT", f"{OWN}/root", {"mode": "chat_default", "model_config_id": ""})
    refused(response, 403, "An administrator has not enabled user personal model overrides.")
    shown = (await world.ask("GET", OWN)).json()
    assert (shown["enabled"], set(shown)) == (
        False,
        {"enabled", "root", "general", "explore", "deployment_defaults"},
    )
    unset = {"model_config_id": "", "is_set": False, "is_malformed": False}
    assert shown["root"] == {"context": "root", "mode": "chat_default", **unset}
    assert shown["general"] == {"context": "general", "mode": "deployment_default", **unset}
    assert shown["deployment_defaults"]["general"]["context"] == "general"


async def test_6_ones_own_models_are_chosen_behind_an_open_gate(world: World) -> None:
    gate = await world.ask("PUT", "/config/personal-model-overrides", {"allow_users": True}, by=world.owner)
    assert gate.status_code == 204
    model = await world.model()
    body = {"mode": "model", "model_config_id": model}
    assert (await world.ask("PUT", f"{OWN}/root", body)).status_code == 204
    shown = (await world.ask("GET", OWN)).json()["root"]
    assert (shown["mode"], shown["model_config_id"], shown["is_set"]) == ("model", model, True)
    cases: tuple[tuple[str, dict[str, str], str], ...] = (
        (
            "root",
            {"mode": "chat_default", "model_config_id": model},
            "model_config_id must be empty unless mode is model.",
        ),
        (
            "root",
            {"mode": "deployment_default"},
            "deployment_default is not supported for root personal model overrides.",
        ),
        ("root", {"mode": "model"}, "model_config_id is required when mode is model."),
        ("root", {"mode": "model", "model_config_id": "x"}, "Invalid model_config_id."),
        (
            "general",
            {"mode": "model", "model_config_id": NOWHERE},
            "Invalid model_config_id: model config not found or disabled.",
        ),
        ("explore", {"mode": "sometimes"}, "Invalid personal model override mode."),
    )
    for context, asked, message in cases:
        response = await world.ask("PUT", f"{OWN}/{context}", asked)
        assert (response.status_code, response.json()["message"]) == (400, message)
    unknown = await world.ask("PUT", f"{OWN}/x", {"mode": "model"})
    detail = 'Expected one of root, general, explore. Got "x".'
    refused(unknown, 400, "Invalid chat personal model override context.", detail)


KEYS = "/api/experimental/users/me/ai-provider-keys"


async def test_5_5_a_key_of_ones_own_is_set_never_shown_and_removed(world: World) -> None:
    body = {"type": "openai", "name": "byok", "enabled": True, "base_url": "https://api.openai.com/v1"}
    provider = (await world.ask("POST", "/api/v2/ai/providers", body, by=world.owner)).json()["id"]
    put = await world.ask("PUT", f"{KEYS}/{provider}", {"api_key": "sk-own-0123456789"})
    assert (put.status_code, put.json()["has_user_api_key"], put.json()["byok_enabled"]) == (200, True, True)
    assert "sk-own" not in put.text
    golden.same("user_provider_key", put.json())
    listed = (await world.ask("GET", KEYS)).json()
    assert put.json() in listed
    by_name = await world.ask("GET", f"/api/experimental/users/{world.member.username}/ai-provider-keys")
    assert by_name.json() == listed
    cases: tuple[tuple[str, str, int, str], ...] = (
        ("x", "k", 400, "Invalid AI provider ID."),
        (NOWHERE, "k", 404, "AI provider not found."),
        (provider, "x" * 10_241, 400, "API key too large."),
        (provider, "", 400, "API key is required."),
        (provider, " k ", 400, "API key must not contain leading or trailing whitespace."),
    )
    for which, key, status, message in cases:
        response = await world.ask("PUT", f"{KEYS}/{which}", {"api_key": key})
        assert (response.status_code, response.json()["message"]) == (status, message)
    for _ in range(2):
        assert (await world.ask("DELETE", f"{KEYS}/{provider}")).status_code == 204
    assert (await world.ask("DELETE", f"{KEYS}/x")).status_code == 400
    off = await world.ask("PATCH", f"/api/v2/ai/providers/{provider}", {"enabled": False}, by=world.owner)
    assert off.status_code == 200
    refused(await world.ask("PUT", f"{KEYS}/{provider}", {"api_key": "k"}), 412, "AI provider is disabled.")


async def test_7_5_insights_are_for_those_who_run_the_deployment(world: World) -> None:
    path = "/insights/pull-requests"
    forbidden(await world.ask("GET", path))
    shown = (await world.ask("GET", path, by=world.owner)).json()
    assert (shown["summary"]["total_prs_created"], shown["summary"]["merge_rate"]) == (0, 0)
    assert [shown[key] for key in ("by_model", "recent_prs")] == [[], []]
    golden.same("insights", {**shown, "time_series": []})
    wrong = await world.ask("GET", f"{path}?colour=1", by=world.owner)
    refused(wrong, 400, "Invalid query parameters.", None, "*")
