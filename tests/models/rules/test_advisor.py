"""The laws of the advisor that need no model: what is shown, what counts, which setting holds."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
from hypothesis import given
from hypothesis import strategies as st

from models.parts import text, tool_result
from models.rules import advisor, compaction, features, history
from models.rules.features import Advisor, Held

SETTINGS = st.builds(Advisor, st.booleans(), st.integers(0, 5), st.integers(0, 20_000), st.uuids())
CALL = {"type": "tool-call", "tool_call_id": "a0", "tool_name": advisor.TOOL, "args": {"question": "why?"}}
SAID = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30)
SIZES = st.integers(0, 9_000)
TALK = st.lists(st.tuples(st.sampled_from(["user", "assistant", "call", "tool"]), SAID, SIZES), max_size=30)


@given(TALK)
def test_what_is_shown_is_the_newest_stretch_that_fits_without_results_of_calls_before_it(
    talk: list[tuple[str, str, int]],
) -> None:
    messages: list[dict[str, Any]] = []
    for place, (kind, words, size) in enumerate(talk):
        content = words + "x" * size
        match kind:
            case "call":
                call = {"id": f"c{place}", "function": {"name": "look", "arguments": "{}"}}
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            case "tool":
                messages.append({"role": "tool", "tool_call_id": f"c{place - 1}", "content": content})
            case role:
                messages.append({"role": role, "content": content})
    shown = advisor.recent(messages)
    assert len(shown) <= 20
    assert len(orjson.dumps(shown)) <= 12_000 or not shown
    assert shown == (messages[-len(shown) :] if shown else [])
    assert not shown or shown[0]["role"] != "tool"
    before = messages[: len(messages) - len(shown)]
    results = 0
    while results < len(before) and before[-1 - results]["role"] == "tool":
        results += 1
    longer = messages[len(before) - results - 1 :]
    fits = len(before) > results and len(longer) <= 20 and len(orjson.dumps(longer)) < 12_000
    assert not fits, "one message more would have fitted"
    written = [*advisor.in_words(shown)]
    assert len(written) == len(shown)
    assert all(each["role"] in ("user", "assistant") and "tool_calls" not in each for each in written)


def test_calls_and_results_are_written_out_by_name() -> None:
    call = {"id": "c0", "function": {"name": "look", "arguments": '{"at":"it"}'}}
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": "I look.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c0", "content": '{"seen":1}'},
    ]
    assert [each["content"] for each in advisor.in_words(messages)] == [
        'I look.\n[called look with {"at":"it"}]',
        '[look came to {"seen":1}]',
    ]


def test_the_open_call_thoughts_and_what_a_provider_ran_are_not_shown() -> None:
    earlier = {"role": "assistant", "content": [CALL]}
    last = {"role": "assistant", "content": [{"type": "reasoning", "text": "hm"}, text("I ask."), CALL]}
    searched = {"type": "tool-call", "tool_call_id": "s0", "tool_name": "web_search", "provider_executed": True}
    rows = [earlier, {"role": "assistant", "content": [searched, text("found")]}, last]
    assert [row["content"] for row in advisor.seen(rows, "a0")] == [[CALL], [text("found")], [text("I ask.")]]


@given(st.text(max_size=2_100))
def test_a_question_is_trimmed_and_cut(given_text: str) -> None:
    asked = advisor.question(given_text)
    assert len(asked) <= 2_000
    assert given_text.strip().startswith(asked)
    assert bool(asked) == bool(given_text.strip())
    assert len(advisor.question("ä" * 3_000)) == 2_000


def advised(kind: str, tool: str = advisor.TOOL, *, failed: bool = False) -> dict[str, Any]:
    call = {"tool_call_id": "a", "tool_name": tool}
    return {"role": "tool", "content": [tool_result(call, {"type": kind}, is_error=failed)]}


USED = st.lists(st.sampled_from(["advice", "limit_reached", "error", "other", "step"]), max_size=12)


@given(USED, USED, st.booleans(), st.integers(0, 6))
def test_only_advice_of_this_turn_counts_also_what_was_summarised_and_never_below_none(
    before: list[str], after: list[str], summarised: bool, limit: int
) -> None:
    def rows(kinds: list[str]) -> list[dict[str, Any]]:
        made = []
        for kind in kinds:
            match kind:
                case "step":
                    made.append({"role": "assistant", "content": [text("on")]})
                case "other":
                    made.append(advised("advice", "another_tool"))
                case _:
                    made.append(advised(kind, failed=kind == "error"))
        return made

    turn = [{"role": "user", "content": [text("go")]}, *rows(before)]
    between: list[dict[str, Any]] = [{"role": "user", "content": [text("next")]}]
    if summarised:
        content = compaction.summary("so far", turn)
        between = [{"role": "user", "content": content, "compressed": True, "visibility": "model"}]
    seen = between if summarised else [*turn, *between]
    used = history.advice_since_user([*seen, *rows(after)], advisor.TOOL)
    assert used == after.count("advice") + (before.count("advice") if summarised else 0)
    left = advisor.remaining(Advisor(True, limit), used, most_steps=1200)
    assert left == max((limit or 1200) - used, 0)


NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@given(st.lists(SETTINGS, min_size=1, max_size=25), st.integers(-2, 60))
def test_a_turn_keeps_to_the_setting_that_it_began_under(settings: list[Advisor], minutes: int) -> None:
    held = [Held(NOON + timedelta(minutes=2 * place), each) for place, each in enumerate(settings)][::-1]
    read = features.advisor_over_time({features.ADVISOR: features.advisor_text(held)})
    assert [*read] == held[: features.MOST_CHANGES], "what is older is forgotten"
    moment = NOON + timedelta(minutes=minutes)
    in_force = [each for each in read if each.since <= moment] or read[-1:]
    assert features.advisor_at(read, moment) == in_force[0].setting
    assert features.advisor({features.ADVISOR: features.advisor_text(held)}) == settings[-1]


def test_what_is_no_history_is_no_reason_to_lose_the_setting() -> None:
    setting = Advisor(True, 1, 2, uuid4())
    stored = orjson.loads(features.advisor_text([Held(NOON, setting)])) | {"before": [{"enabled": "yes"}]}
    assert features.advisor_over_time({features.ADVISOR: orjson.dumps(stored).decode()}) == (Held(NOON, setting),)


def test_a_providers_memory_is_switched_off() -> None:
    options = {"provider_options": {"openai": {"store": True, "metadata": {"a": "b"}, "user": "u"}}, "top_p": 1}
    assert advisor.unstored(options) == {"provider_options": {"openai": {"store": False, "user": "u"}}, "top_p": 1}
