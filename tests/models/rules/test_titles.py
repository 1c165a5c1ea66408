"""What a chat is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.parts import text
from models.rules import titles


def test_a_short_message_is_its_own_title() -> None:
    assert titles.fallback([text("Explain how a mutex works.")]) == "Explain how a mutex works."


def test_a_long_message_gives_its_first_six_words_and_an_ellipsis() -> None:
    assert titles.fallback([text("one two three four five six seven")]) == "one two three four five six…"


def test_six_words_are_not_cut() -> None:
    assert titles.fallback([text(" one  two\nthree four five six ")]) == "one two three four five six"


def test_text_parts_and_file_references_speak_together_and_files_do_not() -> None:
    reference = {"type": "file-reference", "file_name": "main.py", "start_line": 1, "end_line": 2, "content": "x = 1"}
    file = {"type": "file", "file_id": "…", "name": "cat.png"}
    assert titles.fallback([text("fix"), file, reference]) == "fix main.py x = 1"


@pytest.mark.parametrize("content", [[], [text("  \n")], [{"type": "file", "name": "cat.png"}]])
def test_a_message_without_words_is_a_new_chat(content: list[dict[str, str]]) -> None:
    assert titles.fallback(content) == "New Chat"


@given(st.lists(st.text(), max_size=4))
def test_a_fallback_is_never_empty_never_long_and_can_always_be_stored(said: list[str]) -> None:
    title = titles.fallback([text(words) for words in said])
    assert 0 < len(title) <= 80
    assert "\x00" not in title
    assert title == title.strip()
    title.encode()


@pytest.mark.parametrize(
    ("generated", "title"),
    [
        ('  "Fix the login page"\n', "Fix the login page"),
        ("“Mutex   basics”", "Mutex basics"),
        ("Say \x00 it", "Say it"),
        ("x" * 100, "x" * 80),
        ("one two three four five six seven eight", "one two three four five six seven eight"),
    ],
)
def test_a_generated_title_is_made_presentable(generated: str, title: str) -> None:
    assert titles.clean(generated) == title


@pytest.mark.parametrize("generated", ["", "  ", '""', "one two three four five six seven eight nine"])
def test_a_title_that_is_empty_or_a_sentence_is_refused(generated: str) -> None:
    assert titles.clean(generated) is None
