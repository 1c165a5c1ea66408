"""What people set on a chat that is no execution state: its name, its labels, its plan mode. No version changes."""

from collections.abc import Mapping

from models.errors import Conflict, Invalid
from models.parts import to_rest
from models.rules import labels as rules
from models.rules import webhooks
from models.store import titles
from models.store.database import fetch
from models.store.moves import Locked, outbox
from models.store.moves.record import encode
from models.store.notices import CHATS, notice
from models.store.session import Session

LONGEST_TITLE = 200
REGENERATING = "Title regeneration already in progress for this chat."


def presentable(title: str) -> str:
    """The title as it is stored, trimmed; raises Invalid."""
    wanted = title.strip()
    if not wanted:
        raise Invalid("Title cannot be empty.")
    if len(wanted) > LONGEST_TITLE:
        raise Invalid(f"Title must be at most {LONGEST_TITLE} characters.")
    return wanted


async def rename(session: Session, locked: Locked, title: str) -> None:
    """Call the chat so; its owner's sidebar is told. Raises Invalid, and Conflict while a title is being generated."""
    wanted = presentable(title)
    chat = locked.chat
    if wanted == chat["title"]:
        return
    if titles.is_held(chat["title_locked_at"], chat["locked_at"]):
        raise Conflict(REGENERATING)
    # Whoever held the title for longer has lost it: what it finds must not come on top of this one.
    await fetch(
        session,
        "UPDATE chats SET title = %(title)s, title_locked_at = NULL WHERE id = %(id)s",
        {"id": locked.id, "title": wanted},
    )
    await outbox.note(session, [locked.id], webhooks.told(("title_change",)))
    session.tell(CHATS, notice(chat, ("title_change",)))


async def label(session: Session, locked: Locked, labels: Mapping[str, str]) -> None:
    """Give the chat these labels instead of those it has; it counts as used now. Raises Invalid."""
    rules.check(labels)
    await fetch(
        session,
        "UPDATE chats SET labels = %(labels)s::jsonb, updated_at = now() WHERE id = %(id)s",
        {"id": locked.id, "labels": encode(to_rest(dict(labels)))},
    )


async def set_plan_mode(session: Session, locked: Locked, plan_mode: str | None) -> None:
    """Turn plan mode on (`plan`) or off (None) for the turns to come."""
    await fetch(
        session, "UPDATE chats SET plan_mode = %(mode)s WHERE id = %(id)s", {"id": locked.id, "mode": plan_mode}
    )
