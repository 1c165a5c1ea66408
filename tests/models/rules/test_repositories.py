"""What is made of what agents see of repositories: counted, bounded, merged, and told where it changed."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules import repositories
from models.rules.repositories import Malformed, Repository, changes, counted, counts, main, merged, read, shown

NOW = datetime(2026, 5, 20, tzinfo=UTC)
DIFF = """\
diff --git a/one b/one
index 1..2 100644
--- a/one
+++ b/one
@@ -1,3 +1,3 @@ def f():
 same
--- not a header
+++ nor this
 same
@@ -9 +9,0 @@
-gone
\\ No newline at end of file
diff --git a/two b/two
new file mode 100644
Binary files /dev/null and b/two differ
"""


def repository(root: str, diff: str = "", **more: Any) -> Repository:
    [made] = read(
        {"repositories": [{"repo_root": root, "branch": "main", "unified_diff": diff, **more}]}, NOW
    ).repositories
    return made


def test_lines_are_counted_within_hunks_and_files_outside_of_them() -> None:
    assert counted(DIFF) == {"additions": 1, "deletions": 2, "changed_files": 2}
    assert counted("") == {"additions": 0, "deletions": 0, "changed_files": 0}


LINES = st.lists(
    st.tuples(st.sampled_from("+- "), st.sampled_from(["", "x", "-- a", "++ b", "@@ -1 +1 @@"])), max_size=20
)


@given(LINES)
def test_a_hunk_is_counted_by_what_its_lines_begin_with(drawn: list[tuple[str, str]]) -> None:
    lines = [mark + rest for mark, rest in drawn]
    old, new = (sum(line[0] in marks for line in lines) for marks in ("- ", "+ "))
    diff = "\n".join(["diff --git a/x b/x", "--- a/x", "+++ b/x", f"@@ -1,{old} +1,{new} @@", *lines, ""])
    assert counted(diff) == {
        "additions": sum(line[0] == "+" for line in lines),
        "deletions": sum(line[0] == "-" for line in lines),
        "changed_files": 1,
    }


def test_what_is_too_long_is_cut_between_lines_and_counted_before() -> None:
    diff = "diff --git a/x b/x\n@@ -0,0 +1,900000 @@\n" + '+"\x1b"\n' * 900_000
    cut, empty = read(
        {"repositories": [{"repo_root": "/a", "unified_diff": diff}, {"repo_root": "/b", "unified_diff": diff}]}, NOW
    ).repositories
    assert (cut["additions"], empty["additions"]) == (900_000, 900_000)
    kept = cut["unified_diff"].removesuffix(repositories.LEFT_OUT)
    assert diff.startswith(kept)
    assert kept.endswith("\n")
    assert len(kept) > 300_000
    assert empty["unified_diff"] == repositories.LEFT_OUT


@pytest.mark.parametrize(
    "frame",
    [
        {"repositories": {"a": 1}},
        {"repositories": [1]},
        {"repositories": [{"branch": "x"}]},
        {"repositories": [{"repo_root": "/a", "unified_diff": 7}]},
        {"repositories": [], "error": 7},
        {"repositories": [], "scanned_at": 7},
    ],
)
def test_what_no_agent_says_is_refused(frame: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        read(frame, NOW)


@pytest.mark.parametrize("at", [None, "soon", "2026-05-20T00:00:00", "0001-01-01T00:00:00+23:00"])
def test_a_moment_that_is_none_is_now(at: str | None) -> None:
    assert read({"scanned_at": at}, NOW).scanned_at == "2026-05-20T00:00:00Z"


def test_what_is_told_comes_over_what_was_known_and_takes_away_what_is_gone() -> None:
    a, b, c = repository("/a"), repository("/b"), repository("/c")
    newer = repository("/a", DIFF)
    assert merged([a, b], [newer, c]) == [newer, b, c]
    assert merged([a, b], [repository("/b", removed=True)]) == [a]
    assert counts([newer, b]) == {"additions": 1, "deletions": 2, "changed_files": 2}


def test_only_what_changed_is_told_and_what_went_comes_as_removed() -> None:
    a, b, newer = repository("/a"), repository("/b", DIFF), repository("/a", DIFF)
    assert changes([], [a, b]) == [shown(a), shown(b)]
    assert changes([a, b], [a, b]) == []
    assert changes([a, b], [newer, b]) == [shown(newer)]
    assert changes([a, b], [a]) == [{**shown(b), "unified_diff": "", "removed": True}]


def test_a_chat_works_on_a_changed_repository_with_a_remote_before_others() -> None:
    plain, changed = repository("/a"), repository("/b", DIFF)
    remote, both = repository("/c", remote_origin="r"), repository("/d", DIFF, remote_origin="r")
    assert main([]) is None
    for found in ([plain, remote, changed, both], [both, changed]):
        assert main(found) == both
    assert main([plain, remote]) == remote
    assert main([remote, changed]) == changed
