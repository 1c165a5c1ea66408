"""The laws of the tools that have to do with sub-agents: each chat made once, whole, or not at all; each move once."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from activities.mailbox import Mailbox
from activities.tools.endings import Event, Pause, Paused, ToolFailed
from activities.tools.interrupt_agent import interrupt_agent
from activities.tools.list_agents import list_agents
from activities.tools.message_agent import message_agent
from activities.tools.spawn_agent import Arguments, Wanted, spawn_agent
from activities.tools.tool import Tool, ToolContext, Where, where
from activities.tools.wait_agent import wait_agent
from activities.workshop import Workshop
from models.parts import text
from models.rules import instructions, model_choice
from models.rules.executions import Policy
from models.rules.states import State
from models.rules.sub_agents import KINDS
from models.store import children, ledger, moves, personal_models, preferences
from models.store.database import fetch
from models.store.ledger import Intent
from models.store.reserving import STARTS
from models.store.stream import Episode
from models.tables.budgets import Budget
from models.tables.catalog import AIProvider, ModelConfig
from tests.activities.mcp_place import configured
from tests.activities.stack import Stack
from tests.models.store.chats import born, chat_in, opened
from tests.models.store.families import child_of, row_of, until_somebody_waits
from tests.seeds import insert
from tests.workplace import furnish

CALLS = 16


class Parent:
    """A chat at work whose model has made calls: each use of a tool is one of them, claimed as a worker claims it."""

    def __init__(self, stack: Stack, chat: dict[str, Any], message_id: int) -> None:
        self.stack = stack
        self.chat = chat
        self.id: UUID = chat["id"]
        self.message_id = message_id
        self.place = Workshop(stack.database, Mailbox(stack.database), temporal=stack.temporal)
        self._left = [f"c{place}" for place in range(CALLS)]

    async def context(self, tool: Tool) -> ToolContext:
        call_id = self._left.pop()
        episode = Episode(self.chat["history_version"], self.chat["generation_attempt"])
        async with self.stack.database.read() as session:
            intents = [Intent(call_id, tool.name, Policy.IDEMPOTENT)]
            claims = await ledger.claim(session, self.id, episode, self.message_id, intents)
        return self.resumed(call_id, claims[call_id].memory or {})

    def resumed(self, call_id: str, memory: Any) -> ToolContext:
        settings, owner = self.stack.settings, self.chat["owner_id"]
        more = {"chat": self.chat, "workshop": self.place, "memory": memory}
        return ToolContext(self.id, self.message_id, owner, call_id, settings, **more)

    async def use(self, tool: Tool, given: ToolContext | None = None, **arguments: Any) -> Any:
        context = given or await self.context(tool)
        return await tool.run(tool.arguments.model_validate(arguments), context)

    async def spawn(self, kind: str = "general", prompt: str = "look into it", **more: Any) -> dict[str, Any]:
        return await self.use(spawn_agent, type=kind, prompt=prompt, **more)  # type: ignore[no-any-return]

    async def children(self) -> list[dict[str, Any]]:
        return await self.rows("SELECT * FROM chats WHERE parent_chat_id IS NOT NULL ORDER BY created_at")

    async def rows(self, query: str, **params: Any) -> list[dict[str, Any]]:
        async with self.stack.database.begin() as session:
            return await fetch(session, query, params)

    async def site(self, **values: str) -> None:
        async with self.stack.database.begin() as session:
            await preferences.put_site(session, values)

    async def answered(self, child: dict[str, Any], said: str) -> None:
        """The sub-agent says this, and has ended."""
        chat_id = UUID(child["chat_id"])
        fence = (await opened(self.stack.database, chat_id)).fence
        async with self.stack.database.begin() as session:
            await moves.commit_step(session, fence, [moves.StepRow("assistant", [text(said)])])

    async def failed(self, child: dict[str, Any], error: dict[str, Any]) -> None:
        fence = (await opened(self.stack.database, UUID(child["chat_id"]))).fence
        async with self.stack.database.begin() as session:
            await moves.finish_error(session, fence, error)


async def at_work(stack: Stack, **columns: Any) -> Parent:
    """A chat whose model has just made its calls; its row has these columns."""
    chat_id = await born(stack.database, stack.world)
    first = await opened(stack.database, chat_id)
    calls = [{"type": "tool-call", "tool_call_id": f"c{place}", "tool_name": "x", "args": {}} for place in range(CALLS)]
    async with stack.database.begin() as session:
        await moves.commit_step(session, first.fence, [moves.StepRow("assistant", [text("so"), *calls])])
    async with stack.database.begin() as session:
        for name, value in columns.items():
            statement = f"UPDATE chats SET {name} = %(value)s WHERE id = %(id)s"
            await fetch(session, statement, {"value": value, "id": chat_id})
    second = await opened(stack.database, chat_id)
    return Parent(stack, second.chat, second.history[-1]["id"])


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


async def suspended(parent: Parent) -> None:
    async with parent.stack.database.begin() as session:
        await fetch(session, "UPDATE users SET status = 'suspended'")


async def spent(parent: Parent) -> None:
    organization = parent.chat["organization_id"]
    budget = Budget(organization_id=organization, scope="chat", scope_id=parent.id, limit_micros=1, warn_percents=[])
    async with parent.stack.database.begin() as session:
        await insert(session, budget)
        period = f"SELECT b.id, {STARTS}, 1 FROM budgets b"
        await fetch(session, f"INSERT INTO budget_periods (budget_id, starts_on, settled_micros) {period}")


async def stopped(parent: Parent) -> None:
    async with parent.stack.database.begin() as session:
        await moves.interrupt(session, await moves.lock(session, parent.id))


async def gone_on(parent: Parent) -> None:
    await stopped(parent)
    episode = (parent.chat["history_version"], parent.chat["generation_attempt"])
    async with parent.stack.database.begin() as session:
        await moves.finish_interruption(session, parent.id, [], episode=episode)
    await parent.stack.send(parent.id, "and now?", signal="")
    await opened(parent.stack.database, parent.id)


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


async def test_a_wait_pauses_until_the_sub_agent_has_ended_and_tells_its_report(parent: Parent) -> None:
    child = await parent.spawn(title="looker")
    assert await who_waits(parent, child) == []
    context = await parent.context(wait_agent)
    assert await who_waits(parent, child) == [parent.id], "from before it looks"
    arguments = {"chat_id": child["chat_id"]}
    pause = await paused(parent, context, **arguments)
    assert (pause.event, str(pause.id)) == (Event.CHILD_OVER, child["chat_id"])
    assert timedelta(seconds=290) < pause.patience <= timedelta(seconds=300)
    assert not await over(parent, context, pause)
    await parent.answered(child, "the first report")
    assert await over(parent, context, pause)
    again = parent.resumed(context.tool_call_id, pause.memory)
    told = {"chat_id": child["chat_id"], "title": "looker", "status": "waiting", "type": "general"}
    assert await parent.use(wait_agent, again, **arguments) == {**told, "report": "the first report"}
    await parent.use(message_agent, **arguments, message="go on")
    context = await parent.context(wait_agent)
    pause = await paused(parent, context, **arguments)
    error = {"message": "Too many requests.", "kind": "rate_limit", "retryable": True, "detail": "429"}
    await parent.failed(child, error)
    assert await over(parent, context, pause)
    assert await parent.use(wait_agent, context, **arguments) == {
        **told, "status": "error", "report": "the first report", "last_error": error,
    }  # fmt: skip


async def test_a_wait_whose_time_is_over_looks_once_more_and_says_so(parent: Parent) -> None:
    child = await parent.spawn()
    arguments = {"chat_id": child["chat_id"]}
    late = parent.resumed("c0", {"until": time.time() - 1})
    outcome = {**child, "timed_out": True}
    assert await parent.use(wait_agent, late, **arguments) == outcome
    assert await parent.use(wait_agent, **arguments, timeout_seconds=0) == outcome
    await parent.answered(child, "in time")
    assert (await parent.use(wait_agent, late, **arguments))["report"] == "in time"


async def test_a_sub_agent_that_is_put_away_is_not_waited_for(parent: Parent) -> None:
    child = await parent.spawn()
    arguments = {"chat_id": child["chat_id"]}
    context = await parent.context(wait_agent)
    pause = await paused(parent, context, **arguments)
    async with parent.stack.database.begin() as session:
        await moves.archive(session, UUID(child["chat_id"]))
    assert await over(parent, context, pause)
    told = await parent.use(wait_agent, context, **arguments)
    assert (told["archived"], told["report"]) == (True, "")
    for tool, more in ((message_agent, {"message": "hello?"}), (interrupt_agent, {})):
        with pytest.raises(ToolFailed, match="is archived"):
            await parent.use(tool, **arguments, **more)
    assert (await parent.use(list_agents))["agents"] == []
    await parent.rows("DELETE FROM chats WHERE id = %(id)s", id=UUID(child["chat_id"]))
    assert await over(parent, context, pause)
    with pytest.raises(ToolFailed, match="is not a sub-agent of this chat"):
        await parent.use(wait_agent, context, **arguments)


async def test_only_sub_agents_of_the_chat_are_waited_for_or_steered(parent: Parent) -> None:
    database, world = parent.stack.database, parent.stack.world
    other = await chat_in(database, world, State.W)
    nephew = await child_of(database, world, other)
    first, second = await child_of(database, world, other), await child_of(database, world, other)
    ring = "UPDATE chats SET parent_chat_id = %(above)s WHERE id = %(id)s"
    await parent.rows(ring, above=second, id=first)
    await parent.rows(ring, above=first, id=second)
    for tool, more in ((wait_agent, {}), (message_agent, {"message": "hello"}), (interrupt_agent, {})):
        for strange in (other, nephew, first, parent.id, uuid4()):
            with pytest.raises(ToolFailed, match=f"chat {strange} is not a sub-agent of this chat"):
                await parent.use(tool, chat_id=str(strange), **more)
        with pytest.raises(ToolFailed, match="invalid chat_id"):
            await parent.use(tool, parent.resumed("c0", {}), chat_id="the first", **more)
    grandchild = await child_of(database, world, await child_of(database, world, parent.id))
    assert (await parent.use(wait_agent, chat_id=str(grandchild)))["status"] == "waiting"


async def test_a_message_is_sent_once_queued_or_at_once_and_wakes_who_has_ended(parent: Parent) -> None:
    child = await parent.spawn()
    chat_id = UUID(child["chat_id"])
    context = await parent.context(message_agent)
    given = {"chat_id": child["chat_id"], "message": "and this"}
    together = await asyncio.gather(*(parent.use(message_agent, context, **given) for _ in range(4)))
    assert together == [{**child, "interrupted": False}] * 4
    queued = "SELECT content, created_by FROM chat_queued_messages WHERE chat_id = %(id)s"
    assert await parent.rows(queued, id=chat_id) == [
        {"content": [text("and this")], "created_by": parent.chat["owner_id"]}
    ]
    now = await parent.use(message_agent, **given | {"interrupt": True})
    assert now == {**child, "status": "interrupting", "interrupted": True}
    assert (await parent.use(message_agent, **given | {"interrupt": True}))["interrupted"] is False, "it is stopping"
    parent.stack.settings = parent.stack.settings.model_copy(update={"queue_limit": 3})
    with pytest.raises(ToolFailed, match="Message queue is full"):
        await parent.use(message_agent, **given)
    with pytest.raises(ToolFailed, match="message is required"):
        await parent.use(message_agent, **given | {"message": " "})
    rested = await parent.spawn()
    await parent.answered(rested, "done")
    assert (await parent.use(message_agent, chat_id=rested["chat_id"], message="more"))["status"] == "pending"
    context = await parent.context(message_agent)
    await suspended(parent)
    with pytest.raises(ToolFailed, match="Forbidden"):
        await parent.use(message_agent, context, **given)


async def test_an_interrupt_stops_a_sub_agent_once_and_leaves_one_that_has_ended(parent: Parent) -> None:
    child = await parent.spawn()
    context = await parent.context(interrupt_agent)
    stopped = {**child, "status": "interrupting", "interrupted": True}
    assert await parent.use(interrupt_agent, context, chat_id=child["chat_id"]) == stopped
    async with parent.stack.database.begin() as session:
        await moves.finish_interruption(session, UUID(child["chat_id"]), [], episode=None)
    assert await parent.use(interrupt_agent, context, chat_id=child["chat_id"]) == stopped, "the same call"
    assert await parent.use(interrupt_agent, chat_id=child["chat_id"]) == {
        **child, "status": "waiting", "interrupted": False,
    }  # fmt: skip


async def test_a_call_of_a_turn_that_was_stopped_steers_nobody(parent: Parent) -> None:
    child = await parent.spawn()
    context = await parent.context(message_agent)
    await gone_on(parent)
    for tool, more in ((message_agent, {"message": "late"}), (interrupt_agent, {})):
        with pytest.raises(ToolFailed, match="the turn was stopped"):
            await parent.use(tool, context, chat_id=child["chat_id"], **more)
    assert (await row_of(parent.stack.database, UUID(child["chat_id"])))["snapshot_version"] == 1


async def test_the_list_is_newest_first_in_pages_and_only_the_chats_own(parent: Parent) -> None:
    await child_of(parent.stack.database, parent.stack.world, await born(parent.stack.database, parent.stack.world))
    names = [(await parent.spawn("explore", title=f"no. {place}"))["title"] for place in range(5)]
    first = await parent.use(list_agents, limit=2)
    assert [each["title"] for each in first.pop("agents")] == names[:2:-1]
    assert first == {"total": 5, "returned": 2, "offset": 0, "has_more": True}
    last = await parent.use(list_agents, limit=1000, offset=3)
    assert last["agents"][-1] == {**last["agents"][-1], "title": "no. 0", "status": "pending", "type": "explore"}
    assert (last["returned"], last["has_more"]) == (2, False)
    assert (await parent.use(list_agents, offset=9))["agents"] == []


async def who_waits(parent: Parent, child: dict[str, Any]) -> list[UUID]:
    async with parent.stack.database.read() as session:
        assert await children.who_waits(session, parent.id) == [], "a root's end is nobody's business"
        return [row["id"] for row in await children.who_waits(session, UUID(child["chat_id"]))]


async def paused(parent: Parent, context: ToolContext, **arguments: Any) -> Pause:
    with pytest.raises(Paused) as ending:
        await parent.use(wait_agent, context, **arguments)
    return ending.value.pause


async def over(parent: Parent, context: ToolContext, pause: Pause) -> bool:
    """Would the parent's run find that the call can go on?"""
    episode = Episode(parent.chat["history_version"], parent.chat["generation_attempt"])
    async with parent.stack.database.begin() as session:
        await ledger.pause(session, parent.id, episode, parent.message_id, {context.tool_call_id: pause})
        return await ledger.waiting(session, parent.id) is None
