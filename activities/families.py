"""What a sub-agent's rest means to others: its parent's run, if it waits for one, looks again (runtime.md 12.1)."""

import logging
from uuid import UUID

from activities.patience import AWAY
from activities.resources import Resources
from models.store import children

log = logging.getLogger(__name__)


async def rested(resources: Resources, chat_id: UUID) -> None:
    """The sub-agent rests: wake whoever waits for it. If that is lost, they look later."""
    try:
        async with resources.database.read() as session:
            waiting = await children.who_waits(session, chat_id)
    except AWAY as away:
        log.warning("nobody was told that chat %s rests; its parent looks by itself: %s", chat_id, away)
        return
    for parent in waiting:  # of no version: it is not the parent that has changed
        await resources.temporal.nudge(parent["id"], parent["owner_id"], 0)
