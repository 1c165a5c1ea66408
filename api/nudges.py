"""Commit, then nudge: Temporal hears of a move after its transaction, and the client does not wait for that."""

from api.resources import Resources
from models.rules.states import Status
from models.store.database import Row
from models.store.moves import Moved

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


async def _nudge(resources: Resources, chat: Row, signal: str) -> None:
    fresh = chat["status"] == Status.PENDING and chat["generation_attempt"] == 0 and signal in NEWS
    if fresh and await resources.live.begun.at(chat["id"], chat["history_version"]):
        resources.meters.nudges.labels("begun").inc()
        return
    taken = await resources.temporal.nudged(chat["id"], chat["owner_id"], chat["snapshot_version"], signal=signal)
    resources.meters.nudges.labels("yes" if taken else "no").inc()
