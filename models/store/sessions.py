"""Login sessions as their user sees them, to tell one's own from a stranger's and end it."""

from uuid import UUID

from models.errors import NotFound
from models.store.database import Row, fetch
from models.store.people import changed
from models.store.session import Session


async def of_user(session: Session, user_id: UUID) -> list[Row]:
    """The user's living login sessions, the one used last first."""
    return await fetch(
        session,
        """
        SELECT id, user_id, ip_address, user_agent, created_at, expires_at, last_used FROM api_keys
        WHERE user_id = %(user)s AND kind = 'session' AND expires_at > now()
        ORDER BY coalesce(last_used, created_at) DESC, id
        """,
        {"user": user_id},
    )


async def end(session: Session, user_id: UUID, session_id: str) -> None:
    """End one login session of the user; raises NotFound."""
    rows = await fetch(
        session,
        "DELETE FROM api_keys WHERE id = %(id)s AND user_id = %(user)s AND kind = 'session' RETURNING id",
        {"id": session_id, "user": user_id},
    )
    if not rows:
        raise NotFound
    await changed(session, session_id)
