"""The tool `wait_agent`: a sub-agent's report, once it has ended; nobody holds a slot meanwhile."""

import time
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field

from activities.patience import patiently
from activities.tools import children, recording
from activities.tools.endings import Event, Pause, Paused
from activities.tools.tool import ASKING, ROOTS_PLANNING, ToolContext, tool
from models.rules import sub_agents
from models.rules.executions import Policy
from models.store import chats
from models.store import children as store

LONGEST = 24 * 60 * 60  # seconds


class Arguments(BaseModel):
    """Wait until a sub-agent has ended, and get its report. To wait for several, call this for each in one step.

    When the time is over it goes on all the same: wait again, or do something else meanwhile.
    """

    chat_id: str = Field(description="The chat_id that spawn_agent gave.")
    timeout_seconds: int = Field(
        default=300, ge=0, le=LONGEST, description="How long to wait at most; 0 only looks how far it is."
    )


@tool(policy=Policy.IDEMPOTENT, offered=ROOTS_PLANNING, timeout=ASKING)
async def wait_agent(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    chat_id = children.read(arguments.chat_id)
    found = await patiently(context.place.database, lambda session: store.below(session, context.chat_id, chat_id))
    child = children.of(found, chat_id)
    outcome = children.told(child)
    if not sub_agents.is_over(child):
        until = float(context.memory.get("until") or time.time() + arguments.timeout_seconds)
        if (left := until - time.time()) > 0:
            why, memory = "a sub-agent to end", {"until": until, **await recording.begun(context, child)}
            raise Paused(Pause(why, Event.CHILD_OVER, chat_id, timedelta(seconds=left), memory))
        await recording.ended(context, child, keep=False)
        return {**outcome, "timed_out": True}
    outcome |= await recording.ended(context, child, keep=not (child["archived"] or child["last_error"]))
    if child["archived"]:
        outcome["archived"] = True
    if child["last_error"]:
        outcome["last_error"] = chats.error(child["last_error"])
    return {**outcome, "report": child["report"] or ""}
