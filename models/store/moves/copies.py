"""Chats that begin with a history: a fork of another chat, or one that was carried here as a document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from models.errors import NotFound
from models.parts import Part, to_rest
from models.rules import history, webhooks
from models.rules.moves import Move, check
from models.rules.states import State, Status, classify
from models.store.database import Row, fetch, fetch_together
from models.store.moves import outbox
from models.store.moves.answers import cancelled
from models.store.moves.insert import INSERT_ROWS
from models.store.moves.record import USAGE_COLUMNS, Moved, StepRow, encode, record
from models.store.notices import CHATS, notice
from models.store.session import Session

# An edit of the source waits until the copy is made, as the copy waits for a move that is under way.
_SOURCE = "SELECT * FROM chats WHERE id = %(source)s FOR SHARE"
_LAST = "SELECT max(id) AS upto FROM chat_messages WHERE chat_id = %(source)s AND NOT deleted"
# The rows of a summary were one commit, and stay one.
_NAMED = """
SELECT CASE WHEN t.compressed THEN (
    SELECT max(m.id) FROM chat_messages m WHERE m.chat_id = t.chat_id AND m.revision = t.revision AND NOT m.deleted)
    ELSE t.id END AS upto
FROM chat_messages t
WHERE t.chat_id = %(source)s AND t.id = %(message)s AND NOT t.deleted AND t.visibility <> 'model'"""
_TAIL = """
SELECT id, role, content FROM chat_messages
WHERE chat_id = %(source)s AND NOT deleted AND visibility <> 'user' AND NOT (compressed AND role = 'tool')
    AND id <= %(upto)s AND id >= coalesce(
    (SELECT id FROM chat_messages WHERE chat_id = %(source)s AND NOT deleted AND role = 'assistant'
         AND visibility <> 'user' AND id <= %(upto)s ORDER BY id DESC LIMIT 1), 9223372036854775807)
ORDER BY id"""
_MODEL = """
SELECT model_config_id FROM chat_messages
WHERE chat_id = %(source)s AND NOT deleted AND role = 'user' AND model_config_id IS NOT NULL AND id <= %(upto)s
ORDER BY id DESC LIMIT 1"""

_MADE = """
INSERT INTO chats (id, owner_id, organization_id, title, client_type, plan_mode, last_model_config_id, mcp_server_ids,
    labels, dynamic_tools, status, snapshot_version, history_version)
VALUES (%(id)s, %(owner_id)s, %(organization_id)s, %(title)s, %(client_type)s, %(plan_mode)s, %(model)s,
    %(mcp_server_ids)s::uuid[], %(labels)s::jsonb, %(dynamic_tools)s::jsonb, %(status)s, 1, 1)"""
# Without costs: they were paid once. Tokens stay, since they say how full the context is.
_COPY = """
INSERT INTO chat_messages (chat_id, revision, copied, role, content, content_version, visibility, compressed,
    created_by, model_config_id, input_tokens, output_tokens, total_tokens, reasoning_tokens, cache_creation_tokens,
    cache_read_tokens, context_limit, created_at)
SELECT %(id)s, 1, true, role, content, content_version, visibility, compressed,
    created_by, model_config_id, input_tokens, output_tokens, total_tokens, reasoning_tokens, cache_creation_tokens,
    cache_read_tokens, context_limit, created_at
FROM chat_messages WHERE chat_id = %(source)s AND NOT deleted AND id <= %(upto)s ORDER BY id"""
_ROWS = f"WITH {INSERT_ROWS} SELECT count(*) FROM added"  # noqa: S608 - fixed text
_LINKS = """
INSERT INTO chat_file_links (chat_id, file_id)
SELECT %(id)s, l.file_id FROM chat_file_links l WHERE l.chat_id = %(source)s AND EXISTS (
    SELECT FROM chat_messages m WHERE m.chat_id = %(id)s
        AND m.content @> jsonb_build_array(jsonb_build_object('type', 'file', 'file_id', l.file_id::text)))
ORDER BY l.created_at, l.file_id"""
# What came with it counts as read.
_READ = """
UPDATE chats c SET last_read_message_id = (SELECT max(m.id) FROM chat_messages m WHERE m.chat_id = c.id)
FROM users u WHERE c.id = %(id)s AND u.id = c.owner_id
RETURNING c.*, u.username AS owner_username, u.name AS owner_name"""

_CARRIED = """
INSERT INTO chat_messages (chat_id, revision, copied, role, content, visibility, created_by, model_config_id,
    input_tokens, output_tokens, total_tokens, reasoning_tokens, cache_creation_tokens, cache_read_tokens,
    context_limit, created_at)
SELECT %(id)s, 1, true, r.role, r.content, r.visibility, r.created_by, r.model_config_id,
    r.input_tokens, r.output_tokens, r.total_tokens, r.reasoning_tokens, r.cache_creation_tokens, r.cache_read_tokens,
    r.context_limit, least(r.created_at, now())
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(n int, role text, content jsonb, visibility text, created_by uuid,
    model_config_id uuid, input_tokens bigint, output_tokens bigint, total_tokens bigint, reasoning_tokens bigint,
    cache_creation_tokens bigint, cache_read_tokens bigint, context_limit bigint, created_at timestamptz)
