"""A wheel holds all of the program: every module and every file that it reads."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What configures tools and is read by nobody at run time.
NOT_READ = {"workflows/ruff.toml"}
LEFTOVERS = ("__pycache__", ".*")  # of tools
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
USE = """
import sys
import turnstone.client
from models.store import migrate
assert migrate.__file__.startswith(sys.argv[1]), migrate.__file__
print(migrate.head())
"""


@pytest.fixture(scope="module")
def packages() -> list[str]:
    """The folders that are packaged, as import-linter is told them."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: list[str] = tomllib.load(file)["tool"]["importlinter"]["root_packages"]
    return found


@pytest.fixture(scope="module")
def wheel(packages: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build leaves its traces where it is made."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for each in packages:
        shutil.copytree(ROOT / each, source / each, ignore=shutil.ignore_patterns(*LEFTOVERS))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    (source / "tests").mkdir()
    (source / "tests" / "__init__.py").touch()
    done = subprocess.run([sys.executable, "-c", BUILD, str(out)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [made] = out.glob("*.whl")
    return made


def _is_left_over(path: Path) -> bool:
    return any(fnmatch(part, each) for part in path.relative_to(ROOT).parts for each in LEFTOVERS)


def test_it_holds_every_file_of_the_program_and_nothing_else(wheel: Path, packages: list[str]) -> None:
    ours = {
        str(path.relative_to(ROOT))
        for each in packages
        for path in (ROOT / each).rglob("*")
        if path.is_file() and not _is_left_over(path)
    }
    with zipfile.ZipFile(wheel) as packed:
        held = {name for name in packed.namelist() if ".dist-info/" not in name}
    assert held == ours - NOT_READ


def test_it_works_from_where_it_is_unpacked(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    newest = max(path.name[:4] for path in (ROOT / "models/store/migrations/versions").glob("[0-9]*.py"))
    assert done.stdout.startswith(newest)
