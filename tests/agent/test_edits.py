"""Edits fit exactly, or by their lines; a diff tells what they changed."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.differences import LIMIT_BYTES, lines_of, unified
from agent.edits import Edit, EditFailed, apply

LINES = st.lists(st.text(alphabet="ab \t{}é", max_size=6), min_size=1, max_size=12)


def test_an_exact_edit_changes_its_one_place() -> None:
    assert apply("one two three", [Edit("two", "2")]) == "one 2 three"


def test_edits_apply_in_order_to_what_the_last_one_left() -> None:
    assert apply("a", [Edit("a", "b"), Edit("b", "c")]) == "c"


@pytest.mark.parametrize(
    ("text", "edit", "said"),
    [
        ("a a", Edit("a", "b"), "2 places"),
        ("a", Edit("b", "c"), "not found"),
        ("a", Edit("", "c"), "empty"),
        (" x\n  x\n", Edit("x \n", "y\n"), "2 places"),
        ("a\n\n\nb", Edit("\n \n", "c"), "not found"),
    ],
)
def test_an_edit_that_fits_nowhere_or_twice_is_refused(text: str, edit: Edit, said: str) -> None:
    with pytest.raises(EditFailed, match=said):
        apply(text, [edit])


def test_the_edit_that_fails_is_numbered() -> None:
    with pytest.raises(EditFailed, match="edit 2 of 2"):
        apply("a", [Edit("a", "b"), Edit("x", "y")])


def test_each_place_is_changed_when_asked() -> None:
    assert apply("a a\na", [Edit("a", "aa", everywhere=True)]) == "aa aa\naa"
    assert apply("x \n y\nx\n", [Edit("x\t\n", "z\n", everywhere=True)]) == "z\n y\nz\n"


def test_trailing_white_space_may_differ() -> None:
    assert apply("if a:  \n    b\t\n", [Edit("if a:\n    b\n", "if c:\n    d\n")]) == "if c:\n    d\n"


def test_where_the_indentation_differs_the_files_is_kept() -> None:
    text = "class A:\n    def f(self):\n        return 1\n"
    edit = Edit("def f(self):\n    return 1", "def f(self):\n    if x:\n        return 2\n    return 1")
    assert apply(text, [edit]) == (
        "class A:\n    def f(self):\n        if x:\n            return 2\n        return 1\n"
    )


def test_an_exact_place_beats_places_that_fit_by_their_lines() -> None:
    assert apply("  x = 1\nx = 1;\n", [Edit("x = 1;", "y")]) == "  x = 1\ny\n"


def test_line_ends_of_the_file_are_kept() -> None:
    assert apply("a\r\nb\r\n", [Edit("a\nb", "c\nd\ne")]) == "c\r\nd\r\ne\r\n"
    assert apply("a \r\nb", [Edit("a\nb", "c\nd")]) == "c\r\nd"


def test_form_feeds_and_line_separators_end_no_line() -> None:
    text = "a\x0cb\u2028c\nd\n"
    assert lines_of(text) == ["a\x0cb\u2028c\n", "d\n"]
    assert apply(text, [Edit("d \n", "e\x0cf\n")]) == "a\x0cb\u2028c\ne\x0cf\n"


@given(before=LINES, old=LINES, new=LINES, after=LINES)
@settings(max_examples=150, deadline=None)
def test_what_surrounds_an_edit_is_never_touched(
    before: list[str], old: list[str], new: list[str], after: list[str]
) -> None:
    head, tail = "<\n" + "\n".join(before) + "\n", "\n" + "\n".join(after) + "\n>"
    marked = "§" + "\n".join(old) + "§"
    assert apply(head + marked + tail, [Edit(marked, "\n".join(new))]) == head + "\n".join(new) + tail


@given(old=LINES, new=LINES)
@settings(max_examples=100, deadline=None)
def test_an_edit_by_lines_replaces_exactly_the_matched_lines(old: list[str], new: list[str]) -> None:
    text = "top\n" + "".join(f"k{line}k \n" for line in old) + "bottom\n"
    search = "".join(f"k{line}k\n" for line in old)
    replace = "".join(f"{line}\n" for line in new)
    if search in text or not new:
        return
    assert apply(text, [Edit(search, replace)]) == "top\n" + replace + "bottom\n"


@given(old=LINES, new=LINES, ended=st.booleans())
@settings(max_examples=15, deadline=None)
def test_a_diff_applied_gives_the_new_text(
    tmp_path_factory: pytest.TempPathFactory, old: list[str], new: list[str], ended: bool
) -> None:
    many = [f"line {number}" for number in range(20)]
    before = "\n".join([*many, *old, *many]) + "\n" * ended
    after = "\n".join([*many, *new, *many]) + "\n"
    folder = tmp_path_factory.mktemp("diff")
    (folder / "file").write_text(before)
    diff = unified(before, after, "file")
    if before == after:
        assert diff == ""
        return
    subprocess.run(["git", "apply", "-"], input=diff.encode(), cwd=folder, check=True, capture_output=True)
    assert (folder / "file").read_text() == after


def test_a_diff_of_much_is_cut_and_says_so() -> None:
    diff = unified("", "".join(f"{number}\n" for number in range(50_000)), "big", created=True)
    assert len(diff.encode()) < LIMIT_BYTES + 200
    assert diff.startswith("--- /dev/null\n+++ b/big\n@@ -0,0 +1,50000 @@\n+0\n")
    assert "left out" in diff.splitlines()[-1]
