"""Events for webhooks, written by the statement that makes the change: where nobody wants them, nothing is written."""

from collections.abc import Collection, Sequence
from typing import LiteralString
from uuid import UUID

from models.store import push
from models.store.database import fetch
from models.store.session import Session

# What an event says of its chat; the rest is a GET away.
COLUMNS: LiteralString = """id, owner_id, organization_id, parent_chat_id, title, status, archived, last_error,
    last_turn_summary, snapshot_version, history_version, created_at, updated_at"""
_WRITE: LiteralString = """
    INSERT INTO webhook_deliveries (endpoint_id, event, chat_id, data)
    SELECT e.id, told.event, c.id, jsonb_build_object('chat', to_jsonb(c))
    FROM {changed} c
    JOIN webhook_endpoints e ON e.enabled AND (e.user_id = c.owner_id OR e.organization_id = c.organization_id)
    CROSS JOIN unnest(%(told)s::text[]) AS told(event)
    WHERE e.events = '{{}}' OR told.event = ANY(e.events)
    RETURNING webhook_deliveries.id"""

HEARD: LiteralString = f"""EXISTS (
    SELECT FROM webhook_endpoints e
    WHERE e.enabled AND (e.user_id = c.owner_id OR e.organization_id = c.organization_id)) AS is_heard,
    {push.SUBSCRIBED}"""
"""Asked with the lock of the chat `c`: a move that nobody hears of need not look for listeners as it writes."""
WRITTEN: LiteralString = "EXISTS (SELECT FROM told) AS told"
"""Selected by such a statement: is there something to deliver now?"""
RETURNED: LiteralString = f"RETURNING {COLUMNS}"
CHANGED: LiteralString = f"told AS ({_WRITE.format(changed='changed')})"
"""A piece of a statement that has the changed chat, RETURNED, as `changed`."""
_MADE: LiteralString = f"(SELECT {COLUMNS} FROM made)"  # noqa: S608 - fixed text
MADE: LiteralString = f"told AS ({_WRITE.format(changed=_MADE)})"
"""The same where all of a new chat's row is `made`."""
_CHATS: LiteralString = f"(SELECT {COLUMNS} FROM chats WHERE id = ANY(%(chats)s::uuid[]))"  # noqa: S608 - fixed text
_THESE: LiteralString = _WRITE.format(changed=_CHATS)


async def note(session: Session, chat_ids: Collection[UUID], events: Sequence[str]) -> None:
    """Tell endpoints of these chats, as they are now in this transaction."""
    if chat_ids and events and await fetch(session, _THESE, {"chats": list(chat_ids), "told": list(events)}):
        session.ring()
