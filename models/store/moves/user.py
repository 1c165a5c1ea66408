"""The moves that people make: create, send, edit, the queue, interrupt."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from models.errors import Invalid, NotFound, QueueFull
from models.parts import Part
from models.rules import history, webhooks
from models.rules.moves import Move, check, landings
from models.rules.states import BUSY, State, Status
from models.store.database import Row, fetch
from models.store.moves import outbox
from models.store.moves.answers import answers, cancelled
from models.store.moves.insert import INSERT_ROWS
from models.store.moves.record import (
    METADATA_COLUMNS,
    Change,
    Locked,
    Moved,
    StepRow,
    apply,
    encode,
    inserted,
    keep,
    lock,
    promoted,
    record,
    unchanged,
)
from models.store.notices import CHATS, notice
from models.store.session import Session

_BACKLOG = frozenset({State.E1, State.W1})

_CREATE = f"""
WITH made AS (
    INSERT INTO chats (id, owner_id, organization_id, title, client_type, plan_mode, last_model_config_id,
        mcp_server_ids, labels, dynamic_tools, workspace_id, build_id, agent_id, parent_chat_id, root_chat_id, mode,
        status, snapshot_version, history_version)
    VALUES (%(id)s, %(owner_id)s, %(organization_id)s, %(title)s, %(client_type)s, %(plan_mode)s, %(model)s,
        %(mcp_server_ids)s::uuid[], %(labels)s::jsonb, %(dynamic_tools)s::jsonb, %(workspace)s, %(build)s, %(agent)s,
        %(parent)s, %(root)s, %(mode)s, 'pending', 1, 1)
    RETURNING *),
{outbox.MADE},
{INSERT_ROWS}
SELECT made.*, u.username AS owner_username, u.name AS owner_name, now() AS at,
    ARRAY(SELECT id FROM added ORDER BY id) AS ids, {outbox.WRITTEN}
