"""Which execution state a chat is in: a function of status, archived and whether its queue is empty (design §4)."""

from enum import StrEnum


class Status(StrEnum):
    """A chat's status, on the wire and at rest."""

    WAITING = "waiting"
    PENDING = "pending"
    RUNNING = "running"
    INTERRUPTING = "interrupting"
    REQUIRES_ACTION = "requires_action"
    ERROR = "error"


class State(StrEnum):
    """W waiting, E error, R pending or running, I interrupting, A requires action, X archived; 1 = a queue waits."""

    N = "N"
    W = "W"
    W1 = "W1"
    E0 = "E0"
    E1 = "E1"
    R0 = "R0"
    R1 = "R1"
    I0 = "I0"
    I1 = "I1"
    A0 = "A0"
    A1 = "A1"
    XW = "XW"
    XW1 = "XW1"
    XE0 = "XE0"
    XE1 = "XE1"
    XI0 = "XI0"
    XI1 = "XI1"
    INVALID = "invalid"


_CLASSES: dict[tuple[str, bool], tuple[State, State]] = {
    (Status.WAITING, False): (State.W, State.W1),
    (Status.ERROR, False): (State.E0, State.E1),
    (Status.PENDING, False): (State.R0, State.R1),
    (Status.RUNNING, False): (State.R0, State.R1),
    (Status.INTERRUPTING, False): (State.I0, State.I1),
    (Status.REQUIRES_ACTION, False): (State.A0, State.A1),
    (Status.WAITING, True): (State.XW, State.XW1),
    (Status.ERROR, True): (State.XE0, State.XE1),
    (Status.INTERRUPTING, True): (State.XI0, State.XI1),
}

RUNNABLE = frozenset({State.R0, State.R1, State.I0, State.I1, State.XI0, State.XI1})
"""States in which a worker has something to do now."""

BUSY = RUNNABLE | {State.A0, State.A1}
"""States in which a new message must queue."""

ARCHIVED = frozenset({State.XW, State.XW1, State.XE0, State.XE1, State.XI0, State.XI1})


def classify(status: str, archived: bool, has_queue: bool) -> State:
    """The state; `INVALID` for a combination that no move leads to (archived and running)."""
    pair = _CLASSES.get((status, archived))
    return State.INVALID if pair is None else pair[has_queue]
