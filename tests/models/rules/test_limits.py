"""Whose limit holds."""

from uuid import UUID

from models.rules.limits import Limit, effective

HERE, THERE = UUID(int=1), UUID(int=2)


def test_ones_own_limit_goes_before_all_others_even_if_it_is_larger() -> None:
    assert effective(500, {HERE: 5}, 50) == Limit(500)


def test_the_smallest_of_ones_groups_goes_before_the_default_and_counts_its_organization() -> None:
    assert effective(None, {HERE: 500, THERE: 300}, 50) == Limit(300, THERE)


def test_without_either_the_default_holds() -> None:
    assert effective(None, {}, 50) == Limit(50)