ORDER BY r.n"""
_BATCH = 500  # messages a statement


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a chat with a history begins as. `content` is a next user message; without one the chat rests."""

    owner_id: UUID
    organization_id: UUID
    title: str
    labels: Mapping[str, str] = field(default_factory=dict)
    model_config_id: UUID | None = None
    client_type: str = "api"
    plan_mode: str | None = None
    mcp_server_ids: Sequence[UUID] = ()
    dynamic_tools: list[dict[str, Any]] | None = None
    content: list[Part] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cut:
    """A source under a shared lock, and where its history is cut: calls that are open there, the model that held."""

    source: Row
    upto: int
    opened: list[Part]
    model_config_id: UUID


async def cut(session: Session, source: UUID, message: int | None) -> Cut:
    """Hold the source, and see how its history looks after this message (None: the last one committed).

    Raises NotFound for a message that readers of the chat do not see there.
    """
    params = {"source": source, "message": message}
    where = _LAST if message is None else _NAMED
    held, found = await fetch_together(session, [(_SOURCE, params), (where, params)])
    if not held:
        raise NotFound
    if not found or found[0]["upto"] is None:
        raise NotFound("Chat message not found.", "Message does not belong to this chat.")
    upto = found[0]["upto"]
    tail, named = await fetch_together(session, [(each, {"source": source, "upto": upto}) for each in (_TAIL, _MODEL)])
    model = named[0]["model_config_id"] if named else held[0]["last_model_config_id"]
    return Cut(held[0], upto, history.open_calls(tail), model)


async def fork(session: Session, taken: Cut, beginning: Beginning) -> Moved:
    """A new root chat with copies of the messages up to the cut; open calls are answered by an error.

    It shares files with its source, which never change, and nothing else.
    """
    model = beginning.model_config_id or taken.model_config_id
    closed = cancelled(taken.opened, history.CANCELLED_BY_COPY)
    chat = _chat(beginning, model)
    params = {**chat, "source": taken.source["id"], "upto": taken.upto}
    statements = [(_MADE, chat), (_COPY, params), (_LINKS, params)]
    return await _begin(session, chat, statements, [*closed, *_said(beginning, model)])


async def carry(
    session: Session, beginning: Beginning, system: Sequence[str], messages: Sequence[Mapping[str, Any]]
) -> Moved:
    """A new root chat with these messages: role, content, visibility, model_config_id, usage, created_at.

    What a user said is the new owner's. Nothing runs; hidden system messages come first.
    """
    assert beginning.model_config_id is not None
    chat = _chat(beginning, beginning.model_config_id)
    rows = [StepRow("system", [{"type": "text", "text": text}], visibility="model") for text in system]
    made = [record(row, number) for number, row in enumerate(rows)]
    await fetch_together(session, [(_MADE, chat), (_ROWS, {**chat, "rows": encode(made)})])
    for start in range(0, len(messages), _BATCH):
        batch = [_carried(row, n, beginning.owner_id) for n, row in enumerate(messages[start : start + _BATCH])]
        await fetch(session, _CARRIED, {"id": chat["id"], "rows": encode(batch)})
    return await _begin(session, chat, [], _said(beginning, beginning.model_config_id))


def _chat(beginning: Beginning, model: UUID) -> dict[str, Any]:
    tools = beginning.dynamic_tools
    return {
        "id": uuid7(),
        "owner_id": beginning.owner_id,
        "organization_id": beginning.organization_id,
        "title": beginning.title,
        "client_type": beginning.client_type,
        "plan_mode": beginning.plan_mode,
        "model": model,
        "mcp_server_ids": list(beginning.mcp_server_ids),
        "labels": encode(to_rest(dict(beginning.labels))),
        "dynamic_tools": None if tools is None else encode(to_rest(tools)),
        "status": (Status.PENDING if beginning.content else Status.WAITING).value,
        "snapshot_version": 1,
        "history_version": 1,
        "generation_attempt": 0,
        "archived": False,
    }


def _said(beginning: Beginning, model: UUID) -> list[StepRow]:
    if not beginning.content:
        return []
    return [StepRow("user", beginning.content, model_config_id=model, created_by=beginning.owner_id)]


async def _begin(
    session: Session, chat: dict[str, Any], statements: Sequence[tuple[Any, Any]], rows: Sequence[StepRow]
) -> Moved:
    """Check the move, then write it all in one round trip: the chat is there with its history, or not at all."""
    landed = classify(chat["status"], False, False)
    check(State.N, Move.CREATE, landed)
    made = [record(row, number) for number, row in enumerate(rows)]
    written = [*statements, *([(_ROWS, {**chat, "rows": encode(made)})] if made else ()), (_READ, chat)]
    session.tell(CHATS, notice(chat, ("created",)))
    *_, [row] = await fetch_together(session, written)
    await outbox.note(session, [row["id"]], webhooks.told(("created",)))
    return Moved(row, landed, nudge=bool(landed is State.R0))


def _carried(row: Mapping[str, Any], number: int, owner_id: UUID) -> dict[str, Any]:
    usage = row.get("usage") or {}
    return {
        "n": number,
        "role": row["role"],
        "content": to_rest(row["content"]),
        "visibility": row["visibility"],
        "created_by": owner_id if row["role"] == "user" else None,
        "model_config_id": row["model_config_id"],
        "created_at": row["created_at"],
        "context_limit": usage.get("context_limit"),
        **{column: usage.get(column) for column in USAGE_COLUMNS},
    }
