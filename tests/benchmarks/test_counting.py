"""What is counted in a database and read from its log is shared out and named rightly."""

from benchmarks.costs import difference
from benchmarks.scale import slow

LOG = """2026-11-23 01:36:14.123 UTC [100] LOG:  duration: 12.500 ms  execute <unnamed>: SELECT 1
    FROM chats
    WHERE id = $1
2026-11-23 01:36:14.123 UTC [100] DETAIL:  Parameters: $1 = 'a: b'
2026-11-23 01:36:15.000 UTC [101] LOG:  checkpoint complete
2026-11-23 01:36:16.000 UTC [100] LOG:  duration: 30.000 ms  execute _pg3_7: SELECT 1 FROM chats WHERE id = $1
2026-11-23 01:36:17.000 UTC [102] LOG:  duration: 11.000 ms  statement: DELETE FROM stream_log
"""


def test_slow_statements_are_gathered_under_their_text_whatever_their_lines_and_names() -> None:
    assert slow(LOG) == {"SELECT 1 FROM chats WHERE id = $1": [12.5, 30.0], "DELETE FROM stream_log": [11.0]}


def test_growth_is_shared_among_turns_and_what_is_new_began_at_nothing() -> None:
    assert difference({"a": 30.0, "b": 10.0}, {"a": 10.0}, 10) == {"a": 2.0, "b": 1.0}
