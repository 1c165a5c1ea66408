"""One call: from what the model asked for to what came of it."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from activities import client_tools
from activities.draft import MALFORMED, clock
from activities.tools import results
from activities.tools.endings import Paused, ToolFailed, ToolUnknown
from activities.tools.registry import Toolbox, active
from activities.tools.tool import Done, NotDone, Tool, ToolContext, Unsure
from models.errors import FenceLost
from models.parts import Part
from models.rules import tool_results
from models.rules.executions import Course, Policy, Standing
from models.rules.moments import rfc3339

log = logging.getLogger(__name__)

NOT_JSON = "Invalid arguments: they are not valid JSON, or were cut short."


@dataclass(frozen=True, slots=True)
class Ready:
    """A call that can be run."""

    call: Part
    tool: Tool
    arguments: BaseModel


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call."""

    standing: Standing
    result: Part


def refused_together(toolbox: Toolbox, chat: Mapping[str, Any], asked: Sequence[Part]) -> list[Part]:
    """The answers to a step's calls if an exclusive tool is among several of them: none is run. Else nothing.

    Those of the chat's client count as well; what the provider ran itself is not among the calls to be answered.
    """

    def is_exclusive(call: Part) -> bool:
        tool = toolbox.find(call.get("tool_name", ""))
        return tool is not None and tool.exclusive and active(tool, chat)

    alone = [call for call in asked if is_exclusive(call)]
    if len(asked) < 2 or not alone:
        return []
    name, now = alone[0]["tool_name"], rfc3339(clock())
    return [
        results.failed(
            call,
            f"{call['tool_name']} must be called alone" if call in alone else f"skipped because {name} must run alone",
            now,
        )
        for call in asked
    ]


def prepared(toolbox: Toolbox, chat: Mapping[str, Any], call: Part) -> Ready | Part:
    """The call ready to be run, or the result that says why it cannot be."""
    name = call.get("tool_name", "")
    tool = toolbox.find(name)
    if tool is None:
        return results.failed(call, _no_tool_of_ours(chat, call), rfc3339(clock()))
    if not active(tool, chat):
        return results.failed(call, f"Tool not active in this turn: {name}", rfc3339(clock()))
    if _is_malformed(call):
        return results.failed(call, NOT_JSON, rfc3339(clock()))
    try:
        return Ready(call, tool, tool.arguments.model_validate(call.get("args") or {}))
    except ValidationError as wrong:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}" for each in wrong.errors()
        )
        return results.failed(call, f"Invalid arguments: {problems}", rfc3339(clock()))


def _is_malformed(call: Part) -> bool:
    return bool((call.get("provider_metadata") or {}).get(MALFORMED))


def _no_tool_of_ours(chat: Mapping[str, Any], call: Part) -> str:
    """Why a call is ours to answer although no tool of ours has its name."""
    name = call.get("tool_name", "")
    if not client_tools.declares(chat, name):
        return f"Tool not found: {name}"
    return NOT_JSON if _is_malformed(call) else f"Tool not active in this turn: {name}"


async def pursued(ready: Ready, context: ToolContext, course: Course, most: int) -> Outcome:
    """Run the call, or find out what became of it; a failing tool is an outcome, never an exception.

    Cancelled only from outside; `most` bounds the result. Raises Paused.
    """
    call, tool = ready.call, ready.tool
    if course is Course.GIVE_UP:
        return _unknown(call, tool_results.UNKNOWN_AFTER_CRASH)
    try:
        if course is Course.ASK:
            async with asyncio.timeout(tool.timeout / timedelta(seconds=1)):
                found = await tool.probe(ready.arguments, context) if tool.probe else Unsure()
            if isinstance(found, Done):
                return _succeeded(call, found.outcome, most)
            if not isinstance(found, NotDone):
                return _unknown(call, tool_results.UNKNOWN_AFTER_CRASH)
    except Exception:
        log.exception("chat %s: the probe of tool %s failed", context.chat_id, tool.name)
        return _unknown(call, tool_results.UNKNOWN_AFTER_CRASH)
    return await _run(ready, context, most)


async def _run(ready: Ready, context: ToolContext, most: int) -> Outcome:
    call, tool = ready.call, ready.tool
    try:
        async with asyncio.timeout(tool.timeout / timedelta(seconds=1)) as patience:
            outcome = await tool.run(ready.arguments, context)
        return _succeeded(call, outcome, most)
    except ToolFailed as refused:
        return _failed(call, str(refused), most, refused.facts)
    except ToolUnknown as unclear:
        return _unknown(call, str(unclear))
    except Paused:
        if tool.policy is not Policy.IDEMPOTENT:
            raise TypeError(f"{tool.name}: only what can be run again with the same key may pause") from None
        raise
    except FenceLost:  # the attempt is over, and so is what it says of the call
        raise
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is None or current.cancelling():
            raise
        return _cut_short(ready, "the tool gave up")
    except TimeoutError as late:
        if not patience.expired():
            return _failed(call, f"tool panicked: {late}", most)
        return _cut_short(ready, f"timed out after {tool.timeout / timedelta(seconds=1):g} s")
    except Exception as bug:
        log.exception("chat %s: tool %s failed unexpectedly", context.chat_id, tool.name)
        return _failed(call, f"tool panicked: {bug}", most)


def _succeeded(call: Part, outcome: Any, most: int) -> Outcome:
    return Outcome(Standing.SUCCEEDED, results.succeeded(call, outcome, rfc3339(clock()), most))


def _failed(call: Part, why: str, most: int, facts: Mapping[str, Any] = MappingProxyType({})) -> Outcome:
    return Outcome(Standing.FAILED, results.failed(call, why, rfc3339(clock()), most, facts))


def _cut_short(ready: Ready, why: str) -> Outcome:
    """What changes nothing has failed; of what changes the world nobody knows how far it came."""
    if ready.tool.policy is Policy.PURE:
        return _failed(ready.call, f"The tool call {why}.", tool_results.FLOOR)
    return _unknown(ready.call, f"The tool call {why}. {tool_results.MAY_HAVE_HAPPENED}")


def _unknown(call: Part, why: str) -> Outcome:
    return Outcome(Standing.UNKNOWN, tool_results.unknown(call, why, rfc3339(clock())))
