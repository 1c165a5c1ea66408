"""Which labels a chat may carry."""

import pytest

from models.errors import Invalid
from models.rules import labels


def problems(found: dict[str, str]) -> list[str]:
    with pytest.raises(Invalid) as refused:
        labels.check(found)
    assert refused.value.message == "Invalid labels."
    assert {validation.field for validation in refused.value.validations} == {"labels"}
    return [validation.detail for validation in refused.value.validations]


def test_labels_within_the_rules_are_accepted() -> None:
    labels.check({})
    labels.check({"team/name.x-1_y": "storage", "k" * 64: "v" * 256})
    labels.check({f"key{number}": "v" for number in range(50)})


def test_each_broken_rule_is_named() -> None:
    assert problems({f"key{number}": "v" for number in range(51)}) == ["too many labels (51); maximum is 50"]
    assert problems({"": "v"}) == ["label key must not be empty"]
    assert problems({"k" * 65: "v"}) == [f'label key "{"k" * 65}" exceeds maximum length of 64 bytes']
    assert problems({"a": ""}) == ['label value for key "a" must not be empty']
    assert problems({"a": "v" * 257}) == ['label value for key "a" exceeds maximum length of 256 bytes']
    assert problems({"é": "x", "b": ""}) == [
        'label key "é" contains invalid characters; must match ^[a-zA-Z0-9][a-zA-Z0-9._/-]*$',
        'label value for key "b" must not be empty',
    ]


@pytest.mark.parametrize("key", ["-a", "a b", "a\n", "a:b"])
def test_a_key_is_letters_digits_and_a_few_signs(key: str) -> None:
    assert "contains invalid characters" in problems({key: "v"})[0]


def test_length_is_counted_in_bytes() -> None:
    labels.check({"a": "é" * 128})
    assert "exceeds maximum length of 256 bytes" in problems({"a": "é" * 129})[0]


def test_filters_split_at_the_first_colon() -> None:
    assert labels.wanted(["a:b", "c:d:e"]) == [{"a": "b"}, {"c": "d:e"}]


@pytest.mark.parametrize("raw", ["a", "a:", ":b", ":", ""])
def test_a_filter_needs_both_sides(raw: str) -> None:
    with pytest.raises(Invalid, match="expected format key:value") as refused:
        labels.wanted([raw])
    assert refused.value.message == (
        f'Invalid label filter: "{raw}" (expected format key:value, both must be non-empty)'
    )
