"""What a watcher's process reads of chats: everything newer than some versions, in one statement and one snapshot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import orjson

from models.parts import Part
from models.rules import history
from models.rules.cursors import NOWHERE, Cursor
from models.store import reserving
from models.store.database import Row, fetch
from models.store.session import Session


@dataclass(frozen=True, slots=True)
class Floor:
    """From where a chat is read.

    Messages that were taken away matter to those who were `told` of them: if any were since that snapshot, all that are
    left are read. Otherwise messages with an id up to `after_id` are left out.
    """

    cursor: Cursor = NOWHERE
    told: int | None = None
    after_id: int = 0


@dataclass(slots=True)
class Reading:
    """A chat as it stood at one moment. The lists hold what is newer than the cursor it was read from."""

    chat: Row
    at: Cursor  # its versions; `seq` is not used
    gone: int | None  # the newest revision that took messages away since `told`
    messages: list[Row] = field(default_factory=list)
    queue: list[Row] = field(default_factory=list)
    parts: list[tuple[int, str, Part]] = field(default_factory=list)  # of the current episode
    open_calls: list[Part] = field(default_factory=list)  # what a client must answer, in requires_action


class Position(NamedTuple):
    """How far a chat has come: for watchers whose notifications may be lost."""

    chat_id: UUID
    snapshot: int
    seq: int


# The calls that a client must answer are read from the last assistant message on.
_TAIL = """
    CASE WHEN c.status = 'requires_action' THEN (
        SELECT json_agg(t ORDER BY t.id) FROM (
            SELECT id, role, content FROM chat_messages
            WHERE chat_id = c.id AND NOT deleted AND visibility <> 'user' AND id >= (
                SELECT max(id) FROM chat_messages
                WHERE chat_id = c.id AND NOT deleted AND visibility <> 'user' AND role = 'assistant')) t) END AS tail"""

# What is asked for is one value and no arrays: the planner guesses the length of arrays that it does not see, finds a
# plan for all values dear, and plans anew at each reading, which takes four times as long as the reading.
_READ = (
    """
SELECT c.*, gone.revision AS gone_revision,
    (SELECT json_agg(m ORDER BY m.id) FROM (
        SELECT * FROM chat_messages
        WHERE chat_id = c.id AND NOT deleted AND visibility <> 'model'
        AND revision > CASE WHEN gone.revision IS NULL THEN asked.snapshot ELSE -1 END
        AND id > CASE WHEN gone.revision IS NULL THEN asked.after_id ELSE 0 END) m) AS messages,
    CASE WHEN c.queue_version > asked.snapshot THEN (
        SELECT json_agg(q ORDER BY q.position, q.id) FROM (
            SELECT * FROM chat_queued_messages WHERE chat_id = c.id) q) END AS queue,
    (SELECT json_agg(json_build_array(s.seq, s.role, s.part) ORDER BY s.seq) FROM stream_log s
        WHERE s.chat_id = c.id AND s.history_version = c.history_version
        AND s.generation_attempt = c.generation_attempt
        AND s.seq > CASE WHEN c.history_version = asked.history AND c.generation_attempt = asked.attempt
                         THEN asked.seq ELSE 0 END) AS parts,
"""  # noqa: S608 - fixed text
    + reserving.NEAREST
    + " AS budget, "
    + _TAIL
    + """
FROM json_to_recordset(%(asked)s)
    AS asked (chat uuid, told bigint, after_id bigint, snapshot bigint, history bigint, attempt int, seq bigint)
JOIN chats c ON c.id = asked.chat, LATERAL (
    SELECT max(revision) AS revision FROM chat_messages
    WHERE chat_id = c.id AND revision > asked.told AND deleted AND visibility <> 'model') gone"""
)

_DOORS = """
SELECT c.id, c.owner_id, c.organization_id, coalesce(r.id, c.id) AS family,
    coalesce(r.user_acl, c.user_acl) AS user_acl, coalesce(r.group_acl, c.group_acl) AS group_acl
FROM chats c LEFT JOIN chats r ON r.id = coalesce(c.root_chat_id, c.parent_chat_id)
WHERE c.id = ANY(%(chats)s)"""

_LIGHT = (
    """
