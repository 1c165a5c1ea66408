"""Every change of execution state: lock the row, classify, check the table, write, notify; one transaction a move.

record   lock · Change · apply        user   what people do        worker   what the turn's effects do
answers  for calls that will not be run
action   a client's tool results      archive   whole families     compaction   asked for by the owner
copies   forks and imports
"""

from models.store.moves.action import NO_OUTPUT, ClientResult, cancel_action, complete_action
from models.store.moves.archive import archive, hold_family, unarchive
from models.store.moves.compaction import request_compaction
from models.store.moves.copies import Beginning, Cut, carry, cut, fork
from models.store.moves.record import Locked, Moved, StepRow, lock
from models.store.moves.user import create, delete_queued, edit, interrupt, promote_queued, send, stop_barred
from models.store.moves.worker import (
    Fence,
    Opened,
    commit_compaction,
    commit_step,
    finish_error,
    finish_interruption,
    finish_turn,
    is_held,
    open_attempt,
    reconcile,
    record_retry,
)

__all__ = [
    "NO_OUTPUT",
    "Beginning",
    "ClientResult",
    "Cut",
    "Fence",
    "Locked",
    "Moved",
    "Opened",
    "StepRow",
    "archive",
    "cancel_action",
    "carry",
    "commit_compaction",
    "commit_step",
    "complete_action",
    "create",
    "cut",
    "delete_queued",
    "edit",
    "finish_error",
    "finish_interruption",
    "finish_turn",
    "fork",
    "hold_family",
    "interrupt",
    "is_held",
    "lock",
    "open_attempt",
    "promote_queued",
    "reconcile",
    "record_retry",
    "request_compaction",
    "send",
    "stop_barred",
    "unarchive",
]
