"""Uploaded files: keep one, hand out what it holds, and note which chats use it (wire-api.md 2.2, 8.1, 8.2)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from uuid_utils.compat import uuid7

from models.errors import Exhausted, NotFound
from models.parts import Part, from_rest, to_rest
from models.principal import Principal
from models.store.chats import VISIBLE, Statement, visible
from models.store.database import Row, fetch
from models.store.session import Session

MAX_LINKS = 50

# Its owner, who governs the organization, and whoever may read a chat that uses it.
_READABLE = f"""
    ((%(reads)s AND (
        %(governs_all)s
        OR f.organization_id = ANY(%(governs)s::uuid[])
        OR (f.owner_id = %(caller)s AND f.organization_id = ANY(%(uses_agents)s::uuid[]))))
     OR EXISTS (SELECT 1 FROM chat_file_links l JOIN chats c ON c.id = l.chat_id
                LEFT JOIN chats r ON r.id = coalesce(c.root_chat_id, c.parent_chat_id)
                WHERE l.file_id = f.id AND {VISIBLE}))
"""  # noqa: S608 - fixed text

# Shared locks: what a message names stays until the link that keeps it is committed.
_NAMED = f"""
    SELECT f.id, f.name, f.mimetype FROM chat_files f WHERE f.id = ANY(%(ids)s::uuid[]) AND {_READABLE}
    FOR KEY SHARE OF f
"""  # noqa: S608 - fixed text

_ONE = f"SELECT f.id, f.name, f.mimetype, f.size, f.data FROM chat_files f WHERE f.id = %(id)s AND {_READABLE}"  # noqa: S608

# The whole batch, or nothing when it would pass the limit; `asked` counts what is not linked yet.
_LINK = """
    WITH had AS (SELECT file_id FROM chat_file_links WHERE chat_id = %(chat)s),
    asked AS (SELECT id FROM unnest(%(ids)s::uuid[]) AS given(id) WHERE id NOT IN (SELECT file_id FROM had)),
    linked AS (
        INSERT INTO chat_file_links (chat_id, file_id) SELECT %(chat)s, id FROM asked
        WHERE (SELECT count(*) FROM had) + (SELECT count(*) FROM asked) <= %(limit)s)
    SELECT (SELECT count(*) FROM asked) AS asked,
        (SELECT count(*) FROM had) + (SELECT count(*) FROM asked) <= %(limit)s AS fits
"""

_USED = """
    SELECT f.id, f.name, f.mimetype, f.size, f.created_at
    FROM chat_file_links l JOIN chat_files f ON f.id = l.file_id
    WHERE l.chat_id = %(chat)s ORDER BY l.created_at, f.id
"""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file with what it holds."""

    id: UUID
    name: str
    mimetype: str
    size: int
    data: bytes


_TODAY = """
    SELECT coalesce(sum(size), 0)::bigint AS bytes,
        date_trunc('day', now(), 'UTC') + interval '1 day' - now() AS left_of_day
    FROM chat_files WHERE owner_id = %(owner)s AND created_at >= date_trunc('day', now(), 'UTC')
"""


async def check_allowance(session: Session, owner_id: UUID, size: int, most: int) -> None:
    """Raise Exhausted when so many bytes more would be too much for the owner's day; what is deleted counts no more.

    Uploads that come together may pass together: each is judged by what is stored.
    """
    if not most:
        return
    [today] = await fetch(session, _TODAY, {"owner": owner_id})
    if today["bytes"] + size > most:
        raise Exhausted(
            "Upload limit exceeded.", f"Maximum {most} bytes can be uploaded a day.", retry_after=today["left_of_day"]
        )


async def save(
    session: Session,
    *,
    owner_id: UUID,
    organization_id: UUID,
    name: str,
    media_type: str,
    data: bytes,
    file_id: UUID | None = None,
) -> UUID:
    """Keep a new file; it is linked to no chat yet. What is kept under a `file_id` that is given stays as it is."""
    file_id = file_id or uuid7()
    await fetch(
        session,
        "INSERT INTO chat_files (id, owner_id, organization_id, name, mimetype, size, data) VALUES "
        "(%(id)s, %(owner)s, %(organization)s, %(name)s, %(type)s, %(size)s, %(data)b) ON CONFLICT (id) DO NOTHING",
        {
            "id": file_id,
            "owner": owner_id,
            "organization": organization_id,
            "name": to_rest(name),
            "type": media_type,
            "size": len(data),
            "data": data,
        },
    )
    return file_id


async def contents(session: Session, file_ids: Collection[UUID]) -> dict[UUID, StoredFile]:
    """What these files hold, whoever asks; those that are gone have no entry."""
    if not file_ids:
        return {}
    rows = await fetch(
        session,
        "SELECT id, name, mimetype, size, data FROM chat_files WHERE id = ANY(%(ids)s::uuid[])",
        {"ids": list(set(file_ids))},
        binary=True,
    )
    return {row["id"]: _stored(row) for row in rows}


async def sizes(session: Session, file_ids: Collection[UUID]) -> dict[UUID, int]:
    """How many bytes these files hold; those that are gone have no entry."""
    if not file_ids:
        return {}
    rows = await fetch(
        session, "SELECT id, size FROM chat_files WHERE id = ANY(%(ids)s::uuid[])", {"ids": list(set(file_ids))}
    )
    return {row["id"]: row["size"] for row in rows}


def used(chat_id: UUID) -> Statement:
    """The statement for what is known of the files that the chat uses, in the order they came."""
    return _USED, {"chat": chat_id}


async def load(session: Session, caller: Principal, file_id: UUID) -> StoredFile:
    """The file with what it holds; raises NotFound when the caller may not read it."""
    rows = await fetch(session, _ONE, {"id": file_id, **visible(caller)}, binary=True)
    if not rows:
        raise NotFound
    return _stored(rows[0])


async def parts(session: Session, caller: Principal, file_ids: Collection[UUID]) -> dict[UUID, Part]:
    """The part that stands for each of these files in a message; those that the caller may not read have none.

    The files cannot go away before the transaction ends.
    """
    if not file_ids:
        return {}
    rows = await fetch(session, _NAMED, {"ids": list(set(file_ids)), **visible(caller)})
    return {
        row["id"]: {"type": "file", "media_type": row["mimetype"], "file_id": str(row["id"]), "name": row["name"]}
        for row in rows
    }


async def link(session: Session, chat_id: UUID, content: Sequence[Part]) -> list[str]:
    """Note that the chat, which must be locked or new, uses the files of this content; returns warnings."""
    wanted = list({UUID(part["file_id"]) for part in content if part["type"] == "file"})
    if not wanted:
        return []
    [told] = await fetch(session, _LINK, {"chat": chat_id, "ids": wanted, "limit": MAX_LINKS})
    if told["fits"]:
        return []
    return [f"file linking skipped: batch of {told['asked']} file(s) would exceed limit of {MAX_LINKS}"]


def _stored(row: Row) -> StoredFile:
    return StoredFile(row["id"], from_rest(row["name"]), row["mimetype"], row["size"], bytes(row["data"]))
