"""The moves that a turn's effects make. Each is fenced: it counts only while its attempt is the current one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models.errors import FenceLost
from models.rules import history, plan
from models.rules.capacity import UNLIMITED, Limits
from models.rules.moments import rfc3339
from models.rules.moves import Move, landings
from models.rules.states import RUNNABLE, State, Status
from models.steps import Note, Outcome, StepReply, Then
from models.store import capacity, ledger
from models.store.database import Row
from models.store.moves.answers import answers
from models.store.moves.record import (
    Change,
    Locked,
    Moved,
    StepRow,
    apply,
    keep,
    lock,
    moment_after,
    promoted,
)
from models.store.session import Session

INVALID_STATE = {
    "message": "The chat was in an invalid state; send a new message or edit history to continue.",
    "kind": "generic",
    "retryable": False,
}
TOO_MANY_ATTEMPTS = {
    "message": "The chat request failed unexpectedly.",
    "detail": "The step was attempted too often without an answer.",
    "kind": "generic",
    "retryable": False,
}
PAUSES = 40  # times more attempts for calls that pause
CLIENT_PATIENCE = timedelta(hours=24)
INTERRUPTED_TOOL = history.CANCELLED_BEFORE_RESULT


@dataclass(frozen=True, slots=True)
class Fence:
    """The attempt that an effect works for: its commits count only while these are still current."""

    chat_id: UUID
    history_version: int
    generation_attempt: int


@dataclass(slots=True)
class Opened:
    """What an attempt found. `reply` is set when there is nothing to do but answer the workflow.

    `taken_over` says that the attempt before it came to nothing that was recorded. `held_by` is another living worker
    that is at it already: wait for what comes of it. `queued` says that the chat waits for a slot. `advisor` is that
    setting as it is stored.
    """

    then: Then
    fence: Fence
    chat: Row
    history: list[Row] = field(default_factory=list)
    reply: StepReply | None = None
    taken_over: bool = False
    held_by: UUID | None = None
    queued: bool = False
    own_prompt: str = ""
    advisor: str = ""

    @property
    def model_config_id(self) -> UUID | None:
        """The model that the turn's user message asks for."""
        found: UUID | None = history.model_of_turn(self.history)
        return found


async def open_attempt(
    session: Session,
    chat_id: UUID,
    *,
    max_attempts: int,
    max_steps: int,
    patience: timedelta = CLIENT_PATIENCE,
    stop_after: Collection[str] = (),
    wanted: Then | None = None,
    ahead: UUID | None = None,
    unattempted: int | None = None,
    living: Collection[UUID] = (),
    limits: Limits = UNLIMITED,
) -> Opened:
    """Look at the chat and, where it needs a step of ours, open the next attempt: from now on it is the fence.

    `patience` is how long a client may take to answer its own tool calls. A step of another kind than `wanted` is not
    opened: the reply names it. `ahead` is a worker that comes before the chat's run; what one of the `living` began so
    is left to it. With `unattempted`, only the first attempt at the history of that version is opened. Where the
    `limits` have no slot for a turn that begins, the chat stays pending and is queued for capacity.
    """
    locked = await lock(session, chat_id, prompt=True)
    chat, state = locked.chat, locked.state
    if unattempted is not None and (chat["history_version"] != unattempted or chat["generation_attempt"] != 0):
        return _settled(locked, Then.GENERATE, chat["snapshot_version"], Note.NOT_FIRST)
    if (unfit := await _unfit(session, locked)) is not None:
        return unfit
    then = plan.next_step(
        state,
        locked.tail,
        max_steps=max_steps,
        compaction_requested=chat["compaction_requested_at"] is not None,
        stop_after=stop_after,
    )
    if is_held(chat, living):
        held = _settled(locked, Then.GENERATE, chat["snapshot_version"], Note.AHEAD)
        held.held_by = chat["begun_by"]
        return held
    if then is Then.INTERRUPT or state not in RUNNABLE:
        return _settled(locked, then, chat["snapshot_version"], Note(f"the chat is {chat['status']}"))
    if ahead is not None and chat["status"] == Status.PENDING and then is not wanted:
        return _settled(locked, Then.GENERATE, chat["snapshot_version"], Note(f"the chat needs {then.value}"))
    if then is Then.AWAIT_CLIENT:
        reply = await _await_client(session, locked, [], patience)
        return Opened(reply.then, _fence(chat), chat, locked.tail, reply)
    if then is Then.REST:
        reply = await _finish(session, locked, [])
        return Opened(reply.then, _fence(chat), chat, locked.tail, reply)
    if wanted is not None and then is not wanted:
        return _settled(locked, then, chat["snapshot_version"], Note(f"the chat needs {then.value}"))
    if chat["begun_by"] is not None and (pause := _pause_left(locked)) > timedelta():
        why = Note.failed(chat["retry_state"].get("kind"))
        reply = StepReply(Then.BACK_OFF, chat["snapshot_version"], pause / timedelta(seconds=1), why)
        return Opened(reply.then, _fence(chat), chat, locked.tail, reply)
    if chat["generation_attempt"] >= max_attempts and not await _goes_on(session, locked, then, max_attempts):
        moved = await apply(session, locked, Change(Status.ERROR, last_error=TOO_MANY_ATTEMPTS), Move.FINISH_ERROR)
        reply = _reply(moved, Then.REST, Note.TOO_MANY_ATTEMPTS, Outcome.FAILED)
        return Opened(reply.then, _fence(chat), chat, locked.tail, reply)
    if limits and _takes_slot(chat) and not await capacity.admits(session, chat, limits):
        return await _queue_for_capacity(session, locked)
    change = Change(Status.RUNNING, attempt=chat["generation_attempt"] + 1, columns={"begun_by": ahead})
    moved = await apply(session, locked, change, Move.OPEN_ATTEMPT, last=True)
    # Whoever opened the last attempt neither committed it nor recorded why not: it is gone.
    taken_over = chat["generation_attempt"] > 0 and chat["retry_state"] is None
    return Opened(
        then, _fence(moved.chat), moved.chat, locked.tail, taken_over=taken_over, own_prompt=locked.own_prompt,
        advisor=locked.advisor,
    )  # fmt: skip


