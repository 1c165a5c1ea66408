"""The table of moves says what design §4 says, and says it completely."""

import itertools

import pytest

from models.errors import IllegalMove
from models.rules.moves import TABLE, Move, check, landings
from models.rules.states import ARCHIVED, BUSY, RUNNABLE, State, Status, classify

WORKER = {
    Move.OPEN_ATTEMPT,
    Move.COMMIT_STEP,
    Move.RECORD_RETRY,
    Move.ENTER_ACTION,
    Move.FINISH_TURN,
}


def test_every_state_but_the_invalid_one_has_exactly_one_class() -> None:
    seen = [
        classify(status, archived, queue)
        for status, archived, queue in itertools.product(Status, [False, True], [False, True])
    ]
    assert set(seen) == set(State) - {State.N}
    named = [state for state in seen if state is not State.INVALID]
    assert len(named) == len(set(named)) + 2  # pending and running share R0 and R1


def test_archived_and_running_is_no_state() -> None:
    assert classify("running", True, False) is State.INVALID
    assert classify("pending", True, True) is State.INVALID
    assert classify("requires_action", True, False) is State.INVALID
    assert classify("paused", False, False) is State.INVALID


def test_every_state_has_a_way_on() -> None:
    assert set(TABLE) == set(State)
    assert all(TABLE[state] for state in State)


def test_every_move_is_allowed_from_somewhere() -> None:
    assert {move for moves in TABLE.values() for move in moves} == set(Move)


def test_only_running_states_take_a_workers_steps() -> None:
    for state in State:
        takes = WORKER & set(TABLE[state])
        assert takes == (WORKER if state in (State.R0, State.R1) else set()), state


def test_an_archived_chat_takes_nothing_but_its_way_back() -> None:
    for state in ARCHIVED:
        assert set(TABLE[state]) <= {Move.UNARCHIVE, Move.FINISH_INTERRUPTION}


def test_stopping_what_rests_changes_nothing() -> None:
    for state in (State.W, State.W1, State.E0, State.E1, State.I0, State.I1):
        assert landings(state, Move.INTERRUPT) == {state}


def test_a_queue_is_kept_by_every_landing_that_does_not_drain_it() -> None:
    for state, move in (
        (State.R1, Move.FINISH_ERROR),
        (State.R1, Move.ARCHIVE),
        (State.I1, Move.ARCHIVE),
        (State.XI1, Move.FINISH_INTERRUPTION),
    ):
        assert all(landed.endswith("1") for landed in landings(state, move))


def test_waiting_with_a_backlog_is_reached_through_unarchiving_or_where_nothing_is_promoted_for_who_is_barred() -> None:
    ways = {(state, move) for state, moves in TABLE.items() for move, landed in moves.items() if State.W1 in landed}
    stays = {(State.W1, Move.INTERRUPT), (State.W1, Move.DELETE_QUEUED)}
    ends = {(State.R1, Move.FINISH_TURN), (State.I1, Move.FINISH_INTERRUPTION), (State.A1, Move.INTERRUPT)}
    assert ways - stays - ends == {(State.XW1, Move.UNARCHIVE)}
    assert all(len(TABLE[state][move]) > 1 for state, move in ends), "others have their queue's head promoted"


def test_what_is_busy_or_runnable_is_never_at_rest() -> None:
    assert RUNNABLE < BUSY
    assert not BUSY & {State.W, State.W1, State.E0, State.E1, State.XW, State.XE0}


@pytest.mark.parametrize("state", list(State))
def test_a_move_outside_the_table_is_refused(state: State) -> None:
    for move in set(Move) - set(TABLE[state]):
        with pytest.raises(IllegalMove):
            landings(state, move)
    for move, landed in TABLE[state].items():
        for other in set(State) - landed:
            with pytest.raises(IllegalMove):
                check(state, move, other)
        for good in landed:
            check(state, move, good)
