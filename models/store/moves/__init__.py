"""Every change of execution state: lock the row, classify, check the table, write, notify; one transaction a move.

record   lock · Change · apply        user   what people do        worker   what the turn's effects do
"""

from models.store.moves.record import Locked, Moved, StepRow, lock
from models.store.moves.user import create, delete_queued, edit, interrupt, promote_queued, send
from models.store.moves.worker import (
    Fence,
    Opened,
    commit_step,
    finish_error,
    finish_interruption,
    finish_turn,
    open_attempt,
    reconcile,
    record_retry,
)

__all__ = [
    "Fence",
    "Locked",
    "Moved",
    "Opened",
    "StepRow",
    "commit_step",
    "create",
    "delete_queued",
    "edit",
    "finish_error",
    "finish_interruption",
    "finish_turn",
    "interrupt",
    "lock",
    "open_attempt",
    "promote_queued",
    "reconcile",
    "record_retry",
    "send",
]
