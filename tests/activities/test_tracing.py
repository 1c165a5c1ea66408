"""One trace a turn: its model calls and tool calls hang from the turn, whoever performed them."""

from dataclasses import replace

from activities.tracing import turn_of
from tests.activities.stack import Stack, worker
from tests.fakes.behaviour import Behaviour
from tests.fakes.collector import Collector

CALL = {"name": "current_time", "arguments": {}}


def traced(stack: Stack, collector: Collector, **more: object) -> Stack:
    return replace(stack, settings=stack.settings.model_copy(update={"otlp_endpoint": collector.endpoint, **more}))


async def test_a_turn_with_a_tool_is_one_trace_under_one_root(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=2, tool_calls=[CALL]), Behaviour(text="It is late.", cached_tokens=4))
    with Collector() as collector:
        mine = traced(stack, collector)
        async with worker(mine):
            chat_id = await mine.create("a secret question")
            await mine.rest(chat_id)
            [question, *_] = await mine.messages(chat_id)
    spans = collector.spans
    names = sorted(span["name"] for span in spans)
    assert names == ["chat fake-model", "chat fake-model", "execute_tool current_time", "invoke_agent turnstone"]
    [root] = [span for span in spans if span["name"].startswith("invoke_agent")]
    turn = turn_of(chat_id, [question.model_dump()])
    assert turn is not None
    assert (root["trace"], root["id"], root["parent"]) == (f"{turn.trace_id:032x}", f"{turn.span_id:016x}", "")
    assert root["attributes"]["turnstone.turn.outcome"] == "finished"
    assert {span["trace"] for span in spans} == {root["trace"]}
    assert {span["parent"] for span in spans if span is not root} == {root["id"]}
    assert all(root["begun"] <= span["begun"] <= span["ended"] <= root["ended"] for span in spans)
    said = spans[names.index("chat fake-model")]["attributes"]
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.conversation.id"] == str(chat_id)
    assert "a secret question" not in str(spans)


async def test_what_was_said_is_in_the_trace_only_where_that_is_wanted(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="It is late."))
    with Collector() as collector:
        mine = traced(stack, collector, trace_content=True)
        async with worker(mine):
            await mine.rest(await mine.create("a wanted question"))
    [call] = [span for span in collector.spans if span["name"] == "chat fake-model"]
    assert "a wanted question" in call["attributes"]["gen_ai.input.messages"]
    assert "It is late." in call["attributes"]["gen_ai.output.messages"]


async def test_a_failed_turn_is_a_failed_trace_without_the_providers_words(stack: Stack) -> None:
    stack.fake.script(Behaviour(status=401, message="no entry for sk-planted"))
    with Collector() as collector:
        mine = traced(stack, collector)
        async with worker(mine):
            chat = await mine.rest(await mine.create("hello"))
    assert chat.status == "error"
    by_name = {span["name"]: span for span in collector.spans}
    assert by_name["invoke_agent turnstone"]["failed"]
    assert by_name["chat fake-model"]["failed"]
    assert by_name["chat fake-model"]["attributes"]["error.type"] == "401"
    assert "sk-planted" not in str(collector.spans)
