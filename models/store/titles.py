"""A chat's title and label as metadata: what they are made from, saving them, and who holds the title for now.

None of this is execution state: no version moves, and nothing here waits for a turn, only for a row lock.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from models.parts import from_rest
from models.rules import webhooks
from models.rules.titles import RECENT_TURNS, spoken
from models.store import reserving
from models.store.database import Row, fetch, fetch_together
from models.store.moves import outbox
from models.store.moves.record import USAGE_COLUMNS, StepRow, encode, record
from models.store.notices import CHATS, notice
from models.store.session import Session
from models.store.spending import COUNTED_UP, SPEND, spent

LOCK_LIFE = timedelta(minutes=1)  # then whoever held the title is taken for dead
MOST_RECENT = 200  # messages that are read of a chat's latest turns
TITLE_CHANGED, SUMMARY_CHANGED = ("title_change",), ("summary_change",)

_SPOKEN = """jsonb_path_query_array(content, '$[*] ? (@.type == "text" || @.type == "file-reference")') AS content"""
_VISIBLE = "chat_id = %(id)s AND NOT deleted AND visibility IN ('user', 'both')"
_ASKED = f"{_VISIBLE} AND role = 'user'"  # in the words of the partial index for prompts

_CHAT = f"SELECT c.*, {reserving.BUDGETED} FROM chats c WHERE c.id = %(id)s"  # noqa: S608 - fixed text
_TURNS = f"SELECT count(*) AS found FROM chat_messages WHERE {_ASKED}"  # noqa: S608 - fixed text
_FIRST = f"SELECT id, role, {_SPOKEN} FROM chat_messages WHERE {_ASKED} ORDER BY id LIMIT 1"  # noqa: S608 - fixed text
_RECENT = f"""
    SELECT id, role, {_SPOKEN} FROM chat_messages
    WHERE {_VISIBLE} AND role <> 'system' AND id >= coalesce(
        (SELECT min(id) FROM (SELECT id FROM chat_messages WHERE {_ASKED} ORDER BY id DESC LIMIT %(turns)s) latest), 0)
    ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608 - fixed text
_COUNTED = ("runtime_ms", "model_config_id", "total_cost_micros", *USAGE_COLUMNS)
_CHARGE = f"""added AS (
    INSERT INTO chat_messages (chat_id, revision, role, content, visibility, deleted, {", ".join(_COUNTED)})
    SELECT id, history_version, 'assistant', %(content)s::jsonb, 'model', true,
        {", ".join(f"%({column})s" for column in _COUNTED)}
    FROM chats WHERE id = %(id)s RETURNING id)"""  # noqa: S608 - fixed text


@dataclass(slots=True)
class Talk:
    """What of a chat its title is made from. Rows hold what was said, without calls and results."""

    chat: Row
    turns: int
    first: Row | None
    recent: list[Row]  # of the latest turns, in order


async def talk(session: Session, chat_id: UUID) -> Talk | None:
    """What there is to make a title or a label from, in one round trip; None if there is no such chat."""
    wanted = {"id": chat_id, "turns": RECENT_TURNS, "limit": MOST_RECENT}
    chats, [counted], first, recent = await fetch_together(
        session, [(statement, wanted) for statement in (_CHAT, _TURNS, _FIRST, _RECENT)]
    )
    if not chats:
        return None
    rows = [{**row, "content": from_rest(row["content"])} for row in reversed(recent)]
    opening = {**first[0], "content": from_rest(first[0]["content"])} if first else None
    return Talk(chats[0], counted["found"], opening, rows)


def is_held(title_locked_at: datetime | None, now: datetime) -> bool:
    """Does somebody hold a title that was locked at this moment? `now` is the database's."""
    return title_locked_at is not None and now - title_locked_at < LOCK_LIFE


async def hold(session: Session, chat_id: UUID) -> datetime | None:
    """Keep everybody else from changing the title, for a minute at most; None when somebody else does already.

    The moment given back names this hold.
    """
    rows = await fetch(
        session,
        """
        UPDATE chats SET title_locked_at = clock_timestamp()
        WHERE id = %(id)s AND (title_locked_at IS NULL OR title_locked_at <= clock_timestamp() - %(life)s)
        RETURNING title_locked_at
        """,
        {"id": chat_id, "life": LOCK_LIFE},
    )
    return rows[0]["title_locked_at"] if rows else None


async def release(session: Session, chat_id: UUID, held: datetime) -> None:
    """Let go of the title, if this hold is still the current one."""
    await fetch(
        session,
        "UPDATE chats SET title_locked_at = NULL WHERE id = %(id)s AND title_locked_at = %(held)s",
        {"id": chat_id, "held": held},
    )


