"""What is installed is what was chosen: pinned, hashed, and the same in production as in a checkout."""

import json
import re
from typing import Any

import pytest

from tests.vulnerabilities import judged
from turnstone.documents import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock")
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z0-9_,-]+\])?==([^\s;\\]+)[^\\]*\\$")


def pinned(lock: str) -> dict[str, str]:
    """The version of each package; every entry must be an exact version with at least one hash."""
    found = {}
    for entry in re.split(r"\n(?=\S)", "\n".join(_lines(lock))):
        first, *rest = entry.strip().splitlines()
        matched = PIN.match(first)
        assert matched, f"{lock}: {first} is not pinned"
        assert all(re.fullmatch(r"\s*--hash=sha256:[0-9a-f]{64}( \\)?", line) for line in rest), f"{lock}: {first}"
        assert rest, f"{lock}: {first} has no hash"
        found[matched[1]] = matched[2]
    return found


def _lines(lock: str) -> list[str]:
    text = (ROOT / lock).read_text()
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_pinned_with_its_hashes(lock: str) -> None:
    assert len(pinned(lock)) > 50


def test_what_is_tested_is_what_runs() -> None:
    production, checkout = (pinned(lock) for lock in LOCKS)
    assert {name: checkout.get(name) for name in production} == production


CLEAN: dict[str, Any] = {"name": "a", "version": "1", "vulns": []}
FLAWED: dict[str, Any] = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited"}


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([CLEAN, CLEAN], 0, "No known vulnerability in 2 packages"),
        ([CLEAN, UNKNOWN], 0, "No known vulnerability in 1 packages; 1 could not be asked for"),
        ([CLEAN, FLAWED, UNKNOWN], 1, "b 2: PYSEC-1, mended in 3"),
        ([UNKNOWN, UNKNOWN], 0, "Known vulnerabilities could not be asked for: the index knows none of the packages"),
    ],
)
def test_a_known_vulnerability_is_a_failure_and_nobody_to_ask_is_said(
    dependencies: list[dict[str, Any]], code: int, said: str
) -> None:
    assert judged(json.dumps({"dependencies": dependencies, "fixes": []}), "") == (code, said)
    assert judged("", "ERROR: no way to the index")[0] == 0
