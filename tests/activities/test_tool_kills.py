"""kill -9 of a real worker in the middle of a tool: the next one does not do it again, and says so."""

import json

from models.rules import tool_results
from models.store import ledger
from models.store.database import fetch
from tests.activities.doomed import WORLD, tools
from tests.activities.stack import Stack, doomed, words_of, worker
from tests.fakes.behaviour import Behaviour


async def test_a_worker_that_is_killed_in_its_tools_leaves_one_effect_of_each_and_an_honest_answer(
    stack: Stack,
) -> None:
    async with stack.database.begin() as session:
        await fetch(session, WORLD)
    asked = [{"id": "c0", "name": "again", "arguments": {}}, {"id": "c1", "name": "once", "arguments": {}}]
    stack.fake.script(Behaviour(tokens=1, tool_calls=asked), Behaviour(text="I see."))
    process = await doomed(stack)
    try:
        chat_id = await stack.create("act")
        assert await process.wait() == -9
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    async with worker(stack, *tools(stack.settings.database_url, deadly=False)):
        await stack.rest(chat_id)
    *_, again, once, answer = await stack.messages(chat_id)
    assert words_of(answer.content) == "I see."
    assert again.content[0]["result"] == {"output": "done"}
    assert once.content[0]["result"] == {"error": tool_results.UNKNOWN_AFTER_CRASH, "outcome": "unknown"}
    told = json.dumps(stack.fake.received[-1].body["messages"])
    assert tool_results.MAY_HAVE_HAPPENED in told, "the model is told"
    async with stack.database.read() as session:
        effects = await fetch(session, "SELECT name, count(*) AS n FROM effects GROUP BY name ORDER BY name")
        [shown] = await ledger.unsettled(session, chat_id)
    assert {row["name"]: row["n"] for row in effects} == {"again": 1, "once": 1}
    assert (shown["tool_call_id"], shown["state"]) == ("c1", "unknown")
