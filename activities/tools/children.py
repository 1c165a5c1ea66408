"""What the tools that have to do with sub-agents share: who theirs are, what is told of one, moves made once."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from activities.patience import patiently
from activities.tools import builds, template_id
from activities.tools.endings import ToolFailed
from activities.tools.tool import ToolContext
from models.errors import Conflict, Exhausted, Forbidden, Invalid, NotFound
from models.rules import sub_agents
from models.rules.states import Status
from models.store import children, ledger, moves
from models.store.database import Row
from models.store.moves import Locked, Moved
from models.store.session import Session

STOPPED = "the turn was stopped"
REFUSALS = (Invalid, Conflict, Exhausted, Forbidden, NotFound)
"""What the API would refuse the chat's owner, and is refused here in its words."""


def read(text: str) -> UUID:
    """The id of a chat, as the model wrote it; raises ToolFailed."""
    return template_id.read(text, "chat_id")


def of(child: Row | None, chat_id: UUID) -> Row:
    """The sub-agent's chat; raises ToolFailed where the chat has no such sub-agent."""
    if child is None:
        raise ToolFailed(f"chat {chat_id} is not a sub-agent of this chat")
    return child


def told(chat: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a sub-agent by every tool."""
    return {
        "chat_id": str(chat["id"]),
        "title": chat["title"],
        "status": chat["status"],
        "type": sub_agents.kind_of(chat),
    }


async def steered(
    context: ToolContext, chat_id: UUID, move: Callable[[Session, Locked], Awaitable[Moved]]
) -> dict[str, Any]:
    """What a move of a sub-agent's chat came to; it is made once, whoever runs the call again. Raises ToolFailed.

    The call's entry in the ledger is held before the chat is locked, so that two who run it do it one after the other.
    """

    async def once(session: Session) -> tuple[dict[str, Any], Moved | None]:
        memory = await ledger.hold(session, context.chat_id, context.message_id, context.tool_call_id)
        if memory is None:
            raise ToolFailed(STOPPED)
        if "told" in memory:
            return dict(memory["told"]), None
        child = of(await children.below(session, context.chat_id, chat_id), chat_id)
        if child["archived"]:
            raise ToolFailed("the sub-agent's chat is archived")
        locked = await moves.lock(session, chat_id)
        moved = await move(session, locked)
        interrupted = moved.chat["status"] == Status.INTERRUPTING and locked.chat["status"] != Status.INTERRUPTING
        outcome = {**told(moved.chat), "interrupted": interrupted}
        memory = {"told": outcome}
        await ledger.remember(session, context.chat_id, context.message_id, context.tool_call_id, memory)
        return outcome, moved

    try:
        outcome, moved = await patiently(context.place.database, once)
    except REFUSALS as refused:
        raise builds.refused(refused) from None
    if moved is not None:
        await nudge(context, moved)
    return outcome


async def nudge(context: ToolContext, moved: Moved) -> None:
    """Tell the sub-agent's run of a committed move, if it must know; should that be lost, the sweep finds it."""
    temporal, chat = context.place.temporal, moved.chat
    assert temporal is not None
    if moved.nudge:
        signal = "interrupt_requested" if chat["status"] == Status.INTERRUPTING else "message_queued"
        await temporal.nudge(chat["id"], chat["owner_id"], chat["snapshot_version"], signal=signal)
