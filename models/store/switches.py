"""Who has debug logging on: an administrator's gate, and each person's own switch behind it."""

from dataclasses import dataclass
from uuid import UUID

from models.store import notices, preferences
from models.store.database import fetch
from models.store.session import Session

ALLOW_USERS = "agents_chat_debug_logging_allow_users"
ENABLED = "chat_debug_logging_enabled"


@dataclass(frozen=True, slots=True)
class Switches:
    """What a worker remembers: the people whose chats are recorded."""

    owners: frozenset[UUID] = frozenset()


async def load(session: Session) -> Switches:
    """The people who have it on, nobody while the gate is closed: one statement."""
    rows = await fetch(
        session,
        """
        SELECT user_id FROM user_configs
        WHERE key = %(enabled)s AND value = 'true'
          AND EXISTS (SELECT 1 FROM site_configs WHERE key = %(gate)s AND value = 'true')
        """,
        {"enabled": ENABLED, "gate": ALLOW_USERS},
    )
    return Switches(frozenset(row["user_id"] for row in rows))


async def allow_users(session: Session) -> bool:
    """May people switch it on for themselves?"""
    return (await preferences.site(session, ALLOW_USERS)).get(ALLOW_USERS) == "true"


async def set_allow_users(session: Session, allowed: bool) -> None:
    """Open or close the gate; what people chose behind it is kept."""
    await preferences.put_site(session, {ALLOW_USERS: _word(allowed)})
    await _changed(session)


async def enabled_for(session: Session, user_id: UUID) -> bool:
    """Has this person switched it on? While the gate is closed it has no effect."""
    return (await preferences.user(session, user_id, ENABLED)).get(ENABLED) == "true"


async def set_enabled_for(session: Session, user_id: UUID, enabled: bool) -> None:
    """Switch it on or off for this person's chats, from their next model call on."""
    await preferences.put_user(session, user_id, {ENABLED: _word(enabled)})
    await _changed(session)


async def _changed(session: Session) -> None:
    await fetch(session, "SELECT pg_notify(%(channel)s, '')", {"channel": notices.SWITCHES})


def _word(value: bool) -> str:
    return "true" if value else "false"
