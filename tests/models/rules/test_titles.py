"""What a chat is called."""

from typing import Any

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


def said(role: str, words: str, visibility: str = "both") -> dict[str, Any]:
    return {"role": role, "content": [text(words)] if words else [], "visibility": visibility}


QUESTION = said("user", "explain how a mutex works in linux")
FALLBACK = "explain how a mutex works in…"


@pytest.mark.parametrize("title", ["", FALLBACK])
@pytest.mark.parametrize(
    "rows",
    [
        [QUESTION],
        [said("system", "be brief", "model"), QUESTION],
        [QUESTION, said("assistant", "It is a lock")],
        [QUESTION, said("user", "summary", "model")],
    ],
)
def test_a_chat_that_nobody_named_awaits_a_title_for_its_first_message(title: str, rows: list[dict[str, Any]]) -> None:
    assert titles.awaits_title(title, rows)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [said("user", "")],
        [QUESTION, said("assistant", "a lock"), said("user", "and a semaphore?")],
        [said("assistant", "welcome"), QUESTION],
        [said("tool", ""), QUESTION],
        [said("user", FALLBACK, "model")],
    ],
)
def test_a_talk_that_is_further_on_or_wordless_awaits_none(rows: list[dict[str, Any]]) -> None:
    assert not titles.awaits_title("", rows)


@pytest.mark.parametrize("title", ["Mutexes", "New Chat", FALLBACK + " "])
def test_a_chat_with_another_title_awaits_none(title: str) -> None:
    assert not titles.awaits_title(title, [QUESTION])


@given(
    st.text(), st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text()), max_size=6), st.integers(0, 99)
)
def test_a_question_is_bounded_and_names_its_subject_first(
    first: str, recent: list[tuple[str, str]], omitted: int
) -> None:
    asked = titles.question(first, recent, omitted=omitted)
    assert first[:300].partition("\n</message>")[0] in asked
    assert len(asked) < 9000


def test_the_subject_of_a_question_is_the_first_message() -> None:
    assert titles.subject(titles.question("why?", [("user", "why?"), ("assistant", "so"), ("user", "how?")])) == "why?"


def test_a_first_message_alone_is_asked_about_alone() -> None:
    assert titles.question("why?", [("user", "why?")]) == titles.question("why?")


def test_the_latest_message_is_shown_where_it_is_another_one() -> None:
    talk = [("user", "why?"), ("assistant", "because")]
    assert "latest message:" not in titles.question("why?", talk)
    assert "latest message:\n<message>\nhow?\n" in titles.question("why?", [*talk, ("user", "how?")])


def test_left_out_turns_are_counted() -> None:
    asked = titles.question("why?", [("user", "how?"), ("assistant", "so")], omitted=3)
    assert "[... 3 earlier turns omitted ...]\nuser: how?" in asked
    assert "omitted" not in titles.question("why?", [("user", "how?"), ("assistant", "so")], omitted=-2)


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Mutex basics", "Mutex basics"),
        ('{"title": "Mutex basics"}', "Mutex basics"),
        ('```json\n{"title": "Mutex basics"}\n```', "Mutex basics"),
        ("Mutex\nbasics", "Mutex basics"),
        ("{mutex", None),
        ('{"title": 5}', "5"),
        ('{"name": "x"}', None),
        ("I think that a good title would be Mutex basics", None),
    ],
)
def test_a_title_is_read_from_text_or_json(answer: str, title: str | None) -> None:
    assert titles.read(answer) == title


def test_small_models_come_in_the_documented_order() -> None:
    offered = [
        {"id": 1, "provider": "openai", "model": "gpt-4o"},
        {"id": 2, "provider": "openai", "model": "gpt-4o-mini"},
        {"id": 3, "provider": "anthropic", "model": "claude-haiku-4-5-20251001"},
        {"id": 4, "provider": "openai-compat", "model": "gpt-4o-mini"},
        {"id": 5, "provider": "openrouter", "model": "anthropic/claude-3.5-haiku"},
        {"id": 6, "provider": "google", "model": "gemini-2.5-flash"},
    ]
    assert titles.small_first(offered) == [3, 2, 6, 5]
