"""The laws of the tools that make, start and stop workspaces: each thing once, waited for by nobody, told exactly."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from activities import workshop
from activities.mailbox import Mailbox
from activities.tools.create_workspace import COMPLETED, EXISTS, EXTERNAL, STOPPED, create_workspace
from activities.tools.endings import Event, Pause, Paused, ToolFailed
from activities.tools.list_templates import ASK, CHOOSE, NONE, list_templates
from activities.tools.read_template import read_template
from activities.tools.start_workspace import start_workspace
from activities.tools.stop_workspace import stop_workspace
from activities.tools.tool import Tool, ToolContext
from activities.workshop import Workshop
from models.errors import Forbidden, NotFound
from models.store import preferences
from models.store.database import fetch
from models.tables.people import Organization
from tests.activities.stack import Stack
from tests.models.store.chats import born, opened
from tests.places import CIPHER, build, ended, here, template
from tests.seeds import insert


class Caller:
    """A chat at work, whose calls are run as a worker runs them: again after each pause, with what they remember."""

    def __init__(self, stack: Stack, chat_id: UUID) -> None:
        self.stack = stack
        self.chat_id = chat_id
        self.chat = {"id": chat_id, "organization_id": stack.world.organization_id}
        self.place = Workshop(
            stack.database, Mailbox(stack.database), secrets=CIPHER, temporal=stack.temporal
        )  # listens to nothing

    def context(self, call_id: str = "", memory: Mapping[str, Any] | None = None) -> ToolContext:
        owner, settings = self.stack.world.owner_id, self.stack.settings
        call_id = call_id or f"call-{uuid4()}"
        return ToolContext(
            self.chat_id, 1, owner, call_id, settings, chat=self.chat, workshop=self.place, memory=memory or {}
        )

    async def use(self, tool: Tool, context: ToolContext | None = None, **arguments: Any) -> Any:
        return await tool.run(tool.arguments.model_validate(arguments), context or self.context())

    async def pause(self, tool: Tool, context: ToolContext, **arguments: Any) -> Pause:
        with pytest.raises(Paused) as paused:
            await self.use(tool, context, **arguments)
        return paused.value.pause

    async def again(self, tool: Tool, context: ToolContext, pause: Pause, **arguments: Any) -> Any:
        return await self.use(tool, self.context(context.tool_call_id, pause.memory), **arguments)

    async def end(self, build_id: UUID, status: str = "succeeded", **more: Any) -> None:
        async with self.stack.database.begin() as session:
            await ended(session, build_id, status, **more)

    async def rows(self, query: str) -> list[Any]:
        async with self.stack.database.begin() as session:
            return await fetch(session, query)

    async def bound(self) -> dict[str, Any]:
        [row] = await self.rows("SELECT workspace_id, build_id, agent_id FROM chats")
        return dict(row)


@pytest.fixture
async def caller(stack: Stack) -> Caller:
    chat_id = await born(stack.database, stack.world)
    await opened(stack.database, chat_id)
    return Caller(stack, chat_id)


@pytest.fixture
async def local(stack: Stack) -> UUID:
    parameters = [{"name": "size", "type": "number", "validation_min": 1, "default_value": "1", "required": False}]
    presets = [{"name": "Big", "parameters": {"size": "9"}, "is_default": True}]
    async with stack.database.begin() as session:
        return await template(
            session, stack.world, "local", parameters_=parameters, presets=presets, readme="# Local\n" + "x" * 9000
        )


async def test_a_workspace_is_made_bound_at_once_and_told_when_its_agent_is_ready(caller: Caller, local: UUID) -> None:
    context = caller.context()
    arguments = {"template_id": str(local), "name": "My Place!"}
    first = await caller.pause(create_workspace, context, **arguments)
    bound = await caller.bound()
    assert (first.event, first.id) == (Event.BUILD_OVER, bound["build_id"])
    assert timedelta(minutes=9) < first.patience <= timedelta(minutes=10)
    assert bound["agent_id"] is None
    await caller.end(first.id)
    second = await _paused(caller.again(create_workspace, context, first, **arguments))
    assert second.event is Event.AGENT_CONNECTED
    assert second.patience <= timedelta(minutes=2)
    async with caller.stack.database.begin() as session:
        await here(session, bound["workspace_id"], "starting")
    third = await _paused(caller.again(create_workspace, context, second, **arguments))
    assert (third.event, third.id) == (Event.AGENT_READY, second.id)
    async with caller.stack.database.begin() as session:
        await here(session, bound["workspace_id"])
    told = await caller.again(create_workspace, context, third, **arguments)
    name = told.pop("workspace_name")
    assert told == {"created": True, "build_id": str(first.id), "agent_status": "ready"}
    assert re.fullmatch(r"my-place-[0-9a-f]{4}", name)
    assert (await caller.bound())["agent_id"] == second.id
    again = await caller.use(create_workspace, **arguments)
    assert again == {
        "created": False,
        "workspace_name": name,
        "status": "already_exists",
        "message": EXISTS,
        "agent_status": "ready",
    }


async def test_whoever_dies_after_making_a_workspace_the_call_makes_no_other(caller: Caller, local: UUID) -> None:
    await caller.rows(
        "INSERT INTO tool_executions (chat_id, message_id, tool_call_id, tool_name, policy, state)"
        " SELECT id, 1, 'c', 'create_workspace', 'idempotent', 'claimed' FROM chats"
    )
    first = await caller.pause(create_workspace, caller.context("c"), template_id=str(local), name="place")
    [kept] = await caller.rows("SELECT progress->'memory' AS memory FROM tool_executions")
    await caller.end(first.id)
    second = await caller.pause(create_workspace, caller.context("c", kept["memory"]), template_id=str(local))
    assert second.memory["told"] == {"created": True, "workspace_name": "place", "build_id": str(first.id)}
    assert len(await caller.rows("SELECT id FROM workspaces")) == 1


async def test_a_build_that_does_not_end_well_is_told_and_the_binding_stays(caller: Caller, local: UUID) -> None:
    context = caller.context()
    pause = await caller.pause(create_workspace, context, template_id=str(local), name="place")
    late = {**pause.memory, "until": {Event.BUILD_OVER: 0}}
    with pytest.raises(ToolFailed, match="did not end within 10 minutes") as told:
        await caller.use(create_workspace, caller.context(context.tool_call_id, late), template_id=str(local))
    assert told.value.facts == {"workspace_name": "place", "build_id": str(pause.id)}
    await caller.end(pause.id, "failed", error="no room", error_code="FULL")
    with pytest.raises(ToolFailed, match="the workspace build failed: no room") as told:
        await caller.again(create_workspace, context, pause, template_id=str(local))
    assert told.value.facts["code"] == "FULL"
    assert (await caller.bound())["build_id"] == pause.id
    with pytest.raises(ToolFailed, match=re.escape(workshop.NO_AGENT)):
        await caller.place.home(caller.chat_id)
    other = await caller.pause(create_workspace, caller.context(), template_id=str(local))
    assert other.id != pause.id, "one that could not be built is replaced"
    await caller.end(other.id, "canceled")
    with pytest.raises(ToolFailed, match="was canceled"):
        await caller.use(create_workspace, caller.context("x", other.memory), template_id=str(local))


async def test_an_agent_that_does_not_come_or_does_not_become_ready_fails_no_build(caller: Caller, local: UUID) -> None:
    pause = await caller.pause(create_workspace, caller.context(), template_id=str(local), name="place")
    await caller.end(pause.id)
    late = {**pause.memory, "until": {Event.AGENT_CONNECTED: 0, Event.AGENT_READY: 0}}

    async def told() -> dict[str, Any]:
        result = await caller.use(create_workspace, caller.context("c", late), template_id=str(local))
        return {key: result[key] for key in result if key not in ("created", "workspace_name", "build_id")}

    assert await told() == {"agent_status": "not_ready", "agent_error": workshop.NEVER_CAME}
    await caller.rows("UPDATE workspace_agents SET external = true")
    assert await told() == {"agent_status": "not_ready", "agent_error": workshop.EXTERNAL}
    workspace_id = (await caller.bound())["workspace_id"]
    for state, said in (("starting", "startup_scripts_timeout"), ("start_error", "startup_scripts_failed")):
        async with caller.stack.database.begin() as session:
            await here(session, workspace_id, state)
        assert await told() == {"startup_scripts": said, "lifecycle_state": state}
    await caller.rows("UPDATE workspace_agents SET name = 'a-coderd-chat'")
    await caller.rows(
        "INSERT INTO workspace_agents (id, build_id, workspace_id, name, hashed_token, sealed_token)"
        " SELECT gen_random_uuid(), build_id, workspace_id, 'b-coderd-chat', '\\x00', '' FROM workspace_agents"
    )
    assert (await told())["agent_status"] == "selection_error"
    await caller.rows("DELETE FROM workspace_agents")
    assert await told() == {"agent_status": "no_agent"}


async def test_a_workspace_that_is_being_built_is_waited_for_and_a_stopped_one_is_not_replaced(
    caller: Caller, local: UUID
) -> None:
    first = await caller.pause(create_workspace, caller.context(), template_id=str(local), name="place")
    other = caller.context()
    second = await caller.pause(create_workspace, other, template_id=str(local))
    assert second.id == first.id
    await caller.end(first.id)
    workspace_id = (await caller.bound())["workspace_id"]
    async with caller.stack.database.begin() as session:
        await here(session, workspace_id)
    assert await caller.again(create_workspace, other, second, template_id=str(local)) == {
        "created": False,
        "workspace_name": "place",
        "status": "already_exists",
        "build_id": str(first.id),
        "message": COMPLETED,
        "agent_status": "ready",
    }
    async with caller.stack.database.begin() as session:
        stopping = (await build(session, workspace_id, "stop")).build["id"]
    third = caller.context()
    waits = await caller.pause(create_workspace, third, template_id=str(local))
    assert (waits.event, waits.id) == (Event.BUILD_OVER, stopping)
    await caller.end(stopping)
    assert await caller.again(create_workspace, third, waits, template_id=str(local)) == {
        "created": False,
        "workspace_name": "place",
        "status": "stopped",
        "message": STOPPED,
    }
    assert len(await caller.rows("SELECT id FROM workspaces")) == 1
    for gone in ("UPDATE workspaces SET deleted = true", "UPDATE workspace_builds SET status = 'failed'"):
        await caller.rows(gone)
        await caller.pause(create_workspace, caller.context(), template_id=str(local))
    assert len(await caller.rows("SELECT id FROM workspaces")) == 3


async def test_a_workspace_whose_agent_is_gone_is_replaced(caller: Caller, local: UUID) -> None:
    first = await caller.pause(create_workspace, caller.context(), template_id=str(local))
    await caller.end(first.id)
    await caller.rows("UPDATE workspace_agents SET last_seen_at = now() - interval '1 minute'")
    second = await caller.pause(create_workspace, caller.context(), template_id=str(local))
    assert second.id != first.id


async def test_a_workspace_is_started_and_stopped_once_and_by_nobody_twice(caller: Caller, local: UUID) -> None:
    for tool in (start_workspace, stop_workspace):
        with pytest.raises(ToolFailed, match=re.escape(workshop.NO_WORKSPACE)):
            await caller.use(tool)
    made = await caller.pause(create_workspace, caller.context(), template_id=str(local), name="place")
    waits = await caller.pause(stop_workspace, stopping := caller.context())
    assert waits.id == made.id, "it waits for the start to end"
    await caller.end(made.id)
    stop = await _paused(caller.again(stop_workspace, stopping, waits))
    assert stop.id != made.id
    also = await caller.pause(stop_workspace, caller.context())
    assert also.id == stop.id, "two who stop it stop it once"
    await caller.end(stop.id)
    expected = {"stopped": True, "workspace_name": "place", "build_id": str(stop.id)}
    assert await caller.again(stop_workspace, stopping, stop) == expected
    assert await caller.use(stop_workspace) == {"stopped": True, "workspace_name": "place", "no_build": True}
    start = await caller.pause(start_workspace, starting := caller.context())
    await caller.end(start.id)
    workspace_id = (await caller.bound())["workspace_id"]
    async with caller.stack.database.begin() as session:
        await here(session, workspace_id)
    expected = {"started": True, "workspace_name": "place", "build_id": str(start.id), "agent_status": "ready"}
    assert await caller.again(start_workspace, starting, start) == expected
    running = {"started": True, "workspace_name": "place", "no_build": True, "agent_status": "ready"}
    assert await caller.use(start_workspace) == running
    await caller.rows("UPDATE workspaces SET deleted = true")
    with pytest.raises(ToolFailed, match=re.escape(workshop.DELETED)):
        await caller.use(start_workspace)


async def test_what_cannot_be_made_says_which_value_is_wrong(caller: Caller, local: UUID) -> None:
    for template_id, why in (("local", "is not a UUID"), (str(uuid4()), "was not found")):
        with pytest.raises(ToolFailed, match=why):
            await caller.use(create_workspace, template_id=template_id)
    with pytest.raises(ToolFailed) as told:
        await caller.use(create_workspace, template_id=str(local), parameters={"size": "0", "colour": "red"})
    assert {each["field"] for each in told.value.facts["validations"]} >= {"size"}
    async with caller.stack.database.begin() as session:
        external = await template(session, caller.stack.world, "mine", provisioner="external")
        await preferences.put_site(session, {"agents_workspace_ttl": "3600000"})
    with pytest.raises(ToolFailed, match=re.escape(EXTERNAL)):
        await caller.use(create_workspace, template_id=str(external))
    assert (await caller.bound())["workspace_id"] is None
    assert await caller.rows("SELECT id FROM workspaces") == []
    await caller.pause(create_workspace, caller.context(), template_id=str(local), name="taken")
    assert await caller.rows("SELECT ttl_ms FROM workspaces") == [{"ttl_ms": 3_600_000}]
    await caller.rows("UPDATE chats SET workspace_id = NULL")
    with pytest.raises(ToolFailed, match='"taken" already exists'):
        await caller.use(create_workspace, template_id=str(local), name="taken")


async def test_what_is_built_is_what_the_chats_owner_may_build_now(caller: Caller, local: UUID) -> None:
    """As the API would tell them; nothing is written."""

    async def refused(tool: Tool, **arguments: Any) -> str:
        with pytest.raises(ToolFailed) as told:
            await caller.use(tool, **arguments)
        return str(told.value)

    made = await caller.pause(create_workspace, caller.context(), template_id=str(local), name="place")
    await caller.end(made.id)
    for change, said in (
        ("UPDATE users SET status = 'suspended'", Forbidden.default_message),
        ("UPDATE users SET status = 'active', deleted = true", Forbidden.default_message),
        ("UPDATE users SET deleted = false, roles = '{}'; DELETE FROM organization_members", NotFound.default_message),
    ):
        for statement in change.split("; "):
            await caller.rows(statement)
        assert await refused(stop_workspace) == said
    await caller.rows("UPDATE chats SET workspace_id = NULL")
    assert await refused(create_workspace, template_id=str(local)) == Forbidden.default_message
    await caller.rows("UPDATE users SET roles = '{owner}'")
    assert "must be a member" in await refused(create_workspace, template_id=str(local))
    assert len(await caller.rows("SELECT id FROM workspace_builds")) == 1


async def test_a_model_reaches_no_template_of_another_organization(caller: Caller, local: UUID) -> None:
    elsewhere = Organization(name="elsewhere", display_name="Elsewhere")
    async with caller.stack.database.begin() as session:
        await insert(session, elsewhere)
        theirs = await template(session, replace(caller.stack.world, organization_id=elsewhere.id), "theirs")
    for tool in (create_workspace, read_template):
        with pytest.raises(ToolFailed, match="was not found"):
            await caller.use(tool, template_id=str(theirs))
    assert [each["id"] for each in (await caller.use(list_templates))["templates"]] == [str(local)]
    assert await caller.rows("SELECT id FROM workspaces") == []


async def test_templates_are_listed_by_what_fits_and_what_is_used(caller: Caller, local: UUID) -> None:
    world, database = caller.stack.world, caller.stack.database
    async with database.begin() as session:
        go = await template(session, world, "go-service")
        gone = await template(session, world, "old")
        await fetch(session, "UPDATE templates SET deprecated = 'use go' WHERE id = %(id)s", {"id": gone})
        for number in range(10):
            await template(session, world, f"more-{number}")
    first = await caller.use(list_templates)
    assert (first["count"], first["total_count"], first["total_pages"], first["next_page"]) == (10, 12, 2, 2)
    assert first["next_step"] == ASK
    second = await caller.use(list_templates, page=2)
    names = [each["name"] for each in first["templates"] + second["templates"]]
    assert names == sorted(names)
    assert "next_page" not in second
    sought = await caller.use(list_templates, query="GO")
    assert [each["name"] for each in sought["templates"]] == ["go-service"]
    assert (sought["recommended_template_id"], sought["next_step"]) == (str(go), CHOOSE)
    await caller.pause(create_workspace, caller.context(), template_id=str(local))
    used = await caller.use(list_templates)
    assert (used["templates"][0]["id"], used["recommended_template_id"]) == (str(local), str(local))
    async with database.begin() as session:
        await preferences.put_site(session, {"agents_template_allowlist": f'["{go}"]'})
    assert [each["name"] for each in (await caller.use(list_templates))["templates"]] == ["go-service"]
    with pytest.raises(ToolFailed, match="was not found"):
        await caller.use(read_template, template_id=str(local))
    async with database.begin() as session:
        await preferences.put_site(session, {"agents_template_allowlist": f'["{uuid4()}"]'})
    assert (await caller.use(list_templates))["next_step"] == NONE


async def test_a_template_is_read_with_what_may_be_chosen(caller: Caller, local: UUID) -> None:
    told = await caller.use(read_template, template_id=str(local))
    assert told["template"]["name"] == "local"
    [parameter] = told["parameters"]
    assert parameter | {"validation": 0} == {
        "name": "size",
        "type": "number",
        "required": False,
        "mutable": parameter["mutable"],
        "default": "1",
        "validation": 0,
    }
    assert parameter["validation"]["min"] == 1
    [preset] = told["presets"]
    assert (preset["name"], preset["default"]) == ("Big", True)
    assert preset["parameters"] == [{"name": "size", "value": "9"}]
    assert len(told["readme"]) == 8000
    made = await caller.pause(create_workspace, caller.context(), template_id=str(local), preset_id=preset["id"])
    [row] = await caller.rows(f"SELECT parameters FROM workspace_builds WHERE id = '{made.id}'")
    assert row["parameters"] == {"size": "9"}


async def _paused(work: Any) -> Pause:
    with pytest.raises(Paused) as paused:
        await work
    return paused.value.pause
