"""The laws of the tools that wait for sub-agents, steer or list them: each move once, and only the chat's own."""

import asyncio
import time
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from activities.tools.endings import Event, Pause, Paused, ToolFailed
from activities.tools.interrupt_agent import interrupt_agent
from activities.tools.list_agents import list_agents
from activities.tools.message_agent import message_agent
from activities.tools.tool import ToolContext
from activities.tools.wait_agent import wait_agent
from models.parts import text
from models.rules.states import State
from models.store import children, ledger, moves
from models.store.stream import Episode
from tests.activities.parents import Parent, at_work, gone_on, suspended
from tests.activities.stack import Stack
from tests.models.store.chats import born, chat_in
from tests.models.store.families import child_of, row_of


@pytest.fixture
async def parent(stack: Stack) -> Parent:
    return await at_work(stack)


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
