"""What can be stored of any text, and how it comes back."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from models.parts import Part, from_rest, to_rest, wire, wire_text


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


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["type", "text", "args", "provider_metadata", "context_file_path", "skill_dir"]),
            st.text() | st.integers(-(2**53), 2**53) | st.lists(st.text()) | st.just("a\x00b <provider_metadata>"),
        ),
        max_size=4,
    )
)
def test_parts_read_as_text_are_told_as_parts_read_as_values(parts: list[Part]) -> None:
    rested = to_rest(parts)
    assert orjson.loads(orjson.dumps(wire_text(orjson.dumps(rested).decode()))) == wire(rested)
