"""Where a chat keeps its plan."""

from uuid import UUID

import pytest

from models.rules import plan_file

CHAT = UUID("5fe0b6d5-2f5a-4cd8-8a7c-0e5d3c7d8b11")


@pytest.mark.parametrize("given", ["~/.coder/plans/PLAN-{}.md", "/home/ada/x/../.coder/plans/PLAN-{}.md"])
def test_a_plan_file_is_meant_however_its_path_is_written(given: str) -> None:
    assert plan_file.meant(given.format(CHAT), "/home/ada") == plan_file.path("/home/ada/", CHAT)


@pytest.mark.parametrize(
    ("given", "stray"),
    [("plan.md", True), ("~/Plan.MD", True), ("/home/ada/plan.md", True), ("docs/plan.md", False), ("a.md", False)],
)
def test_a_plan_in_the_home_directory_is_a_stray_one(given: str, stray: bool) -> None:
    assert plan_file.is_stray_plan(given, "/home/ada") is stray


def test_a_model_that_plans_is_told_the_path() -> None:
    assert "/home/ada/.coder/plans/PLAN-x.md" in plan_file.block("/home/ada/.coder/plans/PLAN-x.md")