async def _unfit(session: Session, locked: Locked) -> Opened | None:
    """What comes of a chat with which nothing may begin: of no valid state, or of an owner who is suspended or gone."""
    if locked.state is State.INVALID:
        moved = await reconcile(session, locked)
        return _settled(locked, Then.REST, moved.chat["snapshot_version"], Note.INVALID)
    if locked.is_barred and locked.state in (State.R0, State.R1):
        stop = keep(locked, status=Status.INTERRUPTING.value, retry_state=None)
        moved = await apply(session, locked, stop, Move.INTERRUPT)
        return _settled(locked, Then.INTERRUPT, moved.chat["snapshot_version"], Note.BARRED)
    return None


def _takes_slot(chat: Row) -> bool:
    """Does a turn begin, or go on after its client's results? A sub-agent's runs in the slot of its root."""
    return chat["status"] == Status.PENDING and chat["parent_chat_id"] is None


async def _queue_for_capacity(session: Session, locked: Locked) -> Opened:
    """Leave the chat pending, and its run nothing to do: who frees a slot wakes it. What waits already is unchanged."""
    chat = locked.chat
    if chat["capacity_queued_at"] is None:
        change = keep(locked, columns={"capacity_queued_at": chat["locked_at"]}, watch=("status_change",))
        chat = (await apply(session, locked, change, Move.OPEN_ATTEMPT, last=True)).chat
    found = _settled(locked, Then.REST, chat["snapshot_version"], Note.QUEUED_FOR_CAPACITY)
    found.chat, found.queued = chat, True
    return found


async def _goes_on(session: Session, locked: Locked, then: Then, max_attempts: int) -> bool:
    """Were the many attempts calls that paused and went on? A worker that dies each time is given up on later."""
    few = locked.chat["generation_attempt"] < max_attempts * PAUSES
    return then is Then.USE_TOOLS and few and await ledger.has_paused(session, locked.id)


def _pause_left(locked: Locked) -> timedelta:
    """How long the back-off of a failed head start still lasts, by the database's clock: its run may be early."""
    at = (locked.chat["retry_state"] or {}).get("retrying_at")
    return datetime.fromisoformat(at) - locked.chat["locked_at"] if at else timedelta()


def is_held(chat: Row, living: Collection[UUID]) -> bool:
    """Is one of these workers at the chat's current attempt, ahead of its run?"""
    under_way = chat["status"] in (Status.RUNNING, Status.INTERRUPTING) and chat["generation_attempt"] > 0
    return under_way and chat["retry_state"] is None and chat["begun_by"] in living


