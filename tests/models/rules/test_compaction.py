"""When a history is summarised, what of it, and what stays true of it afterwards."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from models.errors import FailureFacts
from models.parts import text, wire
from models.rules import compaction, failures, history, plan
from models.rules.states import State
from models.steps import Then

MODEL, OTHER = uuid4(), uuid4()


def user(words: str = "do it", model: Any = MODEL) -> dict[str, Any]:
    return {"role": "user", "content": [text(words)], "visibility": "both", "model_config_id": model}


def assistant(words: str = "done", **columns: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [text(words)], "visibility": "both", **columns}


def calling(call_id: str = "c1", **columns: Any) -> dict[str, Any]:
    call = {"type": "tool-call", "tool_call_id": call_id, "tool_name": "look", "args": {}}
    return {"role": "assistant", "content": [call], "visibility": "both", **columns}


def result(call_id: str = "c1") -> dict[str, Any]:
    part = {"type": "tool-result", "tool_call_id": call_id, "tool_name": "look", "result": "seen"}
    return {"role": "tool", "content": [part], "visibility": "both"}


def summary_of(rows: list[dict[str, Any]], words: str = "so far") -> dict[str, Any]:
    """The row that stands for `rows`, as it is committed."""
    content = compaction.summary(words, rows)
    named = history.model_of_turn(rows)
    return {"role": "user", "content": content, "visibility": "model", "compressed": True, "model_config_id": named}


@pytest.mark.parametrize(
    ("own", "configured", "percent"),
    [
        (None, 50, 50),
        (None, None, 70),
        (None, 101, 70),
        (None, -1, 70),
        (None, 0, 0),
        ("30", 50, 30),
        ("0", 50, 0),
        ("100", 50, 100),
        ("101", 50, 50),
        ("-5", 50, 50),
        ("", 50, 50),
        ("3.5", 50, 50),
    ],
)
def test_a_persons_threshold_beats_the_models_and_nonsense_beats_nobody(
    own: str | None, configured: int | None, percent: int
) -> None:
    assert compaction.threshold(own, configured) == percent


def test_the_load_is_what_the_newest_answer_read() -> None:
    rows = [user(), assistant(input_tokens=900), user(), assistant(input_tokens=10, cache_read_tokens=20), user()]
    assert compaction.load(rows, 300) == compaction.Load(30, 300)
    assert compaction.load(rows, 300).percent == 10.0


def test_cached_tokens_fill_the_context_too() -> None:
    row = assistant(input_tokens=1, cache_read_tokens=20, cache_creation_tokens=300, output_tokens=4000)
    assert compaction.load([user(), row], 1000).tokens == 321


def test_without_its_parts_the_total_counts() -> None:
    assert compaction.load([user(), assistant(total_tokens=77)], 100).percent == 77.0


def test_an_answer_that_told_no_usage_does_not_hide_the_one_before() -> None:
    assert compaction.load([user(), assistant(input_tokens=50), user(), assistant()], 100).tokens == 50


def test_what_was_read_before_a_summary_does_not_count_after_it() -> None:
    before = [user(), assistant(input_tokens=99)]
    assert compaction.load([*before, summary_of(before), user()], 100).tokens == 0


@pytest.mark.parametrize(
    ("tokens", "limit", "percent", "needed"),
    [
        (70, 100, 70, True),
        (69, 100, 70, False),
        (1000, 100, 100, False),
        (0, 100, 0, True),
        (70, 0, 70, False),
        (70, None, 0, False),
    ],
)
def test_it_is_needed_from_the_threshold_on(tokens: int, limit: int | None, percent: int, needed: bool) -> None:
    rows = [user(), assistant(input_tokens=tokens), user()]
    assert compaction.needed(rows, limit, percent) is needed


def test_it_is_never_needed_twice_without_an_answer_between() -> None:
    before = [user(), assistant(input_tokens=99)]
    after = [summary_of(before), user()]
    assert not compaction.needed(after, 100, 0)
    assert compaction.just_done(after)
    assert compaction.needed([*after, assistant(input_tokens=1), user()], 100, 0)
    assert not compaction.just_done([*after, assistant()])
    assert not compaction.just_done([user()])


def test_a_first_message_is_nothing_to_summarise() -> None:
    assert not compaction.has_something([user()])
    assert not compaction.needed([user()], 100, 0)
    assert compaction.has_something([user(), assistant()])


def test_only_unanswered_messages_at_the_end_are_kept_out_of_the_summary() -> None:
    rows = [user("a"), assistant(), user("b"), user("c")]
    assert compaction.extent(rows) == 2
    assert compaction.extent([user(), calling(), result()]) == 3
    assert compaction.extent([summary_of(rows)]) == 1, "a summary is nobody's question"


def test_a_turn_that_was_summarised_in_its_middle_goes_on() -> None:
    rows = [user(), calling(), result()]
    after = [summary_of(rows)]
    assert not history.is_complete(after)
    assert history.open_calls(after) == []
    assert history.model_of_turn(after) == MODEL
    assert plan.next_step(State.R0, after, max_steps=9) is Then.GENERATE


def test_steps_within_a_summary_count() -> None:
    rows = [user(), calling("c1"), result("c1"), calling("c2"), result("c2")]
    after = [summary_of(rows), calling("c3"), result("c3")]
    assert history.steps_since_user(after) == 3
    again = [summary_of(after), calling("c4"), result("c4")]
    assert history.steps_since_user(again) == 4
    assert plan.next_step(State.R0, again, max_steps=4) is Then.REST
    assert plan.next_step(State.R0, again, max_steps=5) is Then.GENERATE


def test_a_new_question_after_a_summary_begins_to_count_anew() -> None:
    rows = [user(), calling(), result(), assistant()]
    after = [summary_of(rows), user("next", OTHER)]
    assert history.steps_since_user(after) == 0
    assert history.model_of_turn(after) == OTHER
    assert plan.next_step(State.R0, after, max_steps=1) is Then.GENERATE


def test_what_is_being_answered_is_known_through_summaries_of_summaries() -> None:
    moment = datetime(2026, 5, 20, 10, 0, 0, 250, tzinfo=UTC)
    asked = [{**user(), "id": 7, "created_at": moment}, calling(), result()]
    assert history.last_asked(asked) == (7, moment)
    once = {**summary_of(asked), "content": compaction.summary("so far", asked, history.last_asked(asked))}
    assert history.last_asked([once, calling()]) == (7, moment)
    twice = {**once, "content": compaction.summary("further", [once], history.last_asked([once]))}
    assert history.last_asked([twice, {**user(), "visibility": "model"}]) == (7, moment)
    assert history.last_asked([twice, {**user(), "id": 9, "created_at": moment}]) == (9, moment)


def test_clients_never_see_how_a_summary_counts() -> None:
    [part] = wire(compaction.summary("so far", [user(), assistant()]))
    assert part == text(compaction.PREFIX + "so far")


def test_what_is_left_is_hopeless_only_when_it_certainly_cannot_fit() -> None:
    before = [user(), assistant()]
    left = [summary_of(before), user("x" * 5_000)]
    assert compaction.hopeless(left, 1_000)
    assert not compaction.hopeless(left, 1_200)
    assert not compaction.hopeless([*left, assistant()], 1_000), "there is something to summarise"
    assert not compaction.hopeless([user("x" * 50_000)], 1_000), "nothing was summarised: the provider decides"
    assert not compaction.hopeless(left, None)


def test_a_request_to_compact_waits_for_the_tools_that_run() -> None:
    assert plan.next_step(State.R0, [user(), calling()], max_steps=9, compaction_requested=True) is Then.USE_TOOLS
    assert plan.next_step(State.R0, [user(), assistant()], max_steps=9, compaction_requested=True) is Then.COMPACT


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000."),
        (400, "prompt is too long: 200251 tokens > 200000 maximum"),
        (400, "input length and `max_tokens` exceed context limit: 199000 + 8000 > 200000"),
        (400, "Input is too long for requested model."),
        (413, '{"type":"request_too_large"}'),
        (400, "The input token count (1048600) exceeds the maximum number of tokens allowed (1048576)."),
        (400, "the request exceeds the available context size (8192 tokens)"),
        (None, "Your input exceeds the context window of this model."),
    ],
)
def test_providers_say_in_many_words_that_a_conversation_is_too_long(status: int | None, words: str) -> None:
    assert failures.is_overflow(FailureFacts("x", status=status, text=words))


@pytest.mark.parametrize(
    "facts",
    [
        FailureFacts("x", status=429, text="Request too large for gpt: tokens per min (TPM) context length"),
        FailureFacts("x", status=400, text="max_tokens is too large: 64000"),
        FailureFacts("x", status=400, text="Unknown parameter"),
        FailureFacts("x", status=401, text="invalid api key"),
        FailureFacts("x", signal="silence", text="context window"),
    ],
)
def test_other_failures_are_no_reason_to_summarise(facts: FailureFacts) -> None:
    assert not failures.is_overflow(facts)
