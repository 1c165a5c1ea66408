"""Repositories are told as they are, when they change, and without anybody's secrets."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.agent.conftest import Resident
from tests.agent.outside import Outside


def git(folder: Path, *words: str) -> None:
    names = {f"GIT_{who}_{what}": "t@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(
        ["git", *words], cwd=folder, check=True, capture_output=True, env={"PATH": os.environ["PATH"], **names}
    )


@pytest.fixture(scope="module")
def repository(agent: Resident) -> Path:
    folder = agent.directory / "code"
    folder.mkdir()
    git(folder, "init", "-b", "trunk")
    git(folder, "remote", "add", "origin", "https://ada:secret@example.com/code.git")
    (folder / "kept").write_text("one\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


def scan(outside: Outside, root: Path) -> dict[str, Any]:
    told = outside.call("git", {})
    assert told["scanned_at"].endswith("+00:00")
    return next(found for found in told["repositories"] if found["repo_root"] == str(root))


def test_a_repository_tells_branch_remote_and_diff(outside: Outside, repository: Path) -> None:
    assert scan(outside, repository) == {
        "repo_root": str(repository),
        "branch": "trunk",
        "remote_origin": "https://example.com/code.git",
        "unified_diff": "",
        "removed": False,
    }
    (repository / "kept").write_text("two\n")
    (repository / "new file").write_text("a\nb")
    (repository / "blob").write_bytes(b"\0\1")
    diff = scan(outside, repository)["unified_diff"]
    assert "-one\n+two\n" in diff
    assert "+++ b/new file\n@@ -0,0 +1,2 @@\n+a\n+b\n\\ No newline at end of file\n" in diff
    assert "Binary files /dev/null and b/blob differ" in diff


def test_a_repository_without_a_commit_has_a_diff_too(agent: Resident, outside: Outside) -> None:
    folder = agent.directory / "young"
    folder.mkdir()
    git(folder, "init")
    (folder / "file").write_text("x\n")
    git(folder, "add", ".")
    assert "+x" in scan(outside, folder)["unified_diff"]


def test_only_changes_are_told_and_a_refresh_is_always_answered(
    agent: Resident, outside: Outside, repository: Path
) -> None:
    def after(count: int) -> list[dict[str, Any]]:
        outside.say({"type": "git_refresh"})
        outside.until(lambda: len(outside.of("git")) > count)
        return outside.of("git")[-1]["repositories"]

    after(len(outside.of("git")))
    assert after(len(outside.of("git"))) == []
    (repository / "kept").write_text("three\n")
    changed = after(len(outside.of("git")))
    assert [found["repo_root"] for found in changed] == [str(repository)]
    (repository / "kept").write_text("three, again\n")
    assert "+three, again" in after(len(outside.of("git")))[0]["unified_diff"]
    side = agent.directory / "side"
    side.mkdir()
    git(side, "init")
    assert [found["repo_root"] for found in after(len(outside.of("git")))] == [str(side)]
    (side / ".git").rename(agent.home / "gone")
    removed = after(len(outside.of("git")))
    assert [(found["repo_root"], found["removed"]) for found in removed] == [(str(side), True)]
