"""Asks a chat's workspace, before a model step, what it tells those who work there: once an agent, and never in vain.

What it answers is committed with the step, under the step's fence. An agent that does not answer has said nothing: a
later step asks again, but no step waits for it within the minute after one has waited in vain.
"""

import logging
from typing import Any
from uuid import UUID, uuid5

from activities.resources import Resources
from models.parts import Part
from models.rules import workspace_context
from models.rules.agents import Ambiguous, chosen
from models.rules.workspace_context import KEY, Malformed
from models.store import bindings
from models.store.database import Row
from models.store.moves import Opened, StepRow
from models.store.stream import Episode

PATIENCE = 5.0  # seconds that an agent has to answer
STARTED = ("ready", "start_error", "start_timeout")

log = logging.getLogger(__name__)


def hold(opened: Opened) -> None:
    """Let the opened chat carry what its history holds of its workspace: prompts and tools look there."""
    opened.chat[KEY] = workspace_context.held(opened.chat, opened.history)


def kept(content: list[Part], *, again: bool = False) -> StepRow:
    """The row that keeps it; what is kept `again`, or says that there is nothing, people need not see."""
    hidden = again or workspace_context.is_empty(content)
    return StepRow("user", content, visibility="model" if hidden else "both")


async def look(resources: Resources, opened: Opened, *, patience: float = PATIENCE) -> StepRow | None:
    """A new row for the chat's history, whose parts hold from now on; None if there is nothing new to be known."""
    chat = opened.chat
    if chat["workspace_id"] is None:
        return None
    known: list[Part] | None = chat[KEY]
    teller = workspace_context.told_by(known) if known is not None else None
    begins = opened.history[-1]["role"] == "user"
    if teller is not None and teller == chat["agent_id"] and not begins:
        return None
    agent = await _agent(resources, chat)
    if agent is None or agent["id"] == teller or resources.workshop.is_silent(agent["id"]):
        return None
    found = await _asked(resources, opened, agent["id"], patience)
    if found is None:
        return None
    try:
        content = workspace_context.parts(found, chat["workspace_id"], agent["id"])
    except Malformed as wrong:
        log.warning("agent %s of workspace %s: %s", agent["id"], chat["workspace_id"], wrong)
        return None
    chat[KEY] = content
    return kept(content)


async def _agent(resources: Resources, chat: Row) -> dict[str, Any] | None:
    """The agent that the chat works with, if it is there and its workspace is ready; the chat is bound to it."""
    async with resources.database.read() as session:
        place = await bindings.of(session, chat["id"])
    if place is None or place.deleted or place.transition != "start" or place.build_id is None:
        return None
    try:
        agent = chosen(place.agents)
    except Ambiguous:
        return None
    if agent is None or agent["status"] != "connected" or agent["lifecycle"] not in STARTED:
        return None
    if (place.bound_build, place.bound_agent) != (place.build_id, agent["id"]):
        async with resources.database.begin() as session:
            await bindings.bind(session, chat["id"], build_id=place.build_id, agent_id=agent["id"])
    return dict(agent)


async def _asked(resources: Resources, opened: Opened, agent_id: UUID, patience: float) -> dict[str, Any] | None:
    """What the agent answers in time."""
    chat_id, fence, workshop = opened.chat["id"], opened.fence, resources.workshop
    mailbox = workshop.mailbox
    asked = uuid5(chat_id, f"context:{agent_id}:{fence.history_version}:{fence.generation_attempt}")
    limits = {"max_bytes_file": workspace_context.FILE_BYTES, "max_bytes": workspace_context.TOTAL_BYTES}
    episode = Episode(fence.history_version, fence.generation_attempt)
    posted = await mailbox.post(asked, agent_id, "context", limits, chat_id, episode)
    if posted is None:  # the chat has moved on: so does this step
        return None
    job = await mailbox.wait(posted, patience)
    if not job.over:
        job = await mailbox.withdraw(job)
    if job.state == "done" and job.error is None:
        return job.result or {}
    if job.state != "done":
        workshop.fell_silent(agent_id)
    log.info("chat %s: agent %s did not tell the context of its workspace", chat_id, agent_id)
    return None
