"""The running turn of a chat: stop it, and ask why it is where it is."""

from typing import Any
from uuid import UUID

from starlette.responses import Response

from api.answers import answer
from api.caller import Caller
from api.errors import raises
from api.idempotency import OnlyOnce
from api.nudges import nudge
from api.requests import Router
from api.resources import Opened
from api.schemas.chats import Chat, ChatExplanation
from models.errors import Conflict, NotFound, Unprocessable
from models.parts import from_rest
from models.rules.moments import rfc3339
from models.rules.states import State, Status, classify
from models.store import chats, ledger, moves, queue
from models.store.database import Row

router = Router(tags=["turns"])

WAITS_FOR = {
    Status.WAITING: "A message from the user.",
    Status.PENDING: "A worker to begin the turn.",
    Status.RUNNING: "The step that runs now to end.",
    Status.INTERRUPTING: "The running step to stop, and its partial answer to be stored.",
    Status.REQUIRES_ACTION: "A client's results for its tool calls.",
    Status.ERROR: "A message from the user: the last turn failed.",
}


@router.post(
    "/{chat}/interrupt",
    response_model=Chat,
    responses=raises(NotFound, Conflict, Unprocessable),
    summary="Stop the running turn",
)
async def interrupt_chat(chat: UUID, caller: Caller, once: OnlyOnce, resources: Opened) -> Response:
    """`interrupting` until the partial answer is stored, then the queue's head runs; an idle chat is unchanged.

    Calls that wait for the client are answered with an error, and the chat rests or goes on with its queue at once.
    """
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        locked = await moves.lock(session, chat)
        chats.require_update(caller, locked.chat)
        moved = await moves.interrupt(session, locked)
        shown = chats.as_seen(caller, chats.view(await chats.inherit(session, moved.chat)))
        response = await once.keep(session, answer(shown))
    nudge(resources, moved, "queue_changed")  # for a chat that is not interrupting: only its queue's head is news
    return response


@router.get(
    "/{chat}/explain",
    response_model=ChatExplanation,
    responses=raises(NotFound),
    summary="Explain where a chat stands",
)
async def explain_chat(chat: UUID, caller: Caller, resources: Opened) -> Response:
    """The chat's state in the database beside what Temporal says of its workflow; the latter may be unavailable."""
    async with resources.database.read() as session:
        row = await chats.load(session, caller, chat)
        waiting = await queue.waiting(session, chat)
        unsettled = await ledger.unsettled(session, row["id"])
    told = _explained(row, len(waiting)) | {"tool_calls": [_tool_call(each) for each in unsettled]}
    return answer(told | {"workflow": await resources.temporal.explain(chat)})


def _explained(row: Row, queue_length: int) -> dict[str, Any]:
    state = classify(row["status"], row["archived"], queue_length > 0)
    told: dict[str, Any] = {
        "chat_id": row["id"],
        "status": row["status"],
        "state": state,
        "archived": row["archived"],
        "waits_for": _waits_for(row, state),
        "versions": {
            "snapshot": row["snapshot_version"],
            "history": row["history_version"],
            "queue": row["queue_version"],
            "retry_state": row["retry_state_version"],
            "generation_attempt": row["generation_attempt"],
        },
        "queue_length": queue_length,
    }
    if row["last_error"]:
        told["last_error"] = chats.error(row["last_error"])
    if row["retry_state"]:
        told["retry"] = from_rest(row["retry_state"])
    if row["requires_action_deadline_at"]:
        told["requires_action_deadline_at"] = rfc3339(row["requires_action_deadline_at"])
    if row["capacity_queued_at"]:
        told["queued_for_capacity_at"] = rfc3339(row["capacity_queued_at"])
    return told


def _tool_call(row: Row) -> dict[str, Any]:
    told = {
        "message_id": row["message_id"],
        "tool_call_id": from_rest(row["tool_call_id"]),
        "tool_name": from_rest(row["tool_name"]),
        "policy": row["policy"],
        "state": row["state"],
        "attempt": row["attempt"],
        "claimed_at": rfc3339(row["claimed_at"]),
    }
    if row["finished_at"]:
        told["finished_at"] = rfc3339(row["finished_at"])
    if row["waits_for"]:
        told["waits_for"] = row["waits_for"]
    return told


def _waits_for(row: Row, state: State) -> str:
    if state is State.INVALID:
        return "A repair: no move leads to this state."
    if row["retry_state"]:
        return "The back-off after a failed attempt to end."
    if row["archived"] and row["status"] != Status.INTERRUPTING:
        return "Nothing: the chat is archived."
    if row["capacity_queued_at"]:
        return "A turn of its owner, or of its organization, to end: as many run as may."
    return WAITS_FOR[Status(row["status"])]
