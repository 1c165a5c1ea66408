"""What a chat needs next, decided from its committed state and history alone (runtime.md 3.3)."""

from collections.abc import Sequence

from models.rules import history
from models.rules.states import RUNNABLE, State
from models.steps import Then


def next_step(state: State, rows: Sequence[history.Row], *, max_steps: int) -> Then:
    """The one next thing. REST from a running state means: finish the turn."""
    if state not in RUNNABLE:
        return Then.REST
    if state in (State.I0, State.I1, State.XI0, State.XI1):
        return Then.INTERRUPT
    if history.open_calls(rows):
        return Then.USE_TOOLS
    if history.is_complete(rows):
        return Then.REST
    if history.steps_since_user(rows) >= max_steps:
        return Then.REST
    return Then.GENERATE
