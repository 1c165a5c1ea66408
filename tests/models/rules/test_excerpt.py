"""A conversation cut to size is still one that a provider takes, and keeps what matters most."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from models.rules import excerpt
from tests.fakes import refusals

HEADERS = {"authorization": "Bearer sk-test"}


def says(role: str, words: str) -> dict[str, Any]:
    return {"role": role, "content": words}


def calls(number: int, arguments: str = "{}", answer: str = "ok") -> list[dict[str, Any]]:
    function = {"name": "look", "arguments": arguments}
    call = {"id": f"call_{number}", "type": "function", "function": function}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    return [said, {"role": "tool", "tool_call_id": f"call_{number}", "content": answer}]


def acceptable(messages: list[dict[str, Any]]) -> bool:
    body = {"model": "m", "stream": True, "messages": messages}
    return refusals.openai(HEADERS, body) is None


def test_what_fits_is_left_as_it_is() -> None:
    messages = [says("user", "hello"), says("assistant", "hi")]
    assert excerpt.fitted(messages, 7) == messages


def test_tools_results_and_arguments_give_way_first() -> None:
    long = json.dumps({"text": "y" * 9_000})
    messages = [says("user", "go"), *calls(1, long, "x" * 9_000), says("assistant", "z" * 3_000)]
    made = excerpt.fitted(messages, 8_000)
    assert [each["role"] for each in made] == ["user", "assistant", "tool", "assistant"]
    assert made[3] == messages[3]
    assert len(made[2]["content"]) < 2_100
    assert "7000 characters left out" in made[2]["content"]
    arguments = made[1]["tool_calls"][0]["function"]["arguments"]
    assert isinstance(json.loads(arguments), dict)
    assert len(arguments) < 2_200


def test_then_the_middle_goes_and_a_note_says_so() -> None:
    system = says("system", "be kind")
    messages = [system, says("user", "the task"), *(says("assistant", f"{n} " + "w" * 100) for n in range(1_000))]
    made = excerpt.fitted(messages, 5_000)
    assert excerpt.length(made) <= 5_200
    assert made[0] == system
    assert made[1]["content"].startswith("the task\n\n[")
    assert f"{1_002 - len(made)} earlier messages" in made[1]["content"]
    assert made[2:] == messages[-len(made) + 2 :]


def test_a_call_is_never_kept_without_its_result() -> None:
    messages = [says("user", "go")]
    for number in range(300):
        messages += calls(number, answer="r" * 90)
    for budget in range(500, 20_000, 370):
        made = excerpt.fitted(messages, budget)
        assert acceptable(made), budget
        assert made[-1] == messages[-1]


def test_a_single_message_longer_than_all_there_is_room_for_is_cut() -> None:
    messages = [says("user", "go"), says("assistant", "begin" + "x" * 100_000 + "end")]
    made = excerpt.fitted(messages, 8_000)
    assert excerpt.length(made) <= 8_000
    assert made[1]["content"].startswith("begin")
    assert made[1]["content"].endswith("end")


def test_images_and_thoughts_are_left_out_once_something_must_give() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5_000_000}}
    shown = {"role": "user", "content": [{"type": "text", "text": "look"}, image]}
    thought = {"role": "assistant", "content": "nice", "thinking_blocks": [{"type": "thinking", "thinking": "t" * 9}]}
    assert excerpt.length([shown]) < 10_000, "its bytes are not read as text"
    made = excerpt.fitted([shown, thought], 5_000)
    assert made == [says("user", "look\n[image_url]"), says("assistant", "nice")]


WORDS = st.text(alphabet="ab ", min_size=1, max_size=400).map(lambda words: words + ".")
ROUND = st.one_of(
    st.builds(lambda words: [says("user", words)], WORDS),
    st.builds(lambda words: [says("assistant", words)], WORDS),
    st.builds(lambda words: ["call", words], WORDS),
)


@settings(max_examples=200)
@given(st.lists(ROUND, max_size=60), st.integers(300, 6_000))
def test_whatever_is_cut_a_provider_takes_the_rest(rounds: list[list[Any]], budget: int) -> None:
    messages = [says("system", "s"), says("user", "first")]
    for number, said in enumerate(rounds):
        messages += calls(number, answer=said[1]) if said[0] == "call" else said
    made = excerpt.fitted(messages, budget)
    assert acceptable(made)
    assert made[0] == messages[0]
    assert made[1]["content"].startswith("first")
