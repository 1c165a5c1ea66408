"""wire-api.md 6: settings under `/config`. Those that came last have a module of their own."""

from typing import Any

import pytest

from tests.contracts.wire.world import BAD_JSON, NOWHERE, World, forbidden, not_found, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPTS = (
    ("system-prompt", "system_prompt", "System prompt exceeds maximum length."),
    ("plan-mode-instructions", "plan_mode_instructions", "Plan mode instructions exceed maximum length."),
    ("user-prompt", "custom_prompt", "Custom prompt exceeds maximum length."),
)
DAYS = (
    ("retention-days", "retention_days", 30, "Retention days"),
    ("debug-retention-days", "debug_retention_days", 30, "Chat debug retention days"),
    ("auto-archive-days", "auto_archive_days", 0, "Auto-archive days"),
)
# (path, body, who may write, who may not read): everybody else gets 403 on a write.
GUARDED = (
    ("system-prompt", {"system_prompt": "x"}, True),
    ("plan-mode-instructions", {"plan_mode_instructions": "x"}, True),
    ("model-override/general", {"model_config_id": ""}, True),
    ("debug-logging", {"allow_users": False}, True),
    ("retention-days", {"retention_days": 30}, False),
    ("debug-retention-days", {"debug_retention_days": 30}, False),
    ("auto-archive-days", {"auto_archive_days": 0}, False),
)


@pytest.mark.parametrize(("path", "body", "hidden"), GUARDED)
async def test_6_others_may_not_write_and_are_not_told_what_they_may_not_read(
    world: World, path: str, body: dict[str, Any], hidden: bool
) -> None:
    for person in (world.member, world.boss, world.outsider):
        forbidden(await world.ask("PUT", f"/config/{path}", body, by=person))
        response = await world.ask("GET", f"/config/{path}", by=person)
        if hidden:
            not_found(response)
        else:
            assert response.status_code == 200
    forbidden(await world.ask("PUT", f"/config/{path}", body, by=world.auditor))
    written = await world.ask("PUT", f"/config/{path}", body, by=world.owner)
    assert (written.status_code, written.content) == (204, b"")
    assert (await world.ask("GET", f"/config/{path}", by=world.owner)).status_code == 200


@pytest.mark.parametrize("path", [path for path, _, _ in GUARDED])
async def test_6_a_body_that_is_no_json(world: World, path: str) -> None:
    refused(await world.ask("PUT", f"/config/{path}", content=b"{", by=world.owner), 400, BAD_JSON, "*")


@pytest.mark.parametrize(("path", "field", "message"), PROMPTS)
async def test_6_prompts_are_kept_sanitised_and_bounded(world: World, path: str, field: str, message: str) -> None:
    written = await world.ask("PUT", f"/config/{path}", {field: "be\u200b brief"}, by=world.owner)
    shown = (await world.ask("GET", f"/config/{path}", by=world.owner)).json()
    assert shown[field] == "be brief"
    if path == "user-prompt":
        assert (written.status_code, written.json()) == (200, {field: "be brief"})
    else:
        assert (written.status_code, written.content) == (204, b"")
    longest = "x" * 131_072
    assert (await world.ask("PUT", f"/config/{path}", {field: longest}, by=world.owner)).is_success
    too_long = await world.ask("PUT", f"/config/{path}", {field: longest + "x"}, by=world.owner)
    refused(too_long, 400, message, "Maximum length is 131072 bytes, got 131073.")
    assert (await world.ask("PUT", f"/config/{path}", {field: ""}, by=world.owner)).is_success


async def test_6_whether_the_default_prompt_is_included_stays_when_absent(world: World) -> None:
    path = "/config/system-prompt"
    before = (await world.ask("GET", path, by=world.owner)).json()
    assert before["default_system_prompt"]
    body = {"system_prompt": "", "include_default_system_prompt": False}
    assert (await world.ask("PUT", path, body, by=world.owner)).status_code == 204
    assert (await world.ask("PUT", path, {"system_prompt": "x"}, by=world.owner)).status_code == 204
    shown = (await world.ask("GET", path, by=world.owner)).json()
    assert (shown["system_prompt"], shown["include_default_system_prompt"]) == ("x", False)


async def test_6_ones_own_prompt_is_ones_own(world: World) -> None:
    await world.ask("PUT", "/config/user-prompt", {"custom_prompt": "mine"})
    assert (await world.ask("GET", "/config/user-prompt", by=world.other)).json() == {"custom_prompt": ""}


