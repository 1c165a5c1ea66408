"""The mechanism under every move: lock a chat with what decides about it, then write one Change in one statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import orjson

from models.errors import NotFound
from models.parts import Part, to_rest
from models.rules import history, summaries, webhooks
from models.rules.features import ADVISOR
from models.rules.instructions import CUSTOM_PROMPT
from models.rules.moves import Move, check, landings
from models.rules.states import RUNNABLE, State, Status, classify
from models.store import people, push, reserving
from models.store.database import Row, fetch, fetch_together
from models.store.moves import outbox
from models.store.moves.insert import DELETE_ROWS, DEQUEUE, ENQUEUE, HEAD, INSERT_ROWS
from models.store.moves.transcript import PROMPT
from models.store.notices import CHATS, notice
from models.store.session import Session
from models.store.spending import COUNTED_UP, SPEND, spent

USAGE_COLUMNS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "reasoning_tokens",
    "cache_creation_tokens",
    "cache_read_tokens",
)
MOST_TOKENS = 2**63 - 1


@dataclass(slots=True)
class StepRow:
    """A message to insert. `usage` maps token columns onto counts; zero is stored as unknown (admin.md 1.3)."""

    role: str
    content: list[Part]
    model_config_id: UUID | None = None
    created_by: UUID | None = None
    visibility: str = "both"
    usage: Mapping[str, int | None] | None = None
    runtime_ms: int | None = None
    context_limit: int | None = None
    provider_response_id: str | None = None
    queued_message_id: int | None = None
    compressed: bool = False
    total_cost_micros: int | None = None
    reservation: UUID | None = None


@dataclass(slots=True)
class Locked:
    """A chat under its row lock, its queue in order, and the tool parts of its history from the last assistant on."""

    chat: Row
    queue: list[Row]
    tail: list[Row]
    own_prompt: str = ""
    advisor: str = ""

    @property
    def id(self) -> UUID:
        return cast(UUID, self.chat["id"])

    @property
    def state(self) -> State:
        return classify(self.chat["status"], self.chat["archived"], bool(self.queue))

    @property
    def is_barred(self) -> bool:
        """Is the owner suspended or gone? Then no turn of theirs begins or goes on, and what is queued stays queued."""
        return bool(self.chat["is_barred"])

    @property
    def open_calls(self) -> list[Part]:
        """Calls of ours that the last assistant message left unanswered."""
        return history.open_calls(self.tail)


@dataclass(slots=True)
class Change:
    """What a move writes besides the versions. `attempt` None: as the versions imply (0 after a history change).

    `new_history` begins a new epoch without a new message: what worked under the old fence cannot commit any more.
    `paid` is what the attempt that ends has cost, where its rows do not say.
    """

    status: str
    archived: bool | None = None
    last_error: dict[str, Any] | None = None
    retry_state: dict[str, Any] | None = None
    attempt: int | None = None
    deadline: Any = None
    columns: dict[str, Any] = field(default_factory=dict)
    new_history: bool = False
    rows: list[StepRow] = field(default_factory=list)
    cut: int | None = None
    enqueue: StepRow | None = None
    dequeue: list[int] = field(default_factory=list)
    head: int | None = None
    watch: tuple[str, ...] = ()
    paid: int | None = None


@dataclass(slots=True)
class Moved:
    """The chat after a move, what was inserted, and whether Temporal must hear of it."""

    chat: Row
    state: State
    messages: list[Row] = field(default_factory=list)
    queued: Row | None = None
    nudge: bool = False


# A turn that has come to its end, or to a halt, is called by a plain label until somebody finds a better one.
_LABELLED = frozenset({Move.FINISH_TURN, Move.FINISH_ERROR, Move.RECONCILE, Move.ENTER_ACTION})
METADATA_COLUMNS = frozenset({"plan_mode", "mcp_server_ids"})

_COLUMNS = f"""
SELECT c.*, u.username AS owner_username, u.name AS owner_name, {people.BARRED} AS is_barred,
    clock_timestamp() AS locked_at, {outbox.HEARD}, {reserving.RESERVED}"""
_LOCKED = "FROM chats c JOIN users u ON u.id = c.owner_id WHERE c.id = %(id)s FOR NO KEY UPDATE OF c"
_LOCK = f"{_COLUMNS} {_LOCKED}"
_LOCK_FOR_ATTEMPT = f"{_COLUMNS}, {reserving.BUDGETED} {_LOCKED}"
_WISHES = f"""
SELECT k.key, k.value FROM chats c JOIN user_configs k ON k.user_id = c.owner_id AND k.key = '{CUSTOM_PROMPT}'
WHERE c.id = %(id)s
UNION ALL SELECT key, value FROM site_configs WHERE key = '{ADVISOR}'"""  # noqa: S608 - our own words
# Separate statements, after the lock: a subquery of the locking statement would see the queue as before the wait.
_QUEUE = "SELECT * FROM chat_queued_messages WHERE chat_id = %(id)s ORDER BY position, id"
_TAIL = """
SELECT id, role, compressed, visibility,
    jsonb_path_query_array(content, '$[*] ? (@.type == "tool-call" || @.type == "tool-result")') AS content
