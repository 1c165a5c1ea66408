"""What is installed is what was chosen: pinned, hashed, and the same in production as in a checkout."""

import re

import pytest

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
