"""The laws of parameters: which definitions are sound, and which values fit them."""

from typing import Any

import pytest

from models.errors import Invalid
from models.rules import parameters


def one(**fields: Any) -> parameters.Definition:
    [made] = parameters.defined([{"name": "p", **fields}])
    return made


def options(*values: str) -> list[dict[str, str]]:
    return [{"name": each, "value": each} for each in values]


@pytest.mark.parametrize(
    ("fields", "value", "fits"),
    [
        ({}, "anything", True),
        ({}, "x" * 8193, False),
        ({"validation_regex": "^a+$"}, "aaa", True),
        ({"validation_regex": "^a+$"}, "ab", False),
        ({"validation_regex": "^(([a-z])+.)+[A-Z]([a-z])+$"}, "a" * 5000, False),
        ({"options": options("a", "b")}, "b", True),
        ({"options": options("a", "b")}, "c", False),
        ({"type": "number"}, "-1.5", True),
        ({"type": "number"}, "1e5", False),
        ({"type": "number"}, "nan", False),
        ({"type": "number", "validation_min": 2}, "1", False),
        ({"type": "number", "validation_max": 2}, "3", False),
        ({"type": "number", "validation_min": 1, "validation_max": 2}, "2", True),
        ({"type": "number", "options": options("1", "2")}, "3", False),
        ({"type": "bool"}, "true", True),
        ({"type": "bool"}, "True", False),
        ({"type": "list(string)"}, '["a"]', True),
        ({"type": "list(string)"}, "[1]", False),
        ({"type": "list(string)"}, "a", False),
        ({"type": "list(string)", "options": options("a", "b")}, '["b", "a"]', True),
        ({"type": "list(string)", "options": options("a", "b")}, '["c"]', False),
    ],
)
def test_a_value_fits_its_parameter_or_is_told_why_not(fields: dict[str, Any], value: str, fits: bool) -> None:
    assert (parameters.unfit(one(**fields), value) == "") is fits


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"type": "number", "validation_min": 1}, "at least 1"),
        ({"type": "number", "validation_max": 3}, "at most 3"),
        ({"type": "number", "validation_min": 1, "validation_max": 3}, "between 1 and 3"),
        ({"validation_regex": "^a$"}, r"does not match ^a$"),
        ({"validation_regex": "^a$", "validation_error": "Only a."}, "Only a."),
    ],
)
def test_what_is_said_of_a_value_names_the_bound(fields: dict[str, Any], words: str) -> None:
    value = "0" if fields.get("validation_min") else "9"
    assert words in parameters.unfit(one(**fields), value)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "9a"},
        {"name": "a" * 65},
        {"type": "map"},
        {"validation_regex": "("},
        {"validation_regex": "a" * 600},
        {"type": "number", "validation_regex": "a"},
        {"validation_max": 1},
        {"options": options(*map(str, range(101)))},
        {"type": "number", "options": options("x")},
        {"required": True, "default_value": "x"},
        {"type": "bool", "default_value": "yes"},
        {"options": options("a"), "default_value": "b"},
    ],
)
def test_a_definition_that_is_not_sound_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        one(**fields)
    assert refused.value.validations[0].field == "parameters[0]"


def test_names_are_unique_and_there_are_not_too_many() -> None:
    with pytest.raises(Invalid) as refused:
        parameters.defined([{"name": "a"}, {"name": "a"}])
    assert refused.value.validations[0].field == "parameters[1]"
    with pytest.raises(Invalid, match="at most 100"):
        parameters.defined([{"name": f"p{number}"} for number in range(101)])


def test_a_value_is_the_presets_then_the_given_then_the_one_before_then_the_default() -> None:
    definitions = [one(mutable=True, default_value="default")]
    assert parameters.chosen(definitions, {}) == {"p": "default"}
    assert parameters.chosen(definitions, {}, previous={"p": "before"}) == {"p": "before"}
    assert parameters.chosen(definitions, {"p": "given"}, previous={"p": "before"}) == {"p": "given"}
    assert parameters.chosen(definitions, {"p": "given"}, preset={"p": "preset"}) == {"p": "preset"}


def test_what_is_ephemeral_is_not_remembered_and_what_is_new_may_be_given() -> None:
    assert parameters.chosen([one(ephemeral=True, default_value="d")], {}, previous={"p": "before"}) == {"p": "d"}
    assert parameters.chosen([one()], {"p": "x"}, previous={}) == {"p": "x"}
    assert parameters.chosen([one()], {"p": "x"}, previous={"p": "x"}) == {"p": "x"}


def test_every_value_that_is_wrong_is_named() -> None:
    definitions = parameters.defined(
        [{"name": "needed", "required": True}, {"name": "fixed"}, {"name": "size", "type": "number"}]
    )
    with pytest.raises(Invalid) as refused:
        parameters.chosen(definitions, {"fixed": "b", "size": "x", "other": ""}, previous={"fixed": "a"})
    assert {each.field for each in refused.value.validations} == {"needed", "fixed", "size", "other"}


def test_a_preset_names_parameters_that_there_are_with_values_that_fit() -> None:
    definitions = [one(type="number")]
    parameters.preset_values(definitions, {"p": "1"})
    for wrong in ({"p": "x"}, {"q": "1"}):
        with pytest.raises(Invalid, match="Invalid preset"):
            parameters.preset_values(definitions, wrong)
