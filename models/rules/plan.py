"""What a chat needs next, decided from its committed state and history alone (runtime.md 3.3)."""

from collections.abc import Collection, Sequence

from models.rules import history
from models.rules.states import RUNNABLE, State
from models.steps import Then


def next_step(
    state: State,
    rows: Sequence[history.Row],
    *,
    max_steps: int,
    compaction_requested: bool = False,
    stop_after: Collection[str] = (),
) -> Then:
    """The one next thing. REST from a running state means: finish the turn.

    `stop_after` names tools whose success ends the turn. Whether the context is too full is the model step's to find
    out: it knows the model.
    """
    if state not in RUNNABLE:
        return Then.REST
    if state in (State.I0, State.I1, State.XI0, State.XI1):
        return Then.INTERRUPT
    opened = history.open_calls(rows)
    if history.local(opened):
        return Then.USE_TOOLS
    if opened:
        return Then.AWAIT_CLIENT
    if compaction_requested:
        return Then.COMPACT
    if history.succeeded_since_user(rows, stop_after):
        return Then.REST
    if history.is_complete(rows):
        return Then.REST
    if history.steps_since_user(rows) >= max_steps:
        return Then.REST
    return Then.GENERATE
