"""The order in which a person has pinned their chats: 1, 2, 3 … without a gap (admin.md 1.12)."""

from collections.abc import Sequence
from uuid import UUID

from models.errors import Invalid
from models.store.database import fetch
from models.store.moves import Locked
from models.store.session import Session

# One at a time for each owner, before any of their chats is locked: who waits for it holds nothing that others need.
_HOLD = """
    SELECT pg_advisory_xact_lock(hashtextextended('pins ' || owner_id::text, 0)) FROM chats WHERE id = %(chat)s
"""
_PINNED = """
    SELECT id, pin_order FROM chats
    WHERE owner_id = %(owner)s AND pin_order > 0 AND NOT archived AND parent_chat_id IS NULL ORDER BY pin_order, id
"""
# A chat that was archived meanwhile stays without a pin.
_PLACE = """
    UPDATE chats SET pin_order = placed.place
    FROM unnest(%(ids)s::uuid[], %(places)s::int[]) AS placed(id, place)
    WHERE chats.id = placed.id AND NOT chats.archived AND (chats.pin_order > 0 OR chats.id = %(chat)s)
"""


async def hold(session: Session, chat_id: UUID) -> None:
    """Keep the order of the chat's owner to this transaction; to be asked before any chat is locked."""
    await fetch(session, _HOLD, {"chat": chat_id})


async def pin(session: Session, locked: Locked, place: int) -> None:
    """Pin the chat at the end, move a pinned one to this place, or unpin it with 0; the others close up.

    The order must be held. Raises Invalid for archived chats and children. Neither versions nor updated_at change.
    """
    if place < 0:
        raise Invalid("Pin order must be non-negative.")
    if place and locked.chat["archived"]:
        raise Invalid("Cannot pin an archived chat.")
    if place and locked.chat["parent_chat_id"] is not None:
        raise Invalid("Cannot pin a child chat.")
    rows = await fetch(session, _PINNED, {"owner": locked.chat["owner_id"]})
    was = {row["id"]: row["pin_order"] for row in rows}
    now = places(list(was), locked.id, place)
    moved = {chat_id: order for chat_id, order in now.items() if order != was.get(chat_id, 0)}
    if moved:
        params = {"ids": list(moved), "places": list(moved.values()), "chat": locked.id}
        await fetch(session, _PLACE, params)


def places(pinned: Sequence[UUID], chat_id: UUID, place: int) -> dict[UUID, int]:
    """Where each chat goes when `chat_id` is put at this place among those that are pinned; 0 is nowhere."""
    others = [each for each in pinned if each != chat_id]
    if place:
        index = min(place - 1, len(others)) if chat_id in pinned else len(others)
        others.insert(index, chat_id)
    return {chat_id: 0} | {each: number for number, each in enumerate(others, start=1)}
