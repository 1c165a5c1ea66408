"""Temporal keeps histories in the clear, so no text that somebody made up has a way into them (docs/security.md)."""

import inspect
import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest
from temporalio.converter import DataConverter

from activities.tools.endings import Event
from models.rules.failures import ErrorKind
from models.rules.states import Status
from models.steps import Built, DeliveryReply, Note, Outcome, StepReply, Then
from workflows.client import SIGNALS, Temporal
from workflows.effects import EFFECTS
from workflows.sandbox import WORKFLOWS
from workflows.turn import ChatTurn

HARMLESS = (UUID, int, float, bool, datetime, timedelta, types.NoneType)
# A `str` whose words are ours all the same, and whence they come.
OURS = {
    ("Sweep.run", "reason"): "the schedule's, a constant of workflows/client.py",
    ("Housekeeping.run", "_reason"): "the schedule's, as well",
    ("sweep", "takes"): "what Sweep.run was given",
    ("TitleRequest", "lock"): "a moment, as ISO 8601; whoever performs it refuses anything else",
    ("TurnState", "doing"): "put together by the workflow, which knows no text",
    ("ChatTurn.run", "return"): "a note",
    ("WebhookDelivery.run", "return"): "a note",
    ("WorkspaceBuild.run", "return"): "a note, or what a build came to",
    ("Housekeeping.run", "return"): "the names of its jobs",
    ("Temporal.nudge", "signal"): "one of SIGNALS, or it is not sent",
    ("Temporal.nudged", "signal"): "one of SIGNALS, or it is not sent",
    ("Temporal._start", "signal"): "one of SIGNALS",
}


def leaves(owner: str, name: str, hint: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    """The types that a value of this type is made of, and where each of them is."""
    if get_origin(hint) in (Union, types.UnionType, list, dict, tuple, set):
        for each in get_args(hint):
            yield from leaves(owner, name, each)
    elif is_dataclass(hint):
        assert isinstance(hint, type)
        for each, inner in get_type_hints(hint).items():
            yield from leaves(hint.__name__, each, inner)
    else:
        yield (owner, name), hint


def handlers(kind: type) -> Iterator[tuple[str, Any]]:
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if any(hasattr(method, f"__temporal_{what}_definition") for what in ("signal", "query", "update")):
            yield name, method
    yield "run", kind.run  # type: ignore[attr-defined]


def what_passes() -> set[tuple[tuple[str, str], Any]]:
    """The types of all that workflows and effects are given and give, and of what runs are begun and told with."""
    found: set[tuple[tuple[str, str], Any]] = set()
    for kind in WORKFLOWS:
        for name, method in handlers(kind):
            for each, hint in get_type_hints(method).items():
                found |= {*leaves(f"{kind.__name__}.{name}", each, hint)}
    for effect in EFFECTS:
        found |= {*leaves(effect.name, "takes", effect.takes), *leaves(effect.name, "gives", effect.gives)}
    for name, method in inspect.getmembers(Temporal, inspect.isfunction):
        if "start_workflow" in inspect.getsource(method) or name in ("nudge", "nudged", "begin", "title"):
            hints = get_type_hints(method).items()
            found |= {
                pair for each, hint in hints if each != "return" for pair in leaves(f"Temporal.{name}", each, hint)
            }
    return found


def is_harmless(hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return True
    return isinstance(hint, type) and (hint in HARMLESS or issubclass(hint, Enum))


def test_workflows_and_effects_are_given_and_give_ids_numbers_moments_and_words_of_ours() -> None:
    passing = what_passes()
    assert {place for place, hint in passing if not is_harmless(hint)} == OURS.keys()
    assert {(("StepReply", "note"), Note), (("BuildReply", "status"), Built)} < passing


def test_whatever_can_happen_has_its_note() -> None:
    said = [
        *(f"failed: {kind.value}" for kind in ErrorKind),
        *(f"the chat is {status.value}" for status in Status),
        *(f"the chat needs {then.value}" for then in Then if then not in (Then.BACK_OFF, Then.NEXT_TURN)),
        *(event.value for event in Event),
    ]
    assert [each for each in said if Note(each) is Note.OTHER] == []
    assert Note("the key sk-planted is wrong") is Note.OTHER


@pytest.mark.parametrize(
    "reply",
    [
        StepReply(Then.REST, 3, note=Note.FINISHED, outcome=Outcome.FINISHED),
        StepReply(Then.BACK_OFF, 3, 0.5, Note.RATE_LIMIT),
        DeliveryReply(Note.UNDELIVERED, 60.0, 500),
    ],
)
async def test_replies_survive_the_way_and_those_of_an_older_release_are_read(reply: Any) -> None:
    converter = DataConverter.default
    [payload] = await converter.encode([reply])
    assert await converter.decode([payload], [type(reply)]) == [reply]
    said = {each.name: getattr(reply, each.name) for each in fields(reply)} | {"note": "OpenAI said: no, sk-planted"}
    [old] = await converter.decode(await converter.encode([said]), [type(reply)])
    assert old.note is Note.OTHER


def test_the_signals_that_are_sent_are_those_that_a_turn_hears() -> None:
    assert {name for name, _ in handlers(ChatTurn)} - {"run", "state"} == SIGNALS
