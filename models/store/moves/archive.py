"""The moves that put a family of chats away and bring it back: all of it, or nothing."""

from uuid import UUID

from models.errors import Invalid, NotFound
from models.rules.moves import Move
from models.rules.states import Status
from models.store import reserving
from models.store.database import Row, fetch
from models.store.moves.record import Locked, Moved, apply, keep, lock_all
from models.store.session import Session

_BUSY = (Status.PENDING, Status.RUNNING, Status.INTERRUPTING, Status.REQUIRES_ACTION)

# In the order of ids, whoever asks: two that archive and unarchive one family wait for each other, and never in a ring.
_FAMILY = """
SELECT id, parent_chat_id, root_chat_id, archived FROM chats
WHERE id = %(id)s OR id = (SELECT parent_chat_id FROM chats WHERE id = %(id)s) OR root_chat_id = %(id)s
    OR parent_chat_id = %(id)s
ORDER BY id FOR NO KEY UPDATE"""


async def hold_family(session: Session, chat_id: UUID) -> None:
    """Lock all that archiving the chat may touch; before the chat itself is locked in the same transaction."""
    await fetch(session, _FAMILY, {"id": chat_id})


async def archive(session: Session, chat_id: UUID) -> list[Moved]:
    """Archive a chat and its descendants; those at work are stopped hard, their partial answers kept.

    Returns the chat first, then the descendants that were not archived yet. Raises NotFound, and Invalid when it is
    archived already.
    """
    target, family, _ = await _family(session, chat_id)
    if target["archived"]:
        raise Invalid("Chat is already archived.")
    moved = []
    for locked in await _held(session, family):
        if locked.chat["archived"]:
            continue
        busy = locked.chat["status"] in _BUSY
        change = keep(
            locked,
            archived=True,
            status=Status.INTERRUPTING.value if busy else locked.chat["status"],
            retry_state=None,
            deadline=None,
            columns={"pin_order": 0, "archived_at": locked.chat["locked_at"]},
            watch=("status_change", "deleted") if busy else ("deleted",),
        )
        moved.append(await apply(session, locked, change, Move.ARCHIVE))
    return moved


async def unarchive(session: Session, chat_id: UUID) -> list[Moved]:
    """Bring a chat and its descendants back as they were; a stop that is under way goes on.

    Returns the chat first. Raises NotFound, and Invalid when it is not archived or its parent is.
    """
    target, family, parent = await _family(session, chat_id)
    if not target["archived"]:
        raise Invalid("Chat is already not archived.")
    if parent is not None and parent["archived"]:
        raise Invalid(
            "Cannot unarchive a child chat while its parent is archived. Unarchive the parent chat to cascade."
        )
    moved = []
    for locked in await _held(session, family):
        if not locked.chat["archived"]:
            continue
        change = keep(locked, archived=False, columns={"archived_at": None}, watch=("created",))
        moved.append(await apply(session, locked, change, Move.UNARCHIVE))
    return moved


async def _held(session: Session, family: list[UUID]) -> list[Locked]:
    """The chats, locked, and the budgets of whatever they have reserved: these at once, so nobody waits in a ring."""
    chats = await lock_all(session, family)
    if owing := [locked.id for locked in chats if locked.chat["has_reserved"]]:
        await reserving.hold(session, owing)
    return chats


async def _family(session: Session, chat_id: UUID) -> tuple[Row, list[UUID], Row | None]:
    """The chat, the ids of it and its descendants, and its parent: all of them locked."""
    rows = await fetch(session, _FAMILY, {"id": chat_id})
    target = next((row for row in rows if row["id"] == chat_id), None)
    if target is None:
        raise NotFound
    parent = next((row for row in rows if row["id"] == target["parent_chat_id"]), None)
    return target, [chat_id, *(row["id"] for row in rows if row not in (target, parent))], parent
