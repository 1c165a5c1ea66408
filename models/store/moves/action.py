"""The moves of a chat that waits for its client's tool results: they come, or their time is over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from models.errors import Invalid
from models.parts import Part, can_rest, from_rest, tool_result
from models.rules import history
from models.rules.moments import rfc3339
from models.rules.moves import Move, landings
from models.rules.states import State, Status
from models.store.moves.answers import cancelled
from models.store.moves.record import Change, Locked, Moved, StepRow, apply, lock, unchanged
from models.store.moves.worker import reconcile
from models.store.session import Session

NO_OUTPUT: Final = object()


@dataclass(frozen=True, slots=True)
class ClientResult:
    """What a client says came of one of its calls; `output` is a JSON value, or NO_OUTPUT, which no move takes."""

    tool_call_id: str
    output: Any = NO_OUTPUT
    is_error: bool = False


async def complete_action(session: Session, locked: Locked, results: Sequence[ClientResult]) -> Moved:
    """Commit the client's results, in call order, and go on; they must answer exactly the pending calls.

    Raises IllegalMove (the chat does not wait for results) and Invalid (wire-api.md 3.12, in its order).
    """
    landings(locked.state, Move.COMPLETE_ACTION)
    pending: dict[str, Part] = {call.get("tool_call_id", ""): call for call in from_rest(locked.open_calls)}
    given = _matched(pending, results)
    at = rfc3339(locked.chat["locked_at"])
    rows = [
        StepRow("tool", [tool_result(call, given[name].output, is_error=given[name].is_error, created_at=at)])
        for name, call in pending.items()
    ]
    return await apply(session, locked, Change(Status.PENDING, rows=rows), Move.COMPLETE_ACTION)


async def cancel_action(session: Session, chat_id: UUID) -> Moved:
    """Answer the pending calls for a client whose time is over, and go on; before that, nothing changes.

    Raises NotFound.
    """
    locked = await lock(session, chat_id)
    if locked.state is State.INVALID:
        return await reconcile(session, locked)
    if locked.state not in (State.A0, State.A1):
        return unchanged(locked)
    # The clock may have been read before the lock was had: then the deadline is over at the next look.
    deadline = locked.chat["requires_action_deadline_at"]
    if deadline is not None and locked.chat["locked_at"] < deadline:
        return unchanged(locked)
    rows = cancelled(locked.open_calls, history.CANCELLED_TIMEOUT)
    return await apply(session, locked, Change(Status.PENDING, rows=rows), Move.CANCEL_ACTION)


def _matched(pending: Mapping[str, Part], results: Sequence[ClientResult]) -> Mapping[str, ClientResult]:
    """The result of each pending call; the first thing that is wrong is what the client is told."""
    given: dict[str, ClientResult] = {}
    for result in results:
        if result.tool_call_id in given:
            raise Invalid("Duplicate tool_call_id in results.", f'Duplicate tool call ID "{result.tool_call_id}".')
        given[result.tool_call_id] = result
    for name in pending:
        if name not in given:
            raise Invalid("Missing tool result.", f'Missing result for tool call "{name}".')
    for name in given:
        if name not in pending:
            raise Invalid("Unexpected tool result.", f'No pending tool call with ID "{name}".')
    for name, result in given.items():
        if not can_rest(result.output):
            raise Invalid("Tool result output must be valid JSON.", f'Output for tool call "{name}" is not valid JSON.')
    return given