FROM made JOIN users u ON u.id = made.owner_id"""  # noqa: S608 - fixed text


async def create(
    session: Session,
    *,
    owner_id: UUID,
    organization_id: UUID,
    title: str,
    content: list[Part],
    model_config_id: UUID,
    created_by: UUID,
    system: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    mcp_server_ids: Sequence[UUID] = (),
    plan_mode: str | None = None,
    client_type: str = "api",
    dynamic_tools: list[dict[str, Any]] | None = None,
    workspace_id: UUID | None = None,
    chat_id: UUID | None = None,
    parent: Row | None = None,
    mode: str | None = None,
) -> Moved:
    """Create a chat with its hidden system messages and its first user message; it is pending at once.

    A sub-agent's chat has a `parent`, which is locked, and works where that does.
    """
    if not content:
        raise Invalid("Content is required.", "Content cannot be empty.")
    check(State.N, Move.CREATE, State.R0)
    rows = [StepRow("system", [{"type": "text", "text": text}], visibility="model") for text in system]
    rows.append(StepRow("user", content, model_config_id=model_config_id, created_by=created_by))
    records = [record(row, number) for number, row in enumerate(rows)]
    new_id = chat_id or uuid7()
    fresh = {
        "id": new_id,
        "owner_id": owner_id,
        "snapshot_version": 1,
        "history_version": 1,
        "generation_attempt": 0,
        "status": Status.PENDING.value,
        "archived": False,
    }
    params = {
        **fresh,
        "told": webhooks.told(("created",)),
        "organization_id": organization_id,
        "title": title,
        "client_type": client_type,
        "plan_mode": plan_mode,
        "model": model_config_id,
        "mcp_server_ids": list(mcp_server_ids),
        "labels": encode(dict(labels or {})),
        "dynamic_tools": None if dynamic_tools is None else encode(dynamic_tools),
        "workspace": parent["workspace_id"] if parent else workspace_id,
        "build": parent["build_id"] if parent else None,
        "agent": parent["agent_id"] if parent else None,
        "parent": parent["id"] if parent else None,
        "root": (parent["root_chat_id"] or parent["parent_chat_id"] or parent["id"]) if parent else None,
        "mode": mode,
        "rows": encode(records),
    }
    session.tell(CHATS, notice(fresh, ("created",)))
    [made] = await fetch(session, _CREATE, params)
    if made.pop("told"):
        session.ring()
    written = {"ids": made.pop("ids"), "at": made.pop("at")}
    return Moved(made, State.R0, inserted(records, new_id, 1, written), nudge=True)


async def send(
    session: Session,
    locked: Locked,
    *,
    content: list[Part],
    sender_id: UUID,
    model_config_id: UUID | None,
    interrupt: bool,
    queue_limit: int,
    metadata: Mapping[str, Any] | None = None,
) -> Moved:
    """Say something: inserted at once when the chat is idle, queued when it is busy, head first where a queue waits.

    `metadata` (plan_mode, mcp_server_ids) is chat state and applies at once, also when the message is queued.
    Raises QueueFull, IllegalMove (archived).
    """
    move = Move.SEND_INTERRUPT if interrupt else Move.SEND
    state = locked.state
    landings(state, move)
    message = StepRow("user", content, model_config_id=model_config_id, created_by=sender_id)
    columns = dict(metadata or {})
    if not columns.keys() <= METADATA_COLUMNS:
        raise Invalid(f"not metadata: {', '.join(sorted(columns.keys() - METADATA_COLUMNS))}")
    if state in BUSY:
        _require_room(locked, queue_limit)
        change = _queued_while_busy(locked, interrupt)
        change.enqueue, change.columns = message, columns
        moved = await apply(session, locked, change, move)
        # A running turn finds the queue itself when it ends; only a stop must reach Temporal as well.
        moved.nudge = moved.chat["status"] != locked.chat["status"]
        return moved
    if state in _BACKLOG:
        _require_room(locked, queue_limit)
        head = locked.queue[0]
        rows = [*await answers(session, locked.id, locked.tail, history.CANCELLED_BY_PROMOTION), promoted(head)]
        change = Change(Status.PENDING, rows=rows, enqueue=message, dequeue=[head["id"]], columns=columns)
        return await apply(session, locked, change, move)
    rows = [*await answers(session, locked.id, locked.tail, history.CANCELLED_BY_MESSAGE), message]
    return await apply(session, locked, Change(Status.PENDING, rows=rows, columns=columns), move)


async def edit(
    session: Session,
    locked: Locked,
    message_id: int,
    *,
    content: list[Part],
    editor_id: UUID,
    model_config_id: UUID | None = None,
) -> Moved:
    """Replace a user message and everything after it; the queue goes, running work is obsolete.

    Raises NotFound (no such message here, or already gone) and Invalid (not a user's message).
    """
    landings(locked.state, Move.EDIT)
    found = await fetch(
        session,
        "SELECT role, visibility, model_config_id, content #>> '{0,type}' AS begins FROM chat_messages "
        "WHERE chat_id = %(chat)s AND id = %(id)s AND NOT deleted AND visibility <> 'model'",
        {"chat": locked.id, "id": message_id},
    )
    if not found:
        raise NotFound("Chat message not found.", "Message does not belong to this chat.")
    [target] = found
    if target["role"] != "user" or target["begins"] in history.CONTEXT_PARTS:
        raise Invalid("Only user messages can be edited.")
    remaining = [row for row in locked.tail if row["id"] < message_id]
    replacement = StepRow(
        "user",
        content,
        model_config_id=model_config_id or target["model_config_id"],
        created_by=editor_id,
        visibility=target["visibility"],
    )
    change = Change(
        Status.PENDING,
        rows=[*cancelled(history.open_calls(remaining), history.CANCELLED_BY_MESSAGE), replacement],
        cut=message_id,
        dequeue=[row["id"] for row in locked.queue],
    )
    return await apply(session, locked, change, Move.EDIT)


async def delete_queued(session: Session, locked: Locked, queued_id: int) -> Moved:
    """Take a message out of the queue; one that is not there changes nothing."""
    landings(locked.state, Move.DELETE_QUEUED)
    if all(row["id"] != queued_id for row in locked.queue):
        return unchanged(locked)
    moved = await apply(session, locked, keep(locked, dequeue=[queued_id]), Move.DELETE_QUEUED)
    moved.nudge = False
    return moved


async def promote_queued(session: Session, locked: Locked, queued_id: int) -> Moved:
    """Run a queued message next: now if the chat is idle, after a stop that keeps the partial answer if it runs.

    Raises NotFound when the queue does not hold it.
    """
    head = next((row for row in locked.queue if row["id"] == queued_id), None)
    if head is None:
        raise NotFound("Failed to promote queued message.", "queued message not found")
    landings(locked.state, Move.PROMOTE_QUEUED)
    if locked.state in (State.R1, State.I1):
        change = keep(locked, status=Status.INTERRUPTING.value, retry_state=None, head=queued_id)
        return await apply(session, locked, change, Move.PROMOTE_QUEUED)
    change = Change(
        Status.PENDING,
        rows=[*await answers(session, locked.id, locked.tail, history.CANCELLED_BY_PROMOTION), promoted(head)],
        dequeue=[queued_id],
    )
    return await apply(session, locked, change, Move.PROMOTE_QUEUED)


async def interrupt(session: Session, locked: Locked) -> Moved:
    """Stop: a running turn keeps its partial answer, open client calls are answered for it; idle is unchanged."""
    state = locked.state
    landings(state, Move.INTERRUPT)
    if state in (State.R0, State.R1):
        return await apply(
            session, locked, keep(locked, status=Status.INTERRUPTING.value, retry_state=None), Move.INTERRUPT
        )
    if state in (State.A0, State.A1):
        rows = cancelled(locked.open_calls, history.CANCELLED_BY_USER)
        if not locked.queue or locked.is_barred:
            return await apply(session, locked, Change(Status.WAITING, rows=rows), Move.INTERRUPT)
        head = locked.queue[0]
        change = Change(Status.PENDING, rows=[*rows, promoted(head)], dequeue=[head["id"]])
        return await apply(session, locked, change, Move.INTERRUPT)
    return unchanged(locked)


async def stop_barred(session: Session, chat_id: UUID) -> Moved:
    """Stop a chat whose owner is suspended or gone; of anybody else's, nothing changes. Raises NotFound."""
    locked = await lock(session, chat_id)
    if not locked.is_barred or locked.state not in (State.R0, State.R1, State.A0, State.A1):
        return unchanged(locked)
    return await interrupt(session, locked)


def _require_room(locked: Locked, limit: int) -> None:
    if len(locked.queue) >= limit:
        raise QueueFull(limit)


def _queued_while_busy(locked: Locked, interrupt: bool) -> Change:
    state = locked.state
    if not interrupt or state in (State.I0, State.I1):
        return keep(locked)
    if state in (State.A0, State.A1):
        return Change(Status.PENDING, rows=cancelled(locked.open_calls, history.CANCELLED_BY_SEND_INTERRUPT))
    return keep(locked, status=Status.INTERRUPTING.value, retry_state=None)
