"""Every effect is declared once, performed once, by a performer of its types; workflow code cannot act."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
from mypy import api as mypy

import activities
from activities.attend import Attendance
from activities.build import Building
from activities.compact import Compaction
from activities.deliver import Delivering
from activities.drive import Generation
from activities.housekeeping import Housekeeping
from activities.interrupt import Interruption
from activities.performs import performed
from activities.sweep import Sweeping
from activities.title import Titling
from activities.use_tools import Tools
from workflows import effects
from workflows.effect import Effect

PERFORMERS = (
    Generation,
    Tools,
    Attendance,
    Compaction,
    Interruption,
    Sweeping,
    Titling,
    Housekeeping,
    Delivering,
    Building,
)
HEAVY = ("litellm", "sqlalchemy", "sqlmodel", "psycopg", "fastapi", "httpx", "uvicorn")


def declared() -> dict[str, Effect]:  # type: ignore[type-arg]
    return {name: value for name, value in vars(effects).items() if isinstance(value, Effect)}


def performances() -> list[tuple[Effect, object]]:  # type: ignore[type-arg]
    methods = [method for performer in PERFORMERS for method in vars(performer).values()]
    return [(found, method) for method in methods if (found := performed(method)) is not None]


def test_every_effect_is_listed_under_its_own_name() -> None:
    assert {each.name: each for each in effects.EFFECTS} == declared()


def test_a_worker_that_dies_in_any_effect_is_noticed_within_seconds() -> None:
    assert {effect.heartbeat for effect in effects.EFFECTS} == {effects.HEARTBEAT}


def test_every_effect_is_performed_exactly_once() -> None:
    assert sorted(effect.name for effect, _ in performances()) == sorted(declared())


def test_a_performer_takes_and_gives_what_its_effect_says() -> None:
    for effect, method in performances():
        hints = get_type_hints(method)
        assert hints.pop("return") is effect.gives
        assert list(hints.values()) == [effect.takes]


def test_no_performer_hides_in_a_module_that_the_worker_does_not_list() -> None:
    folder = Path(next(iter(activities.__path__)))
    using = {path.stem for path in folder.glob("*.py") if "@performs(" in path.read_text()} - {"performs"}
    assert using == {performer.__module__.rpartition(".")[2] for performer in PERFORMERS}


@pytest.mark.parametrize("module", ["workflows.turn", "workflows.effects", "workflows.client", "workflows.sandbox"])
def test_importing_workflows_brings_in_nothing_that_acts(module: str) -> None:
    script = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["api.app", "activities.serve"])
def test_no_process_loads_what_it_may_never_need(module: str) -> None:
    """The mapper of the tables, ways to sign in, MCP: each costs megabytes and a part of a second."""
    script = f"import sys, {module}; print(sorted({{'sqlalchemy', 'authlib', 'joserfc', 'mcp'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_type_checker_refuses_a_performer_of_other_types(tmp_path: Path) -> None:
    written = tmp_path / "performer.py"
    written.write_text(
        "from activities.performs import performs\n"
        "from models.steps import StepReply, StepRequest, SweepReply\n"
        "from workflows import effects\n"
        "class Right:\n"
        "    @performs(effects.generate)\n"
        "    async def generate(self, request: StepRequest) -> StepReply: raise NotImplementedError\n"
        "class WrongRequest:\n"
        "    @performs(effects.generate)\n"
        "    async def generate(self, request: str) -> StepReply: raise NotImplementedError\n"
        "class WrongReply:\n"
        "    @performs(effects.generate)\n"
        "    async def generate(self, request: StepRequest) -> SweepReply: raise NotImplementedError\n"
    )
    out, _, _ = mypy.run([str(written), "--strict", "--no-error-summary", "--hide-error-context", "--no-color-output"])
    assert re.findall(r"performer\.py:(\d+): .*error", out) == ["8", "11"], out
