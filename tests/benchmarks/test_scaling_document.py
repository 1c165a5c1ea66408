"""What docs/scaling.md tells people to turn, and to run, is there."""

import re
from importlib.util import find_spec
from pathlib import Path

from models.settings import PREFIX, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()


def test_every_knob_of_the_scaling_document_is_a_setting() -> None:
    named = set(re.findall(rf"{PREFIX}(\w+)", PAGE))
    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_every_command_of_the_scaling_document_can_be_run() -> None:
    targets = (Path(__file__).parents[2] / "Makefile").read_text()
    made, modules = re.findall(r"`make ([\w-]+)", PAGE), re.findall(r"`python -m (\S+?)[ `]", PAGE)
    assert made
    assert all(f"\n{target}:" in targets for target in made)
    assert modules
    assert all(find_spec(module) for module in modules)