FROM chat_messages
WHERE chat_id = %(id)s AND NOT deleted AND visibility <> 'user' AND NOT (compressed AND role = 'tool')
    AND id >= coalesce(
    (SELECT id FROM chat_messages
     WHERE chat_id = %(id)s AND NOT deleted AND role = 'assistant' AND visibility <> 'user' ORDER BY id DESC LIMIT 1),
    9223372036854775807)
ORDER BY id"""


async def lock(session: Session, chat_id: UUID, *, prompt: bool = False) -> Locked:
    """Lock a chat's row and read what decides about it, in one round trip; raises NotFound.

    With `prompt`, `tail` holds the whole rows that the model is to see instead of the last tool parts, `own_prompt`
    what the owner wants every model to be told, and `advisor` that setting as it is stored.
    """
    if not prompt:
        return (await lock_all(session, [chat_id]))[0]
    params = {"id": chat_id}
    asked = [(statement, params) for statement in (_LOCK_FOR_ATTEMPT, _QUEUE, PROMPT, _WISHES)]
    chats, queue, tail, wishes = await fetch_together(session, asked)
    if not chats:
        raise NotFound
    said = {row["key"]: row["value"] for row in wishes}
    return Locked(chats[0], queue, tail, said.get(CUSTOM_PROMPT, ""), said.get(ADVISOR, ""))


async def lock_all(session: Session, chat_ids: Sequence[UUID]) -> list[Locked]:
    """Lock these chats, in this order and still in one round trip; raises NotFound."""
    statements = [(statement, {"id": chat_id}) for chat_id in chat_ids for statement in (_LOCK, _QUEUE, _TAIL)]
    read = await fetch_together(session, statements)
    if not all(read[::3]):
        raise NotFound
    return [Locked(chats[0], queue, tail) for chats, queue, tail in zip(read[::3], read[1::3], read[2::3], strict=True)]


async def apply(session: Session, locked: Locked, change: Change, *moves: Move, last: bool = False) -> Moved:
    """Check the moves against the table and write the change: one statement, one version, one notice.

    With `last` the transaction is committed in the same round trip, and nothing may follow.
    """
    chat = locked.chat
    landed = _check(locked, change, moves)
    version = chat["snapshot_version"] + 1
    history_changed = bool(change.rows) or change.cut is not None or change.new_history
    queue_changed = bool(change.enqueue or change.dequeue or change.head is not None)
    attempt = change.attempt if change.attempt is not None else (0 if history_changed else chat["generation_attempt"])
    retry_changed = change.retry_state != chat["retry_state"]
    named = [row.model_config_id for row in change.rows if row.model_config_id and row.role == "user"]
    touched = change.status != chat["status"] or history_changed or queue_changed or change.archived is not None
    archived = chat["archived"] if change.archived is None else change.archived
    # A request to compact is good for one compaction: it is gone when the history changes or the turn is over.
    holds = not history_changed and change.status in (Status.PENDING, Status.RUNNING)
    columns: dict[str, Any] = {
        "compaction_requested_at": chat["compaction_requested_at"] if holds else None,
        **change.columns,
        "status": change.status,
        "archived": archived,
        "last_error": change.last_error,
        "retry_state": change.retry_state,
        "snapshot_version": version,
        "history_version": version if history_changed else chat["history_version"],
        "queue_version": version if queue_changed else chat["queue_version"],
        "retry_state_version": version if retry_changed else chat["retry_state_version"],
        "generation_attempt": attempt,
        "requires_action_deadline_at": change.deadline,
        "last_model_config_id": named[-1] if named else chat["last_model_config_id"],
    }
    watch = change.watch or (("status_change",) if change.status != chat["status"] else ())
    if chat["capacity_queued_at"] is not None and change.status != Status.PENDING:
        columns["capacity_queued_at"] = None
    if moves[-1] in _LABELLED and (label := summaries.plain(change.status)) != chat["last_turn_summary"]:
        columns["last_turn_summary"] = label
        watch = (*watch, "summary_change")
    after: Row = {**chat, **columns}
    records = [record(row, number) for number, row in enumerate(change.rows)]
    told = webhooks.told(watch, moves[-1]) if chat["is_heard"] else []
    pushed = push.kind(chat, moves[-1], change.status)
    written = await _write(session, locked, change, columns, records, notice(after, watch), told, pushed, touched, last)
    if touched:
        after["updated_at"] = written["at"]
    messages = inserted(records, locked.id, version, written)
    queued = None
    if change.enqueue is not None:
        queued = {
            "id": written["queued"],
            "chat_id": locked.id,
            "content": to_rest(change.enqueue.content),
            "model_config_id": change.enqueue.model_config_id,
            "position": written["position"],
            "created_by": change.enqueue.created_by,
            "created_at": written["at"],
        }
    return Moved(after, landed, messages, queued, nudge=landed in RUNNABLE)


def keep(locked: Locked, **changes: Any) -> Change:
    """A change that leaves status, error, retry banner and deadline as they are, but for `changes`."""
    chat = locked.chat
    kept = {
        "status": chat["status"],
        "last_error": chat["last_error"],
        "retry_state": chat["retry_state"],
        "deadline": chat["requires_action_deadline_at"],
    }
    return Change(**{**kept, **changes})


def moment_after(locked: Locked, delay: timedelta) -> datetime:
    """The moment `delay` from now, by the database's clock."""
    return cast(datetime, locked.chat["locked_at"]) + delay


