"""What a model is told before the conversation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import Invalid
from models.rules import instructions
from models.rules.instructions import (
    ATTACHED,
    DEFAULT_SYSTEM_PROMPT,
    DETACHED,
    DETACHED_CHILD,
    INCLUDE_DEFAULT,
    MAX_BYTES,
    PLAN_CHILD_OVERLAY,
    PLAN_INSTRUCTIONS,
    PLAN_OVERLAY,
    SYSTEM_PROMPT,
    sanitised,
)


@pytest.mark.parametrize(
    ("site", "begins"),
    [
        ({}, DEFAULT_SYSTEM_PROMPT),
        ({SYSTEM_PROMPT: "Ours."}, "Ours."),
        ({SYSTEM_PROMPT: "Ours.", INCLUDE_DEFAULT: "true"}, f"{DEFAULT_SYSTEM_PROMPT}\n\nOurs."),
        ({SYSTEM_PROMPT: "", INCLUDE_DEFAULT: "true"}, DEFAULT_SYSTEM_PROMPT),
        ({SYSTEM_PROMPT: "Ours.", INCLUDE_DEFAULT: "false"}, "Ours."),
    ],
)
def test_a_deployments_prompt_replaces_the_default_unless_both_are_wanted(site: dict[str, str], begins: str) -> None:
    assert instructions.stored(site, "Mine.") == [begins, "Mine.", DETACHED]
    assert instructions.stored(site) == [begins, DETACHED]


def test_a_deployment_may_have_no_prompt_at_all_and_a_chat_still_knows_whether_it_has_a_workspace() -> None:
    none = {INCLUDE_DEFAULT: "false"}
    assert instructions.stored(none) == [DETACHED]
    assert instructions.stored(none, child=True) == [DETACHED_CHILD]
    for child in (False, True):
        assert instructions.stored(none, attached=True, child=child) == [ATTACHED]


def test_a_step_is_told_the_persons_prompt_and_then_the_plan_mode() -> None:
    site, own = {PLAN_INSTRUCTIONS: "Plan in German."}, "Call me Ada."
    mine = "<user-instructions>\nCall me Ada.\n</user-instructions>"
    assert instructions.for_turn({}, "") == []
    assert instructions.for_turn(site, own) == [mine]
    assert instructions.for_turn(site, own, plan_mode="plan") == [mine, f"{PLAN_OVERLAY}\n\nPlan in German."]
    told = instructions.for_turn(site, " ", plan_mode="plan", child=True)
    assert told == [instructions.of_sub_agent(None), PLAN_CHILD_OVERLAY]


def test_what_nobody_sees_is_taken_out_and_white_space_made_plain() -> None:
    assert sanitised(" a\u200bb\x00c\ufeff \r\nd\u00a0e\t\n\n\n\n\u202ef\U000e0041 ") == "abc\nd e\n\nf"


def test_joiners_stay_where_they_mean_something() -> None:
    family, persian = "👨\u200d👩\u200d👧", "می\u200cخواهم"
    assert (sanitised(family), sanitised(persian)) == (family, persian)
    assert sanitised("pass\u200dword") == "password"


@given(st.text(st.characters(codec="utf-8")))
def test_clean_text_is_clean(text: str) -> None:
    assert sanitised(sanitised(text)) == sanitised(text)


def test_a_prompt_is_measured_after_it_was_cleaned() -> None:
    assert instructions.accepted("a" * MAX_BYTES + "\u200b\n", "Too long.") == "a" * MAX_BYTES
    with pytest.raises(Invalid, match="Too long") as refused:
        instructions.accepted("é" * (MAX_BYTES // 2) + "a", "Too long.")
    assert refused.value.detail == f"Maximum length is {MAX_BYTES} bytes, got {MAX_BYTES + 1}."
