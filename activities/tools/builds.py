"""What the tools that build a workspace have in common: they wait with nobody at them, and say how it went.

Memory is what makes a call go on where it was: `told` is the outcome so far, `build` what it waits for, `until` the
moment at which each wait is over.
"""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from activities import workshop
from activities.tools.endings import Event, Pause, Paused, ToolFailed
from activities.tools.tool import ToolContext
from models.errors import Forbidden, TurnstoneError
from models.principal import Principal
from models.rules import workspaces as rules
from models.rules.agents import Ambiguous, chosen
from models.rules.workspaces import UNDER_WAY
from models.store import bindings, builds, ledger, people
from models.store.bindings import Place
from models.store.database import Row
from models.store.session import Session

SERIES = "workspace"
BUILD = timedelta(minutes=10)
CONNECTION = timedelta(minutes=2)
STARTUP = timedelta(minutes=10)

Memory = dict[str, Any]


async def remember(
    session: Session, context: ToolContext, told: Mapping[str, Any], build_id: UUID, *, over: bool = False
) -> Memory:
    """Write down, in the transaction that does it, what the call has done: whoever goes on with it knows.

    `over`: there is nothing to wait for.
    """
    memory = {"told": dict(told), "build": str(build_id), "until": {}, "over": over}
    await ledger.remember(session, context.chat_id, context.message_id, context.tool_call_id, memory)
    return memory


async def owner(session: Session, context: ToolContext) -> Principal:
    """Whose rights hold for what the call builds: those that the chat's owner has now. Raises Forbidden."""
    found = await people.principal(session, context.owner_id)
    if found is None:
        raise Forbidden
    return found


async def require_builder(session: Session, context: ToolContext, place: Place) -> None:
    """Raises NotFound or Forbidden unless the chat's owner may build the workspace, as the API would tell them."""
    rules.require_builder(await owner(session, context), place.owner_id, place.organization_id)


def wait_for_other(context: ToolContext, build_id: UUID) -> None:
    """Another build of the workspace is under way: look again when it is over. Raises Paused, then ToolFailed."""
    memory = dict(context.memory)
    _wait("another build of the workspace", Event.BUILD_OVER, build_id, BUILD, memory, f"other {build_id}")
    raise ToolFailed("another build of the workspace did not end within 10 minutes", build_id=str(build_id))


async def built(context: ToolContext, memory: Memory) -> dict[str, Any]:
    """The outcome once the build has ended well. Raises Paused until then, ToolFailed when it did not end well."""
    if memory["over"]:
        return dict(memory["told"])
    build_id = UUID(memory["build"])
    async with context.place.database.read() as session:
        build = await builds.view(session, build_id)
    if build["status"] in UNDER_WAY:
        _wait(f"the {build['transition']} of the workspace", Event.BUILD_OVER, build_id, BUILD, memory)
        raise ToolFailed("the workspace build did not end within 10 minutes", **_named(build))
    if build["status"] != "succeeded":
        why = build["error"] or "no reason was given"
        said = "was canceled" if build["status"] == "canceled" else f"failed: {why}"
        code = {"code": build["error_code"]} if build["error_code"] else {}
        raise ToolFailed(f"the workspace build {said}", **_named(build), **code)
    return dict(memory["told"])


async def ready(context: ToolContext, memory: Memory) -> dict[str, Any]:
    """The outcome once the build has ended well and its agent is at work, or is known not to be. Raises as `built`."""
    told = await built(context, memory)
    if memory["over"]:
        return told
    async with context.place.database.begin() as session:
        place = await bindings.of(session, context.chat_id)
        agent = _agent_of(place, UUID(memory["build"]))
        if place is not None and place.build_id is not None and agent.get("id") is not None:
            await bindings.bind(session, context.chat_id, build_id=place.build_id, agent_id=agent["id"])
    return told | (dict(agent) if agent.get("id") is None else _readiness(agent, memory))


def _agent_of(place: Place | None, build_id: UUID) -> Mapping[str, Any]:
    """The agent that the chat works with, or what to tell for want of one."""
    if place is None or place.build_id != build_id:
        return {"agent_status": "not_ready", "agent_error": "The workspace has been built anew since."}
    try:
        return chosen(place.agents) or {"agent_status": "no_agent"}
    except Ambiguous as several:
        return {"agent_status": "selection_error", "agent_error": str(several)}


def _readiness(agent: Mapping[str, Any], memory: Memory) -> dict[str, Any]:
    if agent["status"] != "connected":
        _wait("the workspace agent to connect", Event.AGENT_CONNECTED, agent["id"], CONNECTION, memory)
        error = workshop.EXTERNAL if agent["external"] else workshop.NEVER_CAME
        return {"agent_status": "not_ready", "agent_error": error}
    if agent["lifecycle"] in ("created", "starting"):
        _wait("the startup script", Event.AGENT_READY, agent["id"], STARTUP, memory)
        return {"startup_scripts": "startup_scripts_timeout", "lifecycle_state": agent["lifecycle"]}
    if agent["lifecycle"] != "ready":
        return {"startup_scripts": "startup_scripts_failed", "lifecycle_state": agent["lifecycle"]}
    return {"agent_status": "ready"}


def _wait(why: str, event: Event, awaited: UUID, patience: timedelta, memory: Memory, key: str = "") -> None:
    """Pause until it has happened; returns when it was waited for long enough."""
    ends = {**memory.get("until", {})}
    end = ends.setdefault(key or event.value, time.time() + patience.total_seconds())
    left = end - time.time()
    if left > 0:
        raise Paused(Pause(why, event, awaited, timedelta(seconds=left), {**memory, "until": ends}))


def refused(error: TurnstoneError) -> ToolFailed:
    """What the model is told of what our own rules refuse: all that the API would say."""
    facts: dict[str, Any] = {"detail": error.detail} if error.detail else {}
    if error.validations:
        facts["validations"] = [{"field": each.field, "detail": each.detail} for each in error.validations]
    return ToolFailed(error.message, **facts)


def _named(build: Row) -> dict[str, Any]:
    return {"workspace_name": build["workspace_name"], "build_id": str(build["id"])}