def unchanged(locked: Locked) -> Moved:
    """A move that found nothing to do: no version, no notice."""
    return Moved(locked.chat, locked.state)


def promoted(head: Row) -> StepRow:
    """The user message that a queued row becomes; its model choice and its sender go with it."""
    return StepRow(
        "user",
        head["content"],
        model_config_id=head["model_config_id"],
        created_by=head["created_by"],
        queued_message_id=head["id"],
    )


def record(row: StepRow, number: int) -> dict[str, Any]:
    """The row as the insert statement's JSON record."""
    made: dict[str, Any] = {
        "n": number,
        "role": row.role,
        "content": to_rest(row.content),
        "visibility": row.visibility,
        "created_by": row.created_by,
        "model_config_id": row.model_config_id,
        "queued_message_id": row.queued_message_id,
        "runtime_ms": row.runtime_ms,
        "context_limit": row.context_limit,
        "provider_response_id": to_rest(row.provider_response_id),
        "compressed": row.compressed,
        "total_cost_micros": row.total_cost_micros,
    }
    for column in USAGE_COLUMNS:
        made[column] = _counted((row.usage or {}).get(column))
    return made


def _counted(tokens: int | None) -> int | None:
    """A provider's count as the column can hold it: nonsense must not cost the answer it came with."""
    return min(max(tokens or 0, 0), MOST_TOKENS) or None


