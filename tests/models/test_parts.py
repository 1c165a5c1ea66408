"""What can be stored of any text, and how it comes back."""

from hypothesis import given
from hypothesis import strategies as st

from models.parts import from_rest, to_rest


def test_a_character_that_came_in_two_halves_is_one_again() -> None:
    assert to_rest(["\ud83d" + "\ude00 é"]) == ["\U0001f600 é"]


def test_half_a_character_becomes_the_replacement_character() -> None:
    assert to_rest({"a\ud83d": "b\ude00c"}) == {"a\ufffd": "b\ufffdc"}


@given(st.text())
def test_whole_text_comes_back_as_it_was(text: str) -> None:
    assert from_rest(to_rest(text)) == text


@given(st.text(st.characters()))
def test_any_text_can_be_stored(text: str) -> None:
    rest = to_rest(text)
    rest.encode()
    assert "\x00" not in rest
