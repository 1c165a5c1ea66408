"""Outcomes are stored as JSON of a bounded size, and what is cut away is named."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.parts import to_rest
from models.rules import executions, tool_results
from models.rules.executions import Course, Policy, Standing

deep = "[" * 400 + "]" * 400


@pytest.mark.parametrize(
    ("outcome", "stored"),
    [
        ('{"a": 1}', {"a": 1}),
        ("[1, 2]", [1, 2]),
        ("7", 7),
        ("plain words", {"output": "plain words"}),
        (b"\xff raw", {"output": "\ufffd raw"}),
        (bytearray(b'{"a": 1}'), {"a": 1}),
        ({"a": 1}, {"a": 1}),
        ({1: {2: "x"}}, {"1": {"2": "x"}}),
        ("", {"output": ""}),
        ("half \ud83d", {"output": "half \ufffd"}),
        ("a\x00b", {"output": "a\x00b"}),
        (float("nan"), None),
        (deep, {"output": deep}),
    ],
)
def test_outcomes_are_stored_as_json(outcome: Any, stored: Any) -> None:
    assert tool_results.normalised(outcome) == stored


def test_the_budget_is_a_third_of_the_context_and_never_next_to_nothing() -> None:
    assert tool_results.budget(200_000) == 199_998
    assert tool_results.budget(1_000) == 16 * 1024
    assert tool_results.budget(None) == tool_results.budget(0) == 64 * 1024


def test_a_cut_keeps_two_thirds_of_the_start_and_one_third_of_the_end() -> None:
    text = "".join(f"{number:07} " for number in range(10_000))
    made = tool_results.cut(text, 10_000)
    found = re.fullmatch(r"(.*)\n\n\[… (\d+) bytes were removed here: .*…\]\n\n(.*)", made, re.DOTALL)
    assert found is not None
    head, removed, tail = found.groups()
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head) + int(removed) + len(tail) == len(text)
    assert abs(len(head) - 2 * len(tail)) <= 2
    assert len(made.encode()) <= 10_000


def test_what_fits_is_left_alone() -> None:
    value = {"output": "x" * 100}
    assert tool_results.fitted(value, 200) is value


def test_the_longest_text_of_an_object_is_cut_and_its_other_facts_stay() -> None:
    made = tool_results.fitted({"exit_code": 1, "output": "x" * 100_000, "path": "/a"}, 16_384)
    assert (made["exit_code"], made["path"]) == (1, "/a")
    assert "bytes were removed" in made["output"]
    assert len(orjson.dumps(made)) <= 16_384


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=40_000),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5_000), inner, max_size=5),
    max_leaves=12,
)


@given(JSON, st.integers(16_384, 80_000))
def test_whatever_a_tool_says_it_is_json_within_its_budget(value: Any, most: int) -> None:
    made = tool_results.fitted(tool_results.normalised(value), most)
    assert len(orjson.dumps(made)) <= most
    assert orjson.loads(orjson.dumps(to_rest(made))) == to_rest(made)


@pytest.mark.parametrize("worst", ["\x01", "\n", "ä", "🂡", '"', "\x00\x1f"])
def test_text_of_characters_that_grow_in_json_fits_as_well(worst: str) -> None:
    for value in (worst * 50_000, {"output": worst * 50_000}, [worst] * 50_000):
        assert len(orjson.dumps(tool_results.fitted(value, 16_384))) <= 16_384


def test_what_nobody_knows_is_an_error_that_says_so() -> None:
    part = tool_results.unknown({"tool_call_id": "c", "tool_name": "t"}, tool_results.UNKNOWN_AFTER_CRASH)
    assert part["is_error"] is True
    assert part["result"]["outcome"] == "unknown"
    assert "may have taken effect" in part["result"]["error"]


@pytest.mark.parametrize("policy", Policy)
def test_a_first_claim_is_run(policy: Policy) -> None:
    assert executions.course(policy, Standing.CLAIMED, 1) is Course.RUN


@pytest.mark.parametrize(
    ("policy", "again"),
    [
        (Policy.PURE, Course.RUN),
        (Policy.IDEMPOTENT, Course.RUN),
        (Policy.PROBE, Course.ASK),
        (Policy.ONCE, Course.GIVE_UP),
    ],
)
def test_a_claim_that_is_taken_over_follows_its_policy(policy: Policy, again: Course) -> None:
    assert executions.course(policy, Standing.CLAIMED, 2) is again
    assert executions.course(policy, Standing.CLAIMED, 3) is again


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("standing", [Standing.SUCCEEDED, Standing.FAILED, Standing.UNKNOWN])
def test_what_has_come_to_its_end_is_never_run_again(policy: Policy, standing: Standing) -> None:
    assert executions.course(policy, standing, 1) is Course.ANSWER
