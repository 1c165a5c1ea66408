"""Commit, then nudge: Temporal hears of a move after its transaction, and the client does not wait for that."""

from contextlib import suppress
from uuid import UUID

from api.resources import Resources
from models.errors import NotFound
from models.rules.states import Status
from models.store import moves, standing
from models.store.database import Row
from models.store.moves import Moved

MOST_STOPPED = 100  # turns of one person, before the answer
NEWS = frozenset({"woken", "message_queued"})
"""Signals that say no more than that there is something to answer: a worker that has begun tells the run itself."""


def nudge(resources: Resources, moved: Moved, signal: str) -> None:
    """Tell the chat's workflow of a committed move, if it must know. A nudge that is lost is repaired by the sweep."""
    resources.failpoints.hit("api.before_nudge")
    if not moved.nudge:
        return
    chat = moved.chat
    if chat["status"] == Status.INTERRUPTING:
        signal = "interrupt_requested"
    resources.errands.start(_nudge(resources, chat, signal))


async def stop_turns_of(resources: Resources, user_id: UUID) -> None:
    """Stop what runs for somebody who was suspended or deleted; nothing of others. The sweep stops what is left."""
    async with resources.database.read() as session:
        chats = await standing.barred(session, owner=user_id, limit=MOST_STOPPED)
    for chat_id in chats:
        with suppress(NotFound):
            async with resources.database.begin() as session:
                moved = await moves.stop_barred(session, chat_id)
            nudge(resources, moved, "queue_changed")


async def _nudge(resources: Resources, chat: Row, signal: str) -> None:
    fresh = chat["status"] == Status.PENDING and chat["generation_attempt"] == 0 and signal in NEWS
    if fresh and await resources.live.begun.at(chat["id"], chat["history_version"]):
        resources.meters.nudges.labels("begun").inc()
        return
    taken = await resources.temporal.nudged(chat["id"], chat["owner_id"], chat["snapshot_version"], signal=signal)
    resources.meters.nudges.labels("yes" if taken else "no").inc()
