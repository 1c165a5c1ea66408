"""What `python -m tests.compiled` keeps is what pytest reads, until the test is another."""

import os
import subprocess
import sys
from pathlib import Path

from tests.compiled import kept, rewrite

HEADER = 16  # bytes before the code


def _outcome(test: Path) -> str:
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(test.parent),
    ]
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run([*words, str(test)], env=environment, capture_output=True, text=True, check=False).stdout


def test_pytest_reads_what_was_kept_and_not_once_the_test_has_changed(tmp_path: Path) -> None:
    one, other = tmp_path / "test_one.py", tmp_path / "test_other.py"
    one.write_text("def test_it():\n    assert 1 == 1\n")
    other.write_text("def test_it():\n    value = 7\n    assert value == 8\n")
    rewrite([one, other])
    # Its name and hash, but the other's code: only who reads it fails.
    kept(one).write_bytes(kept(one).read_bytes()[:HEADER] + kept(other).read_bytes()[HEADER:])
    assert "assert 7 == 8" in _outcome(one)
    one.write_text("def test_it():\n    assert 2 == 2\n")
    assert "1 passed" in _outcome(one)
