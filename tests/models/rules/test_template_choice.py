"""In which order a model is shown templates."""

from typing import Any

import pytest

from models.rules.template_choice import Habit, affinity, ranked, recommended, relevance


def template(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "name": name, "display_name": "", "description": "", "active_developers": 0, **more}


@pytest.mark.parametrize(
    ("query", "tier"),
    [("Go-Service", 4), ("shop backend", 4), ("go", 3), ("SERVICE", 2), ("postgres", 1), ("rust", 0), ("  ", 0)],
)
def test_a_template_fits_by_name_then_by_description(query: str, tier: int) -> None:
    one = template("go-service", display_name="Shop Backend", description="With Postgres.")
    assert relevance(one, query) == tier


def test_what_one_uses_comes_before_what_others_use_and_is_forgotten_slowly() -> None:
    one, two, three = template("one", active_developers=50), template("two"), template("three")
    habits = {"two": Habit(active=1, days=3.0), "three": Habit(deleted=1, days=40.0)}
    assert ranked([one, two, three], habits, "") == [two, one, three]
    assert affinity(Habit(1, 0, 14.0), 0) == 5.0
    assert affinity(Habit(1, 2, 0.0), 0) == 20.0


def test_what_fits_the_query_is_shown_alone_and_all_where_nothing_does() -> None:
    both = [template("b"), template("a")]
    assert ranked(both, {}, "b") == [both[0]]
    assert ranked(both, {}, "rust") == [both[1], both[0]]


def test_a_template_is_recommended_only_where_there_is_a_reason() -> None:
    one, two = template("one"), template("two")
    assert recommended([], {}, "") is None
    assert recommended([one], {}, "") is one
    assert recommended([one, two], {}, "") is None
    assert recommended([one, two], {}, "on") is one
    assert recommended([two, one], {"two": Habit(active=1)}, "") is two