async def save_automatic(session: Session, chat_id: UUID, title: str, *, instead_of: str) -> bool:
    """Save a title that nobody asked for: only if the chat still has the one it was made for, and nobody holds it."""
    rows = await fetch(
        session,
        """
        UPDATE chats SET title = %(title)s
        WHERE id = %(id)s AND title = %(before)s AND title <> %(title)s
          AND (title_locked_at IS NULL OR title_locked_at <= clock_timestamp() - %(life)s)
        RETURNING *
        """,
        {"id": chat_id, "title": title, "before": instead_of, "life": LOCK_LIFE},
    )
    return await _told(session, rows, TITLE_CHANGED)


async def save_held(session: Session, chat_id: UUID, title: str, held: datetime) -> bool:
    """Save a title that a person asked for, and let go of it; False when the hold was lost meanwhile."""
    rows = await fetch(
        session,
        """
        UPDATE chats SET title = %(title)s, title_locked_at = NULL, updated_at = now()
        WHERE id = %(id)s AND title_locked_at = %(held)s RETURNING *
        """,
        {"id": chat_id, "title": title, "held": held},
    )
    return await _told(session, rows, TITLE_CHANGED)


async def save_label(session: Session, chat_id: UUID, label: str, *, instead_of: str, snapshot_version: int) -> bool:
    """Save what a turn is called, if the chat is still where that turn left it."""
    rows = await fetch(
        session,
        """
        UPDATE chats SET last_turn_summary = %(label)s
        WHERE id = %(id)s AND last_turn_summary = %(before)s AND snapshot_version = %(version)s RETURNING *
        """,
        {"id": chat_id, "label": label, "before": instead_of, "version": snapshot_version},
    )
    return await _told(session, rows, SUMMARY_CHANGED)


async def resting(session: Session, chat_id: UUID, label: str) -> Row | None:
    """Whose chat it is and its model, if it rests under this label."""
    rows = await fetch(
        session,
        "SELECT owner_id, last_model_config_id FROM chats "
        "WHERE id = %(id)s AND status = 'waiting' AND NOT archived AND last_turn_summary = %(label)s",
        {"id": chat_id, "label": label},
    )
    return rows[0] if rows else None


async def charge(session: Session, chat: Row, *calls: StepRow) -> int | None:
    """Charge the chat with calls that are no part of its talk: the id of the last one's deleted row, that nobody sees.

    It carries the version that the history has, so no reader takes it for news. None when the chat is gone. The chat is
    locked before budgets, and all budgets before the owner's total, as in every move.
    """
    reserved = [(call.reservation, call.total_cost_micros) for call in calls if call.reservation is not None]
    if reserved:
        await fetch(session, "SELECT FROM chats WHERE id = %(id)s FOR NO KEY UPDATE", {"id": chat["id"]})
    if len(reserved) > 1:
        await reserving.hold(session, [chat["id"]])
    for reservation, paid in reserved:
        await reserving.settle(session, reservation, paid)
    charged = None
    for call in calls:
        charged = await _charge(session, chat, call)
    return charged


async def _charge(session: Session, chat: Row, call: StepRow) -> int | None:
    made = record(call, 0)
    params = {**made, "content": encode(made["content"]), "id": chat["id"]}
    pieces = [_CHARGE]
    if call.total_cost_micros:
        # The chat comes first: it is read by what is selected, and the owner's total is not.
        pieces += [f"changed AS (UPDATE chats SET {COUNTED_UP} WHERE id = %(id)s RETURNING id)", SPEND]  # noqa: S608
        params |= spent(chat, call.total_cost_micros)
    select = "id, (SELECT count(*) FROM changed) AS changed" if call.total_cost_micros else "id"
    rows = await fetch(session, f"WITH {', '.join(pieces)} SELECT {select} FROM added", params)  # noqa: S608
    return rows[0]["id"] if rows else None


async def words(session: Session, chat_id: UUID, charged: int) -> str:
    """What the call that was charged as this row came to."""
    rows = await fetch(
        session,
        "SELECT content FROM chat_messages WHERE id = %(row)s AND chat_id = %(id)s",
        {"row": charged, "id": chat_id},
    )
    return spoken(from_rest(rows[0]["content"])) if rows else ""


async def _told(session: Session, rows: list[Row], watch: tuple[str, ...]) -> bool:
    await outbox.note(session, [chat["id"] for chat in rows], webhooks.told(watch))
    for chat in rows:
        session.tell(CHATS, notice(chat, watch))
    return bool(rows)