def encode(value: object) -> str:
    return orjson.dumps(value).decode()


def _check(locked: Locked, change: Change, moves: Sequence[Move]) -> State:
    remaining = len(locked.queue) - len(change.dequeue) + (change.enqueue is not None)
    archived = locked.chat["archived"] if change.archived is None else change.archived
    landed = classify(change.status, archived, remaining > 0)
    before = locked.state
    # All but the last move of a bundle stay in the state they started from (CommitStep, then FinishTurn).
    for move in moves[:-1]:
        landings(before, move)
    check(before, moves[-1], landed)
    return landed


async def _write(
    session: Session,
    locked: Locked,
    change: Change,
    columns: dict[str, Any],
    records: list[dict[str, Any]],
    payload: str,
    told: Sequence[str],
    pushed: str | None,
    touched: bool,
    last: bool,
) -> Row:
    """Only the parts that this change needs are in the statement: a plain step is an update and an insert."""
    positions = [row["position"] for row in locked.queue]
    params: dict[str, Any] = {**columns, "id": locked.id}
    for column in ("last_error", "retry_state"):
        params[column] = None if columns[column] is None else encode(to_rest(columns[column]))
    sets = [f"{column} = %({column})s" for column in columns]
    if touched:
        sets.append("updated_at = now()")
    known = [made["total_cost_micros"] for made in records if made["total_cost_micros"] is not None]
    if cost := sum(known):
        sets.append(COUNTED_UP)
        params |= spent(locked.chat, cost)
    returned = outbox.RETURNED if told or pushed else ""
    pieces = [f"changed AS (UPDATE chats SET {', '.join(sets)} WHERE id = %(id)s {returned})"]  # noqa: S608 - our own
    if told:
        pieces.append(outbox.CHANGED)
        params["told"] = told
    if cost:
        pieces.append(SPEND)
    select = ["now() AS at", *([outbox.WRITTEN] if told else ())]
    push.tell_with(pieces, select, params, pushed)
    if change.cut is not None:
        pieces.append(DELETE_ROWS)
        params["cut"] = change.cut
    if change.dequeue:
        pieces.append(DEQUEUE)
        params["dequeue"] = change.dequeue
    if change.head is not None:
        pieces.append(HEAD)
        params |= {"head": change.head, "first": min(positions, default=1) - 1}
    if records:
        pieces.append(INSERT_ROWS)
        select.append("ARRAY(SELECT id FROM added ORDER BY id) AS ids")
        params["rows"] = encode(records)
    paid = cost if known else change.paid
    reserving.settle_with(pieces, select, params, locked.chat, {**locked.chat, **columns}, paid)
    if change.enqueue is not None:
        pieces.append(ENQUEUE)
        select += ["(SELECT id FROM queued) AS queued", "%(last)s::bigint AS position"]
        params |= {
            "content": encode(to_rest(change.enqueue.content)),
            "queued_model": change.enqueue.model_config_id,
            "last": max(positions, default=0) + 1,
            "sender": change.enqueue.created_by,
        }
    statement = f"WITH {', '.join(pieces)} SELECT {', '.join(select)}"
    session.tell(CHATS, payload)
    [written] = await fetch(session, statement, params, last=last)
    if written.get("told") or written.get("posted") or written.get("pushed"):
        session.ring()
    return written


def inserted(records: Sequence[dict[str, Any]], chat_id: UUID, version: int, written: Row) -> list[Row]:
    """The rows as they now stand in the table."""
    return [
        {
            **{key: value for key, value in made.items() if key != "n"},
            "id": written["ids"][made["n"]],
            "chat_id": chat_id,
            "revision": version,
            "deleted": False,
            "created_at": written["at"],
        }
        for made in records
    ]
