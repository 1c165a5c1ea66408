"""The move by which an owner asks for a compaction."""

from models.errors import Conflict
from models.rules import compaction, history
from models.rules.moves import Move, landings
from models.rules.states import State, Status
from models.store.moves.answers import answers
from models.store.moves.record import Change, Locked, Moved, apply
from models.store.session import Session


async def request_compaction(session: Session, locked: Locked) -> Moved:
    """Have the chat's history summarised now; raises Conflict when there is nothing to summarise.

    A new epoch begins, with or without a new message: the attempts of the last turn do not count, nor can they commit.
    A chat at rest is at rest afterwards; one whose last turn failed goes on to answer what that turn owes.
    """
    landings(locked.state, Move.REQUEST_COMPACTION)
    if not compaction.has_something(locked.tail):
        raise Conflict("There is nothing to compact.", "The chat has no messages since its last compaction.")
    rests = locked.state in (State.W, State.W1)
    change = Change(
        Status.PENDING,
        rows=await answers(session, locked.id, locked.tail, history.CANCELLED_BY_USER),
        new_history=True,
        columns={"compaction_requested_at": locked.chat["locked_at"], "compaction_rests": rests},
    )
    return await apply(session, locked, change, Move.REQUEST_COMPACTION)
