"""The stream log: what a running step has produced so far, written by its worker, read by every watcher's process."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import psycopg

from models.events import assemble
from models.parts import Part, from_rest, to_rest
from models.store.database import fetch
from models.store.notices import PARTS
from models.store.session import Session

EPISODE_BYTES = 1024 * 1024  # what exceeds it is not previewed
NOTICE_BYTES = 7900  # Postgres refuses a NOTIFY payload of 8000 bytes
PURGE_BATCH = 20_000


class Episode(NamedTuple):
    """One attempt of one step: its parts are numbered from 1, without gaps."""

    history_version: int
    generation_attempt: int


class LogRow(NamedTuple):
    """A part on its way into the log; `part` is JSON as it rests (parts.to_rest)."""

    chat_id: UUID
    episode: Episode
    seq: int
    role: str
    part: bytes


class PartsNotice(NamedTuple):
    """Parts of one episode from `seq` on, as they rest; without parts, a hint that the log holds it up to `seq`."""

    chat_id: UUID
    episode: Episode
    seq: int
    parts: list[tuple[str, Part]] | None


_WRITE = """
WITH written AS (
    INSERT INTO stream_log (chat_id, history_version, generation_attempt, seq, role, part)
    SELECT c, h, a, s, r, p
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS row(c uuid, h bigint, a int, s int, r text, p jsonb)
    ON CONFLICT DO NOTHING)
SELECT pg_notify(%(channel)s, payload) FROM unnest(%(payloads)s::text[]) payload"""


async def write(connection: psycopg.AsyncConnection[Any], rows: Sequence[LogRow]) -> None:
    """Put the rows into the log and tell the watchers, in one statement; a row that is there already stays as it is."""
    if not rows:
        return
    records = [
        {
            "c": row.chat_id,
            "h": row.episode[0],
            "a": row.episode[1],
            "s": row.seq,
            "r": row.role,
            "p": orjson.Fragment(row.part),
        }
        for row in rows
    ]
    params = {"rows": orjson.dumps(records).decode(), "channel": PARTS, "payloads": encode_notices(rows)}
    await connection.execute(_WRITE, params)


_ADD = """
INSERT INTO stream_log (chat_id, history_version, generation_attempt, seq, role, part)
SELECT %(chat)s, %(history)s, %(attempt)s, coalesce(max(seq), 0) + 1, %(role)s, %(part)s::jsonb FROM stream_log
WHERE chat_id = %(chat)s AND history_version = %(history)s AND generation_attempt = %(attempt)s
ON CONFLICT DO NOTHING RETURNING seq"""


async def add(session: Session, chat_id: UUID, episode: Episode, role: str, part: Part) -> None:
    """Put a part behind what the log holds of an episode whose step nobody is at. Of two at once, one is lost."""
    rest = orjson.dumps(to_rest(part))
    given = {"chat": chat_id, "history": episode[0], "attempt": episode[1], "role": role, "part": rest.decode()}
    for row in await fetch(session, _ADD, given):
        for payload in encode_notices([LogRow(chat_id, episode, row["seq"], role, rest)]):
            session.tell(PARTS, payload)


def encode_notices(rows: Iterable[LogRow]) -> list[str]:
    """The rows as NOTIFY payloads that carry the parts, in order; a part that fits in none becomes a hint."""
    payloads: list[str] = []
    groups: list[bytes] = []  # of the payload that is being filled
    size = 2
    following: tuple[object, ...] | None = None  # what would extend the last group
    for row in rows:
        item = b'["%s",%s]' % (row.role.encode(), row.part)
        fits = True
        if following == (row.chat_id, row.episode, row.seq) and size + len(item) + 1 <= NOTICE_BYTES:
            groups[-1] = b"%s,%s]]" % (groups[-1][:-2], item)
            size += len(item) + 1
        else:
            head = b'["%s",%d,%d,%d' % (str(row.chat_id).encode(), *row.episode, row.seq)
            group = b"%s,[%s]]" % (head, item)
            fits = len(group) + 2 <= NOTICE_BYTES
            if not fits:
                group = head + b"]"
            if size + len(group) + 1 > NOTICE_BYTES:
                payloads.append(_payload(groups))
                groups, size = [], 2
            groups.append(group)
            size += len(group) + 1
        following = (row.chat_id, row.episode, row.seq + 1) if fits else None
    if groups:
        payloads.append(_payload(groups))
    return payloads


def _payload(groups: Sequence[bytes]) -> str:
    return (b"[%s]" % b",".join(groups)).decode()


def decode_notices(payload: str) -> list[PartsNotice]:
    """The inverse of `encode_notices`, for one payload; parts are as they rest."""
    notices = []
    for chat, history, attempt, seq, *carried in orjson.loads(payload):
        parts = [(role, part) for role, part in carried[0]] if carried else None
        notices.append(PartsNotice(UUID(chat), Episode(history, attempt), seq, parts))
    return notices


async def episode_parts(
    session: Session, chat_id: UUID, history_version: int, generation_attempt: int, after_seq: int = 0
) -> list[tuple[int, str, Part]]:
    """The parts of an episode after `after_seq`, as (seq, role, part), in order."""
    rows = await fetch(
        session,
        "SELECT seq, role, part FROM stream_log WHERE chat_id = %(chat)s AND history_version = %(history)s "
        "AND generation_attempt = %(attempt)s AND seq > %(seq)s ORDER BY seq",
        {"chat": chat_id, "history": history_version, "attempt": generation_attempt, "seq": after_seq},
    )
    return [(row["seq"], row["role"], from_rest(row["part"])) for row in rows]


async def partial(
    session: Session, chat_id: UUID, history_version: int, generation_attempt: int
) -> list[tuple[str, Part]]:
    """What an episode had come to, as whole parts with their roles: all that is left of a dead worker's step."""
    logged = await episode_parts(session, chat_id, history_version, generation_attempt)
    contiguous = ((role, part) for place, (seq, role, part) in enumerate(logged, start=1) if seq == place)
    # What a tool says while it runs is no result of it.
    return assemble((role, part) for role, part in contiguous if "result_delta" not in part)


async def purge(session: Session, older_than: timedelta) -> int:
    """Delete parts of that age, but those of an episode that still runs; returns how many, at most PURGE_BATCH."""
    [row] = await fetch(
        session,
        """
        WITH old AS (
            SELECT s.ctid FROM stream_log s
            WHERE s.created_at < now() - %(age)s AND NOT EXISTS (
                SELECT FROM chats c WHERE c.id = s.chat_id AND c.status IN ('running', 'interrupting')
                AND c.history_version = s.history_version AND c.generation_attempt = s.generation_attempt)
            LIMIT %(most)s),
        gone AS (DELETE FROM stream_log WHERE ctid = ANY(ARRAY(SELECT ctid FROM old)) RETURNING 1)
        SELECT count(*) AS purged FROM gone""",
        {"age": older_than, "most": PURGE_BATCH},
    )
    return int(row["purged"])
