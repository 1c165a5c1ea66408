"""The laws of sub-agents' beginnings: each chat made once, whole, or not at all."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from activities.tools.endings import ToolFailed
from activities.tools.spawn_agent import Arguments, Wanted, spawn_agent
from activities.tools.tool import Where, where
from models.parts import text
from models.rules import instructions, model_choice
from models.rules.sub_agents import KINDS
from models.store import moves, personal_models
from models.store.database import fetch
from models.store.reserving import STARTS
from models.tables.budgets import Budget
from models.tables.catalog import AIProvider, ModelConfig
from tests.activities.mcp_place import configured
from tests.activities.parents import Parent, at_work, gone_on, stopped, suspended
from tests.activities.stack import Stack
from tests.models.store.chats import born
from tests.models.store.families import row_of, until_somebody_waits
from tests.seeds import insert
from tests.workplace import furnish


@pytest.fixture
async def parent(stack: Stack) -> Parent:
    return await at_work(stack)


async def another_model(stack: Stack, **more: Any) -> UUID:
    model = ModelConfig(ai_provider_id=stack.world.provider_id, model="other", context_limit=1000, options={}, **more)
    async with stack.database.begin() as session:
        await insert(session, model)
    return model.id


@pytest.mark.parametrize("kind", ["general", "explore"])
async def test_a_sub_agents_chat_is_made_whole_where_its_parent_works(stack: Stack, kind: str) -> None:
    owner, organization = stack.world.owner_id, stack.world.organization_id
    place = await furnish(stack.database, owner, organization)
    more = {"client_type": "ui", "plan_mode": "plan", "build_id": place.build_id, "agent_id": place.agent_id}
    parent = await at_work(stack, workspace_id=place.workspace_id, **more)
    await parent.site(**{instructions.SYSTEM_PROMPT: "We are Acme.", instructions.INCLUDE_DEFAULT: "false"})
    told = await parent.spawn(kind, "one two three four five six seven")
    [child] = await parent.children()
    title = "one two three four five six\u2026"
    assert told == {"chat_id": str(child["id"]), "title": title, "status": "pending", "type": kind}
    assert (child["parent_chat_id"], child["root_chat_id"]) == (parent.id, parent.id)
    kept = ("owner_id", "organization_id", "workspace_id", "build_id", "agent_id", "client_type")
    assert {name: child[name] for name in kept} == {name: parent.chat[name] for name in kept}
    assert (child["labels"], child["dynamic_tools"], child["pin_order"]) == ({}, None, 0)
    explores = kind == "explore"
    assert (child["mode"], child["plan_mode"]) == (("explore", None) if explores else (None, "plan"))
    assert where(child) is (Where.EXPLORE if explores else Where.CHILD_PLAN)
    rows = await parent.rows("SELECT * FROM chat_messages WHERE chat_id = %(id)s ORDER BY id", id=child["id"])
    assert [(row["role"], row["visibility"]) for row in rows] == [
        ("system", "model"), ("system", "model"), ("user", "both"),
    ]  # fmt: skip
    assert rows[0]["content"][0]["text"] == "We are Acme."
    assert rows[1]["content"][0]["text"] == instructions.ATTACHED
    assert rows[2]["content"] == [text("one two three four five six seven")]
    [entry] = await parent.rows("SELECT * FROM audit_logs WHERE resource_id = %(id)s", id=child["id"])
    assert (entry["action"], entry["user_id"]) == ("create", owner)
    assert entry["details"]["automatic_subsystem"] == "sub_agents"
    assert entry["details"]["parent_chat_id"] == str(parent.id)


async def test_the_same_call_made_again_or_at_once_makes_one_sub_agent(parent: Parent) -> None:
    context = await parent.context(spawn_agent)
    arguments = {"type": "general", "prompt": "look", "title": "  The\n look "}
    together = await asyncio.gather(*(parent.use(spawn_agent, context, **arguments) for _ in range(4)))
    again = await parent.use(spawn_agent, context, **arguments)
    [child] = await parent.children()
    assert {each["chat_id"] for each in (*together, again)} == {str(child["id"])}
    assert child["title"] == "The look"
    assert await parent.rows("SELECT id FROM audit_logs WHERE resource_id = %(id)s", id=child["id"])
    assert (await parent.spawn())["chat_id"] != str(child["id"]), "another call is another sub-agent"


async def spent(parent: Parent) -> None:
    organization = parent.chat["organization_id"]
    budget = Budget(organization_id=organization, scope="chat", scope_id=parent.id, limit_micros=1, warn_percents=[])
    async with parent.stack.database.begin() as session:
        await insert(session, budget)
        period = f"SELECT b.id, {STARTS}, 1 FROM budgets b"
        await fetch(session, f"INSERT INTO budget_periods (budget_id, starts_on, settled_micros) {period}")


async def a_child(parent: Parent) -> None:
    root = await born(parent.stack.database, parent.stack.world)
    await parent.rows("UPDATE chats SET parent_chat_id = %(root)s WHERE id = %(id)s", root=root, id=parent.id)


async def crowded(parent: Parent) -> None:
    parent.stack.settings = parent.stack.settings.model_copy(update={"children_at_once": 1})
    await parent.spawn()


async def exhausted(parent: Parent) -> None:
    parent.stack.settings = parent.stack.settings.model_copy(update={"children_per_chat": 1})
    await parent.answered(await parent.spawn(), "done")


async def as_it_is(_parent: Parent) -> None:
    pass


@pytest.mark.parametrize(
    ("arrange", "arguments", "why"),
    [
        (as_it_is, {"kind": "tester"}, "unknown type 'tester': it must be one of general, explore"),
        (as_it_is, {"prompt": " \n"}, "prompt is required"),
        (as_it_is, {"model_config_id": "gpt"}, "invalid model_config_id"),
        (as_it_is, {"model_config_id": str(UUID(int=7))}, "there is no model config"),
        (suspended, {}, "Forbidden"),
        (spent, {}, "Chat usage limit exceeded"),
        (stopped, {}, "the turn was stopped"),
        (gone_on, {}, "the turn was stopped"),
        (a_child, {}, "cannot have sub-agents of its own"),
        (crowded, {}, "1 sub-agents are at work, and no more than 1 may be at once"),
        (exhausted, {}, "this chat has had 1 sub-agents, and may not have more"),
    ],
)  # fmt: skip
async def test_what_may_not_be_spawned_is_refused_before_there_is_a_chat(
    parent: Parent, arrange: Callable[[Parent], Any], arguments: dict[str, Any], why: str
) -> None:
    await arrange(parent)
    chats = await parent.rows("SELECT id FROM chats")
    context = parent.resumed("c0", {})
    given = {"type": arguments.pop("kind", "general"), "prompt": "look", **arguments}
    with pytest.raises(ToolFailed) as refused:
        await parent.use(spawn_agent, context, **given)
    assert why.lower() in str(refused.value).lower()
    assert await parent.rows("SELECT id FROM chats") == chats


async def test_sub_agents_of_one_step_are_never_more_than_may_be(parent: Parent) -> None:
    parent.stack.settings = parent.stack.settings.model_copy(update={"children_at_once": 3})
    came = await asyncio.gather(*(parent.spawn() for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(each, ToolFailed) for each in came) == 3
    assert len(await parent.children()) == 3


async def test_a_root_that_is_archived_as_it_spawns_takes_the_sub_agent_with_it(parent: Parent) -> None:
    database = parent.stack.database
    arguments = spawn_agent.arguments.model_validate({"type": "general", "prompt": "look"})
    assert isinstance(arguments, Arguments)
    wanted = Wanted(arguments, KINDS["general"], None, await parent.context(spawn_agent))

    async def archive() -> None:
        async with database.begin() as session:
            await moves.hold_family(session, parent.id)
            await moves.archive(session, parent.id)

    async with database.begin() as session:
        await wanted.made(session)
        archiving = asyncio.create_task(archive())
        await until_somebody_waits(database)
    await archiving
    [child] = await parent.children()
    assert (child["archived"], child["status"]) == (True, "interrupting")
    with pytest.raises(ToolFailed, match="the turn was stopped"):
        await parent.use(spawn_agent, parent.resumed("c0", {}), type="general", prompt="look")


CHOICES = [  # a person's, whether it counts, an administrator's, the call's: the one that holds
    ("", True, "", "", "parent"),
    ("", True, "second", "", "second"),
    ("third", True, "second", "", "third"),
    ("third", False, "second", "", "second"),
    ("third", True, "second", "second", "second"),
    (model_choice.CHAT_DEFAULT, True, "second", "", "parent"),
    (model_choice.DEPLOYMENT_DEFAULT, True, "second", "", "second"),
    ("off", True, "second", "", "parent"),
    ("", True, "off", "", "parent"),
    ("", True, "keyless", "", "parent"),
]


async def test_a_sub_agents_model_is_named_or_chosen_by_its_owner_or_by_administrators_or_its_parents(
    parent: Parent,
) -> None:
    stack = parent.stack
    strange = AIProvider(type="openai", name="other", enabled=True, base_url="")
    keyless = ModelConfig(ai_provider_id=strange.id, model="x", context_limit=1000, options={})
    async with stack.database.begin() as session:
        await insert(session, strange, keyless)
    ids = {
        "parent": stack.world.model_config_id,
        "second": await another_model(stack),
        "third": await another_model(stack),
        "off": await another_model(stack, enabled=False),
        "keyless": keyless.id,
    }
    for own, allowed, deployment, explicit, expected in CHOICES:
        async with stack.database.begin() as session:
            await personal_models.allow(session, allowed)
            word = str(ids.get(own, own)) or model_choice.DEPLOYMENT_DEFAULT
            await personal_models.choose(session, stack.world.owner_id, "explore", word)
        await parent.site(**{model_choice.deployment_key("explore"): str(ids.get(deployment, ""))})
        child = await parent.spawn("explore", model_config_id=str(ids.get(explicit, "")))
        row = await row_of(stack.database, UUID(child["chat_id"]))
        assert row["last_model_config_id"] == ids[expected], (own, allowed, deployment, explicit)
    for name, why in (("off", "is disabled"), ("keyless", "there is no key")):
        with pytest.raises(ToolFailed, match=why):
            await parent.use(spawn_agent, type="general", prompt="look", model_config_id=str(ids[name]))


@pytest.mark.parametrize("plan_mode", [None, "plan"])
async def test_who_explores_has_for_good_the_servers_that_its_parent_had(stack: Stack, plan_mode: str | None) -> None:
    database, settings, owner = stack.database, stack.settings, stack.world.owner_id
    ids: dict[str, UUID] = {}
    for name, more in {
        "chosen": {},
        "planning": {"allow_in_plan_mode": True},
        "forced": {"availability": "force_on"},
        "forced_off": {"availability": "force_on", "enabled": False},
        "unchosen": {},
    }.items():
        ids[name] = await configured(database, settings, owner, "http://127.0.0.1:9/mcp", slug=name, **more)
    chosen = [ids["chosen"], ids["planning"]]
    parent = await at_work(stack, mcp_server_ids=chosen, plan_mode=plan_mode)
    await parent.spawn("explore")
    await parent.spawn("general")
    explores, general = await parent.children()
    expected = {"planning"} if plan_mode else {"chosen", "planning", "forced"}
    assert set(explores["mcp_server_ids"]) == {ids[name] for name in expected}
    assert general["mcp_server_ids"] == chosen