async def commit_step(
    session: Session, fence: Fence, rows: Sequence[StepRow], *, patience: timedelta = CLIENT_PATIENCE
) -> StepReply:
    """Commit a step's messages and decide what comes next; a complete answer ends the turn in the same transaction.

    Calls that only the client can answer end the run: the chat requires action until `patience` is over. Raises
    FenceLost, and then nothing is written. The transaction is over with it: the commit rides in the last round trip.
    """
    locked = await _fenced(session, fence)
    opened = history.open_calls([*locked.tail, *({"role": row.role, "content": row.content} for row in rows)])
    if opened and not history.local(opened):
        return await _await_client(session, locked, list(rows), patience, last=True)
    if opened or any(row.role == "tool" for row in rows):
        change = keep(locked, rows=list(rows), retry_state=None)
        moved = await apply(session, locked, change, Move.COMMIT_STEP, last=True)
        if opened:
            return _reply(moved, Then.USE_TOOLS, Note.CALLS_COMMITTED, Outcome.COMMITTED)
        return _reply(moved, Then.GENERATE, Note.RESULTS_COMMITTED, Outcome.COMMITTED)
    return await _finish(session, locked, list(rows), last=True)


async def commit_compaction(session: Session, fence: Fence, rows: Sequence[StepRow]) -> StepReply:
    """Commit a summary and what shows it; the turn goes on if the model still owes an answer. Raises FenceLost.

    A chat that was at rest when its owner asked for the summary is at rest again, or goes on with its queue.
    """
    locked = await _fenced(session, fence)
    rests = locked.chat["compaction_requested_at"] is not None and locked.chat["compaction_rests"]
    if not rests and not history.is_complete(locked.tail):
        moved = await apply(session, locked, keep(locked, rows=list(rows), retry_state=None), Move.COMMIT_STEP)
        return _reply(moved, Then.GENERATE, Note.COMPACTED, Outcome.COMMITTED)
    return await _finish(session, locked, list(rows))


async def record_retry(
    session: Session, fence: Fence, retry: dict[str, Any], delay_seconds: float, *, paid: int | None = None
) -> StepReply:
    """Tell watchers that the attempt failed and when the next one begins, by the database's clock; raises FenceLost.

    `paid` is what the attempt has cost, here and below; None is estimated where it matters.
    """
    locked = await _fenced(session, fence)
    retry = {**retry, "retrying_at": rfc3339(moment_after(locked, timedelta(seconds=delay_seconds)))}
    moved = await apply(session, locked, keep(locked, retry_state=retry, paid=paid), Move.RECORD_RETRY)
    reply = _reply(moved, Then.BACK_OFF, Note.failed(retry.get("kind")), Outcome.RETRY)
    return replace(reply, delay_seconds=delay_seconds)


async def finish_turn(session: Session, fence: Fence, *, paid: int | None = None) -> StepReply:
    """End the turn without a new message; the queue's head, if any, is promoted. Raises FenceLost."""
    return await _finish(session, await _fenced(session, fence), [], paid=paid)


async def finish_error(session: Session, fence: Fence, error: dict[str, Any], *, paid: int | None = None) -> StepReply:
    """End the turn with a structured error; the queue is kept and waits. Raises FenceLost."""
    locked = await _fenced(session, fence)
    moved = await apply(session, locked, Change(Status.ERROR, last_error=error, paid=paid), Move.FINISH_ERROR)
    return _reply(moved, Then.REST, Note.failed(error.get("kind")), Outcome.FAILED)


