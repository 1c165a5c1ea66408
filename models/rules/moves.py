"""Which moves a chat allows from which state, and where each may land (design §4; runtime.md 2.2 is its base).

The store, the matrix tests, the random-life test and the diagram in ARCHITECTURE.md all read `TABLE`.
"""

from collections.abc import Mapping
from enum import StrEnum

from models.errors import IllegalMove
from models.rules.states import State


class Move(StrEnum):
    """A change of execution state. The second group is made by workers only."""

    CREATE = "Create"
    SEND = "SendMessage"
    SEND_INTERRUPT = "SendMessage(interrupt)"
    EDIT = "EditMessage"
    DELETE_QUEUED = "DeleteQueuedMessage"
    PROMOTE_QUEUED = "PromoteQueuedMessage"
    INTERRUPT = "Interrupt"
    COMPLETE_ACTION = "CompleteRequiresAction"
    ARCHIVE = "Archive"
    UNARCHIVE = "Unarchive"
    REQUEST_COMPACTION = "RequestCompaction"

    OPEN_ATTEMPT = "OpenAttempt"
    COMMIT_STEP = "CommitStep"
    RECORD_RETRY = "RecordRetry"
    ENTER_ACTION = "EnterRequiresAction"
    CANCEL_ACTION = "CancelRequiresAction"
    FINISH_TURN = "FinishTurn"
    FINISH_ERROR = "FinishError"
    FINISH_INTERRUPTION = "FinishInterruption"
    RECONCILE = "ReconcileInvalidState"


def _to(*states: State) -> frozenset[State]:
    return frozenset(states)


N, W, W1, E0, E1 = State.N, State.W, State.W1, State.E0, State.E1
R0, R1, I0, I1, A0, A1 = State.R0, State.R1, State.I0, State.I1, State.A0, State.A1
XW, XW1, XE0, XE1, XI0, XI1 = State.XW, State.XW1, State.XE0, State.XE1, State.XI0, State.XI1

_R = _to(R0, R1)
_R_OR_HELD = _R | _to(W1)  # nothing is promoted for an owner who is suspended or gone

