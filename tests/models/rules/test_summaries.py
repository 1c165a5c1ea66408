"""What a finished turn is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules import summaries
from models.rules.states import Status


@pytest.mark.parametrize(
    ("status", "label"),
    [
        (Status.WAITING, "Finished latest turn"),
        (Status.PENDING, "Still working on request"),
        (Status.RUNNING, "Still working on request"),
        (Status.REQUIRES_ACTION, "Waiting for user input"),
        (Status.ERROR, "Hit an error"),
        (Status.INTERRUPTING, "Updated chat status"),
    ],
)
def test_every_outcome_has_a_plain_label(status: Status, label: str) -> None:
    assert summaries.plain(status) == label


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("Fixed flaky login test", "Fixed flaky login test"),
        (' "Added dark mode." \n', "Added dark mode"),
        ("Upgraded  to v1.2", "Upgraded to v1.2"),
        ("Weighed options…", "Weighed options"),
        ("Items listed", "Items listed"),
    ],
)
def test_a_label_is_made_presentable(answer: str, label: str) -> None:
    assert summaries.read(answer) == label


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Done",
        "one two three four five six",
        "Fixed test\nAdded docs",
        "Done. Added docs",
        "Agent fixed the test",
        "I fixed the test",
        "It works now",
        "It's fixed now",
        "The login test",
        "we fixed it",
        "What agent found today",
        "Bell\x07 rang twice",
    ],
)
def test_a_sentence_or_a_report_about_the_agent_is_no_label(answer: str) -> None:
    assert summaries.read(answer) is None


@given(st.text(max_size=200))
def test_whatever_a_model_says_a_label_is_short_and_one_line(answer: str) -> None:
    label = summaries.read(answer)
    assert label is None or (2 <= len(label.split()) <= 5 and label.isprintable() and label == label.strip())


def test_the_end_of_a_long_answer_is_what_is_labelled() -> None:
    asked = summaries.question("Mutexes", "x" * 10_000 + "so it is fixed")
    assert asked.endswith("so it is fixed\n</text>")
    assert len(asked) < 6200