SELECT c.*, coalesce(r.user_acl, c.user_acl) AS user_acl, coalesce(r.group_acl, c.group_acl) AS group_acl,
    u.username AS owner_username, u.name AS owner_name,"""
    + _TAIL
    + """
FROM chats c JOIN users u ON u.id = c.owner_id LEFT JOIN chats r ON r.id = coalesce(c.root_chat_id, c.parent_chat_id)
WHERE c.id = %(chat)s"""
)


async def read(session: Session, asked: Mapping[UUID, Floor]) -> dict[UUID, Reading]:
    """What is newer than its floor in each of these chats, where there is such a chat: one statement for all."""
    floors = [
        {
            "chat": chat_id,
            "told": floor.told,
            "after_id": floor.after_id,
            "snapshot": floor.cursor.snapshot,
            "history": floor.cursor.history,
            "attempt": floor.cursor.attempt,
            "seq": floor.cursor.seq,
        }
        for chat_id, floor in asked.items()
    ]
    rows = await fetch(session, _READ, {"asked": orjson.dumps(floors).decode()})
    return {row["id"]: _reading(row) for row in rows}


def _reading(row: Row) -> Reading:
    reading = Reading(
        chat=row,
        at=Cursor(row["snapshot_version"], row["history_version"], row["generation_attempt"], 0),
        gone=row.pop("gone_revision"),
        parts=[(seq, role, part) for seq, role, part in row.pop("parts") or ()],
        open_calls=history.open_calls(row.pop("tail") or []),
    )
    for name in ("messages", "queue"):
        rows = row.pop(name) or []
        for each in rows:
            each["created_at"] = datetime.fromisoformat(each["created_at"])
        setattr(reading, name, rows)
    return reading


async def doors(session: Session, chat_ids: Sequence[UUID]) -> dict[UUID, Row]:
    """What decides who may see these chats (chats.may_see), where there is such a chat."""
    return {row["id"]: row for row in await fetch(session, _DOORS, {"chats": list(chat_ids)})}


async def positions(session: Session, chat_ids: Sequence[UUID]) -> list[Position]:
    """How far each of these chats has come."""
    rows = await fetch(
        session,
        """
        SELECT c.id, c.snapshot_version, coalesce((
            SELECT max(seq) FROM stream_log s WHERE s.chat_id = c.id
            AND s.history_version = c.history_version AND s.generation_attempt = c.generation_attempt), 0) AS seq
        FROM chats c WHERE c.id = ANY(%(chats)s)""",
        {"chats": list(chat_ids)},
    )
    return [Position(row["id"], row["snapshot_version"], row["seq"]) for row in rows]


async def light(session: Session, chat_id: UUID) -> tuple[Row, list[Part]] | None:
    """The chat for its owner's sidebar, with the calls that a client must answer; None if there is no such chat."""
    rows = await fetch(session, _LIGHT, {"chat": chat_id})
    if not rows:
        return None
    return rows[0], history.open_calls(rows[0].pop("tail") or [])


async def unread(session: Session, chat_ids: Sequence[UUID]) -> list[UUID]:
    """Those of the chats for which `mark_read` has something to do."""
    rows = await fetch(
        session,
        """
        SELECT c.id FROM chats c, LATERAL (
            SELECT max(id) AS id FROM chat_messages
            WHERE chat_id = c.id AND role = 'assistant' AND NOT deleted AND visibility <> 'model') newest
        WHERE c.id = ANY(%(chats)s) AND newest.id IS NOT NULL
        AND c.last_read_message_id IS DISTINCT FROM newest.id""",
        {"chats": list(chat_ids)},
    )
    return [row["id"] for row in rows]


async def mark_read(session: Session, chat_id: UUID) -> None:
    """The owner has seen the newest assistant message. Touches no version."""
    await fetch(
        session,
        """
        UPDATE chats SET last_read_message_id = newest.id FROM (
            SELECT max(id) AS id FROM chat_messages
            WHERE chat_id = %(chat)s AND role = 'assistant' AND NOT deleted AND visibility <> 'model') newest
        WHERE chats.id = %(chat)s AND newest.id IS NOT NULL
        AND chats.last_read_message_id IS DISTINCT FROM newest.id""",
        {"chat": chat_id},
    )