@pytest.mark.parametrize("context", ["general", "explore", "title_generation"])
async def test_6_a_model_is_chosen_for_a_purpose_and_unset(world: World, context: str) -> None:
    path, model = f"/config/model-override/{context}", await world.model()
    assert (await world.ask("PUT", path, {"model_config_id": model}, by=world.owner)).status_code == 204
    shown = (await world.ask("GET", path, by=world.auditor)).json()
    assert shown == {"context": context, "model_config_id": model, "is_malformed": False}
    for bad in ("nonsense", NOWHERE):
        response = await world.ask("PUT", path, {"model_config_id": bad}, by=world.owner)
        detail = 'Value "nonsense" is not a valid UUID.' if bad == "nonsense" else "*"
        refused(response, 400, "Invalid model_config_id.", detail)
    assert (await world.ask("PUT", path, {"model_config_id": ""}, by=world.owner)).status_code == 204
    assert (await world.ask("GET", path, by=world.owner)).json()["model_config_id"] == ""


async def test_6_a_purpose_that_there_is_not(world: World) -> None:
    detail = 'Expected one of general, explore, title_generation. Got "x".'
    for method, body in (("GET", None), ("PUT", {"model_config_id": ""})):
        response = await world.ask(method, "/config/model-override/x", body, by=world.owner)
        refused(response, 400, "Invalid chat model override context.", detail)


async def test_6_debug_logging_has_a_gate_and_a_switch_of_ones_own(world: World) -> None:
    gate, own = "/config/debug-logging", "/config/user-debug-logging"
    assert (await world.ask("PUT", gate, {"allow_users": False}, by=world.owner)).status_code == 204
    closed = {"debug_logging_enabled": False, "user_toggle_allowed": False, "forced_by_deployment": False}
    assert (await world.ask("GET", own)).json() == closed
    refused(
        await world.ask("PUT", own, {"debug_logging_enabled": True}),
        403,
        "An administrator has not enabled user-controlled chat debug logging.",
    )
    assert (await world.ask("PUT", gate, {"allow_users": True}, by=world.owner)).status_code == 204
    assert (await world.ask("PUT", own, {"debug_logging_enabled": True})).status_code == 204
    assert (await world.ask("GET", own)).json() == {
        **closed,
        "debug_logging_enabled": True,
        "user_toggle_allowed": True,
    }


@pytest.mark.parametrize(("path", "field", "default", "what"), DAYS)
async def test_6_days_are_0_to_3650(world: World, path: str, field: str, default: int, what: str) -> None:
    address = f"/config/{path}"
    assert (await world.ask("GET", address, by=world.outsider)).json() == {field: default}
    for days in (0, 3650):
        assert (await world.ask("PUT", address, {field: days}, by=world.owner)).status_code == 204
        assert (await world.ask("GET", address)).json() == {field: days}
    for days in (-1, 3651):
        response = await world.ask("PUT", address, {field: days}, by=world.owner)
        refused(response, 400, f"{what} must be between 0 and 3650.")
    await world.ask("PUT", address, {field: default}, by=world.owner)


async def test_6_ones_own_compaction_thresholds(world: World) -> None:
    path, model = "/config/user-compaction-thresholds", await world.model()
    assert (await world.ask("GET", path)).json() == {"thresholds": []}
    for percent in (0, 100, 42):
        set_to = await world.ask("PUT", f"{path}/{model}", {"threshold_percent": percent})
        assert (set_to.status_code, set_to.json()) == (200, {"model_config_id": model, "threshold_percent": percent})
    assert (await world.ask("GET", path)).json() == {
        "thresholds": [{"model_config_id": model, "threshold_percent": 42}]
    }
    for percent, tag in ((-1, "min"), (101, "max")):
        response = await world.ask("PUT", f"{path}/{model}", {"threshold_percent": percent})
        detail = f'Validation failed for tag "{tag}" with value: "{percent}"'
        assert (response.status_code, response.json()) == (
            400,
            {"message": "Validation failed.", "validations": [{"field": "threshold_percent", "detail": detail}]},
        )
    not_found(await world.ask("PUT", f"{path}/{NOWHERE}", {"threshold_percent": 5}))
    for method, body in (("PUT", {"threshold_percent": 5}), ("DELETE", None)):
        bad = await world.ask(method, f"{path}/nonsense", body)
        assert (bad.status_code, bad.json()["message"]) == (400, "Invalid chat model config ID.")
    for _ in range(2):
        assert (await world.ask("DELETE", f"{path}/{model}")).status_code == 204