TABLE: Mapping[State, Mapping[Move, frozenset[State]]] = {
    N: {Move.CREATE: _to(R0, W)},  # a copy of a history may rest at once
    W: {
        Move.SEND: _to(R0),
        Move.SEND_INTERRUPT: _to(R0),
        Move.EDIT: _to(R0),
        Move.DELETE_QUEUED: _to(W),
        Move.INTERRUPT: _to(W),
        Move.ARCHIVE: _to(XW),
        Move.REQUEST_COMPACTION: _to(R0),
        Move.FINISH_ERROR: _to(E0),
    },
    W1: {
        Move.SEND: _to(R1),
        Move.SEND_INTERRUPT: _to(R1),
        Move.EDIT: _to(R0),
        Move.DELETE_QUEUED: _to(W, W1),
        Move.PROMOTE_QUEUED: _R,
        Move.INTERRUPT: _to(W1),
        Move.ARCHIVE: _to(XW1),
        Move.REQUEST_COMPACTION: _to(R1),
        Move.FINISH_ERROR: _to(E1),
    },
    E0: {
        Move.SEND: _to(R0),
        Move.SEND_INTERRUPT: _to(R0),
        Move.EDIT: _to(R0),
        Move.DELETE_QUEUED: _to(E0),
        Move.INTERRUPT: _to(E0),
        Move.ARCHIVE: _to(XE0),
        Move.REQUEST_COMPACTION: _to(R0),
    },
    E1: {
        Move.SEND: _to(R1),
        Move.SEND_INTERRUPT: _to(R1),
        Move.EDIT: _to(R0),
        Move.DELETE_QUEUED: _to(E0, E1),
        Move.PROMOTE_QUEUED: _R,
        Move.INTERRUPT: _to(E1),
        Move.ARCHIVE: _to(XE1),
        Move.REQUEST_COMPACTION: _to(R1),
    },
    R0: {
        Move.SEND: _to(R1),
        Move.SEND_INTERRUPT: _to(I1),
        Move.EDIT: _to(R0),
        Move.DELETE_QUEUED: _to(R0),
        Move.INTERRUPT: _to(I0),
        Move.ARCHIVE: _to(XI0),
        Move.OPEN_ATTEMPT: _to(R0),
        Move.COMMIT_STEP: _to(R0),
        Move.RECORD_RETRY: _to(R0),
        Move.ENTER_ACTION: _to(A0),
        Move.FINISH_TURN: _to(W),
        Move.FINISH_ERROR: _to(E0),
    },
    R1: {
        Move.SEND: _to(R1),
        Move.SEND_INTERRUPT: _to(I1),
        Move.EDIT: _to(R0),
        Move.DELETE_QUEUED: _R,
        Move.PROMOTE_QUEUED: _to(I1),
        Move.INTERRUPT: _to(I1),
        Move.ARCHIVE: _to(XI1),
        Move.OPEN_ATTEMPT: _to(R1),
        Move.COMMIT_STEP: _to(R1),
        Move.RECORD_RETRY: _to(R1),
        Move.ENTER_ACTION: _to(A1),
        Move.FINISH_TURN: _R_OR_HELD,
        Move.FINISH_ERROR: _to(E1),
    },
    I0: {
        Move.SEND: _to(I1),
        Move.SEND_INTERRUPT: _to(I1),
        Move.EDIT: _to(R0),
        Move.DELETE_QUEUED: _to(I0),
        Move.INTERRUPT: _to(I0),
        Move.ARCHIVE: _to(XI0),
        Move.FINISH_INTERRUPTION: _to(W),
    },
    I1: {
        Move.SEND: _to(I1),
        Move.SEND_INTERRUPT: _to(I1),
        Move.EDIT: _to(R0),
        Move.DELETE_QUEUED: _to(I0, I1),
        Move.PROMOTE_QUEUED: _to(I1),
        Move.INTERRUPT: _to(I1),
        Move.ARCHIVE: _to(XI1),
        Move.FINISH_INTERRUPTION: _R_OR_HELD,
    },
    A0: {
        Move.SEND: _to(A1),
        Move.SEND_INTERRUPT: _to(R1),
        Move.EDIT: _to(R0),
        Move.DELETE_QUEUED: _to(A0),
        Move.INTERRUPT: _to(W),
        Move.COMPLETE_ACTION: _to(R0),
        Move.CANCEL_ACTION: _to(R0),
        Move.ARCHIVE: _to(XI0),
    },
    A1: {
        Move.SEND: _to(A1),
        Move.SEND_INTERRUPT: _to(R1),
        Move.EDIT: _to(R0),
        Move.DELETE_QUEUED: _to(A0, A1),
        Move.PROMOTE_QUEUED: _R,
        Move.INTERRUPT: _R_OR_HELD,
        Move.COMPLETE_ACTION: _to(R1),
        Move.CANCEL_ACTION: _to(R1),
        Move.ARCHIVE: _to(XI1),
    },
    XW: {Move.UNARCHIVE: _to(W)},
    XW1: {Move.UNARCHIVE: _to(W1)},
    XE0: {Move.UNARCHIVE: _to(E0)},
    XE1: {Move.UNARCHIVE: _to(E1)},
    # A hard stop in progress: the partial is committed, nothing is promoted. Unarchived before that, the stop goes on.
    XI0: {Move.FINISH_INTERRUPTION: _to(XW), Move.UNARCHIVE: _to(I0)},
    XI1: {Move.FINISH_INTERRUPTION: _to(XW1), Move.UNARCHIVE: _to(I1)},
    State.INVALID: {Move.RECONCILE: _to(E0, E1)},
}


def landings(state: State, move: Move) -> frozenset[State]:
    """Where `move` may land from `state`; raises IllegalMove where the table has no such cell."""
    found = TABLE.get(state, {}).get(move)
    if found is None:
        raise IllegalMove(state, move)
    return found


def check(state: State, move: Move, landed: State) -> None:
    """Raise unless the table allows `move` from `state` to land in `landed`."""
    if landed not in landings(state, move):
        raise IllegalMove(state, f"{move} → {landed}")
