"""What takes more than one request: waiting until a chat is somewhere, and answering the calls of a client's tools."""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from turnstone.client.asking import Service, ask, fetched, path
from turnstone.client.errors import Conflict, WaitTimedOut
from turnstone.client.events import ActionRequiredEvent, StatusEvent, read_event
from turnstone.client.following import follow
from turnstone.client.parts import JsonObject
from turnstone.client.steps import Emit, Program, Request, Run, Sleep, Step
from turnstone.client.types import RESTING, Chat, ToolCall

Tools = Mapping[str, Callable[..., Any]]
Results = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def get(service: Service, chat_id: object) -> Program[Chat]:
    """The chat as it stands."""
    return Chat.read((yield from fetched(service, Request("GET", path(chat_id)))))


def wait(service: Service, chat_id: object, until: str | Collection[str], timeout: float | None) -> Program[Chat]:
    """The chat once its status is one of these; raises WaitTimedOut."""
    wanted = {until} if isinstance(until, str) else set(until)
    watching = _Watching(service, chat_id, timeout)
    while True:
        event = yield from watching.next()
        if isinstance(event, StatusEvent) and event.status in wanted:
            watching.close()
            return (yield from get(service, chat_id))


def run_tools(service: Service, chat_id: object, tools: Tools, timeout: float | None) -> Program[Chat]:
    """The chat once its turn is over, with every call of the client's tools answered on the way."""
    watching = _Watching(service, chat_id, timeout)
    while True:
        event = yield from watching.next()
        if isinstance(event, ActionRequiredEvent):
            yield from _answer_calls(service, chat_id, tools, event.tool_calls)
        elif isinstance(event, StatusEvent) and event.status in RESTING and event.status != "requires_action":
            watching.close()
            return (yield from get(service, chat_id))


def hand_in(service: Service, chat_id: object, results: Results) -> Program[None]:
    """Answer the calls that a chat waits for, by their ids."""
    if isinstance(results, Mapping):
        written = [{"tool_call_id": call_id, "output": output} for call_id, output in results.items()]
    else:
        written = [dict(each) for each in results]
    yield from ask(service, Request("POST", path(chat_id, "tool-results"), json={"results": written}))


class _Watching:
    """A chat's stream inside another program, one event at a time."""

    def __init__(self, service: Service, chat_id: object, timeout: float | None) -> None:
        self._deadline = None if timeout is None else time.monotonic() + timeout
        # One that may not wait longer must not sit out a silence either.
        silence = service.silence if timeout is None else min(service.silence, max(timeout, 0.1))
        self._chat_id = chat_id
        self._timeout = timeout
        self._program = follow(replace(service, silence=silence), path(chat_id, "stream"), read_event)
        self._outcome: Any = None

    def close(self) -> None:
        self._program.close()

    def next(self) -> Program[Any]:
        """The next event; raises WaitTimedOut."""
        step: Step
        failure: BaseException | None = None
        while True:
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._program.close()
                raise WaitTimedOut(f"chat {self._chat_id} was not there after {self._timeout:g} s")
            step = self._program.send(self._outcome) if failure is None else self._program.throw(failure)
            self._outcome, failure = None, None
            if isinstance(step, Emit):
                return step.value
            if isinstance(step, Sleep) and self._deadline is not None:
                step = Sleep(max(0.0, min(step.seconds, self._deadline - time.monotonic())))
            try:
                self._outcome = yield step
            except Exception as thrown:
                failure = thrown


def _answer_calls(service: Service, chat_id: object, tools: Tools, calls: Sequence[ToolCall]) -> Program[None]:
    outcomes = yield Run([partial(_bound, tools, call) for call in calls])
    results = [_written(call, outcome) for call, outcome in zip(calls, outcomes, strict=True)]
    try:
        yield from hand_in(service, chat_id, results)
    except Conflict:
        return  # somebody else answered, or stopped the turn


def _bound(tools: Tools, call: ToolCall) -> Any:
    tool = tools.get(call.tool_name)
    if tool is None:
        raise LookupError(f"This client has no tool {call.tool_name!r}.")
    arguments = call.arguments
    return tool(**arguments) if isinstance(arguments, dict) else tool(arguments)


def _written(call: ToolCall, outcome: Any) -> JsonObject:
    result: JsonObject = {"tool_call_id": call.tool_call_id, "output": outcome}
    if isinstance(outcome, Exception):
        return result | {"output": str(outcome) or type(outcome).__name__, "is_error": True}
    try:
        json.dumps(outcome, allow_nan=False)
    except (TypeError, ValueError) as unwritable:
        return result | {"output": f"The tool's result is no JSON: {unwritable}", "is_error": True}
    return result
