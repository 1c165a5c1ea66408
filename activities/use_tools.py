"""The tools step: run the open calls of the last assistant message side by side, commit their results together."""

import asyncio
import logging

from pydantic import ValidationError

from activities.attempt import Attempt
from activities.draft import MALFORMED, clock
from activities.performs import performs
from activities.resources import Resources
from activities.tools import results
from activities.tools.registry import Toolbox
from activities.tools.tool import ToolContext, ToolFailed
from models.parts import Part, from_rest
from models.rules import history
from models.rules.moments import rfc3339
from models.steps import StepReply, StepRequest, Then
from models.store import moves
from models.store.moves import Opened, StepRow
from workflows import effects

log = logging.getLogger(__name__)


class Tools:
    """Performs the effect `use_tools`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @performs(effects.use_tools)
    async def use_tools(self, request: StepRequest) -> StepReply:
        return await Attempt(self._resources, request.chat_id, Then.USE_TOOLS, ToolsStep(self._resources.tools)).run()


class ToolsStep:
    """One batch of calls, with the results there are so far."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._calls: list[Part] = []
        self._results: dict[int, Part] = {}

    def partial(self) -> list[StepRow]:
        """The results there are, and an error for each call that was stopped, in call order."""
        return self._rows() if self._results else []  # the move answers what is open

    async def work(self, attempt: Attempt, opened: Opened) -> StepReply:
        """Run every open call, then commit; a failing tool never fails the turn."""
        self._calls = [from_rest(call) for call in history.open_calls(opened.history)]
        chat = opened.chat

        async def answer(place: int, call: Part) -> None:
            context = ToolContext(chat["id"], chat["owner_id"], call.get("tool_call_id", ""))
            result = self._results[place] = await run(self._toolbox, call, context)
            attempt.show("tool", result)

        async with asyncio.TaskGroup() as group:
            for place, call in enumerate(self._calls):
                group.create_task(answer(place, call))
        rows = self._rows()
        await attempt.shown()
        return await attempt.commit(lambda session, fence: moves.commit_step(session, fence, rows))

    def _rows(self) -> list[StepRow]:
        now = rfc3339(clock())
        for place, call in enumerate(self._calls):
            self._results.setdefault(place, results.failed(call, history.CANCELLED_BEFORE_RESULT, now))
        return [StepRow("tool", [self._results[place]]) for place in sorted(self._results)]


async def run(toolbox: Toolbox, call: Part, context: ToolContext) -> Part:
    """The result of one call: what the tool says, or why it could not."""
    name = call.get("tool_name", "")
    tool = toolbox.find(name)
    if tool is None:
        return results.failed(call, f"Tool not found: {name}", rfc3339(clock()))
    if (call.get("provider_metadata") or {}).get(MALFORMED):
        return results.failed(call, "Invalid arguments: they are not valid JSON, or were cut short.", rfc3339(clock()))
    try:
        outcome = await tool.run(tool.arguments.model_validate(call.get("args") or {}), context)
        return results.succeeded(call, outcome, rfc3339(clock()))
    except ValidationError as wrong:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}" for each in wrong.errors()
        )
        return results.failed(call, f"Invalid arguments: {problems}", rfc3339(clock()))
    except ToolFailed as refused:
        return results.failed(call, str(refused), rfc3339(clock()))
    except Exception as bug:
        log.exception("chat %s: tool %s failed unexpectedly", context.chat_id, name)
        return results.failed(call, f"tool panicked: {bug}", rfc3339(clock()))