async def finish_interruption(
    session: Session, chat_id: UUID, rows: Sequence[StepRow], *, episode: tuple[int, int] | None
) -> StepReply:
    """Commit the partial answer and stop: to rest, or on to the queue's head (not while archived, or barred).

    `episode` is the (history_version, generation_attempt) that the partial belongs to; a partial of another one is
    dropped. A chat that is no longer interrupting is left alone: the reply says to look again.
    """
    locked = await lock(session, chat_id)
    chat, state = locked.chat, locked.state
    if state not in (State.I0, State.I1, State.XI0, State.XI1):
        return StepReply(Then.GENERATE, chat["snapshot_version"], note=Note.NOT_INTERRUPTING)
    current = (chat["history_version"], chat["generation_attempt"])
    kept = [row for row in rows if row.content] if episode == current else []
    transcript = [*locked.tail, *({"role": row.role, "content": row.content} for row in kept)]
    unanswered = await answers(session, chat["id"], transcript, INTERRUPTED_TOOL)
    committed = _in_call_order(transcript, [*kept, *unanswered])
    if not locked.queue or chat["archived"] or locked.is_barred:
        moved = await apply(session, locked, Change(Status.WAITING, rows=committed), Move.FINISH_INTERRUPTION)
        return _reply(moved, Then.REST, Note.INTERRUPTED, Outcome.INTERRUPTED)
    head = locked.queue[0]
    change = Change(Status.PENDING, rows=[*committed, promoted(head)], dequeue=[head["id"]])
    moved = await apply(session, locked, change, Move.FINISH_INTERRUPTION)
    return _reply(moved, Then.NEXT_TURN, Note.INTERRUPTED_NEXT, Outcome.INTERRUPTED)


async def reconcile(session: Session, locked: Locked) -> Moved:
    """Bring a chat in an invalid state to a visible error, with its queue kept."""
    rows = await answers(session, locked.id, locked.tail, history.CANCELLED_INVALID)
    change = Change(Status.ERROR, archived=False, last_error=INVALID_STATE, rows=rows)
    return await apply(session, locked, change, Move.RECONCILE)


async def _fenced(session: Session, fence: Fence) -> Locked:
    locked = await lock(session, fence.chat_id)
    if locked.state not in (State.R0, State.R1) or _fence(locked.chat) != fence:
        raise FenceLost
    return locked


async def _finish(
    session: Session, locked: Locked, rows: list[StepRow], *, last: bool = False, paid: int | None = None
) -> StepReply:
    moves = (Move.COMMIT_STEP, Move.FINISH_TURN) if rows else (Move.FINISH_TURN,)
    landings(locked.state, moves[0])
    if not locked.queue or locked.is_barred:
        moved = await apply(session, locked, Change(Status.WAITING, rows=rows, paid=paid), *moves, last=last)
        return _reply(moved, Then.REST, Note.FINISHED, Outcome.FINISHED)
    head = locked.queue[0]
    outstanding = [] if rows else await answers(session, locked.id, locked.tail, history.CANCELLED_BY_PROMOTION)
    change = Change(Status.PENDING, rows=[*rows, *outstanding, promoted(head)], dequeue=[head["id"]], paid=paid)
    moved = await apply(session, locked, change, *moves, last=last)
    return _reply(moved, Then.NEXT_TURN, Note.FINISHED_NEXT, Outcome.FINISHED)


async def _await_client(
    session: Session, locked: Locked, rows: list[StepRow], patience: timedelta, *, last: bool = False
) -> StepReply:
    moves = (Move.COMMIT_STEP, Move.ENTER_ACTION) if rows else (Move.ENTER_ACTION,)
    landings(locked.state, moves[0])
    change = Change(
        Status.REQUIRES_ACTION,
        rows=rows,
        deadline=moment_after(locked, patience),
        new_history=not rows,
        watch=("status_change", "action_required"),
    )
    moved = await apply(session, locked, change, *moves, last=last)
    return _reply(moved, Then.REST, Note.AWAITS_CLIENT, Outcome.REQUIRES_ACTION)


def _in_call_order(transcript: Sequence[history.Row], rows: list[StepRow]) -> list[StepRow]:
    """The assistant's row first, then the results in the order of the calls they answer (runtime.md I4)."""
    said = [part for row in transcript for part in row["content"]]
    places = {call.get("tool_call_id"): place for place, call in enumerate(history.calls(said))}
    return sorted(rows, key=lambda row: -1 if row.role != "tool" else places.get(row.content[0].get("tool_call_id"), 0))


def _fence(chat: Row) -> Fence:
    return Fence(chat["id"], chat["history_version"], chat["generation_attempt"])


def _settled(locked: Locked, then: Then, version: int, note: Note) -> Opened:
    return Opened(then, _fence(locked.chat), locked.chat, locked.tail, StepReply(then, version, note=note))


def _reply(moved: Moved, then: Then, note: Note, outcome: Outcome) -> StepReply:
    return StepReply(then, moved.chat["snapshot_version"], note=note, outcome=outcome)
