"""What a model reads first is found, bounded, and never leads out of its place."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import instructions, skills
from agent.frames import Refused
from tests.agent.conftest import Resident
from tests.agent.outside import Outside


@pytest.fixture
def places(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    return home, work


def skill(folder: Path, name: str, text: str) -> Path:
    place = folder / ".agents/skills" / name
    place.mkdir(parents=True)
    (place / "SKILL.md").write_text(text)
    return place


def test_instructions_of_home_and_directory_are_told_once_each(places: tuple[Path, Path]) -> None:
    home, work = places
    (home / "AGENTS.md").write_text("be kind")
    (work / "AGENTS.md").write_text("be brief")
    (work / "CLAUDE.md").symlink_to("AGENTS.md")
    (work / ".claude").mkdir()
    (work / ".claude/CLAUDE.md").write_text("   \n")
    told = instructions.context(work, home)["instructions"]
    assert told == [
        {"path": str(home / "AGENTS.md"), "content": "be kind", "truncated": False},
        {"path": str(work / "AGENTS.md"), "content": "be brief", "truncated": False},
    ]
    assert len(instructions.context(home, home)["instructions"]) == 1


def test_long_instructions_are_cut_between_characters(places: tuple[Path, Path]) -> None:
    home, work = places
    (home / "AGENTS.md").write_text("é" * 100)
    (work / "AGENTS.md").write_text("ü" * 100)
    told = instructions.context(work, home, file_bytes=101, total_bytes=131)["instructions"]
    assert [(file["content"], file["truncated"]) for file in told] == [("é" * 50, True), ("ü" * 15, True)]


def test_skills_are_indexed_by_name_and_the_directorys_come_first(places: tuple[Path, Path]) -> None:
    home, work = places
    skill(home, "deploy", "---\nname: deploy\ndescription: at home\n---\nbody")
    place = skill(
        work, "deploy", '---\nname: "deploy"\ndescription: >\n  how to\n  deploy: now\nother: x\n---\n\nthe body\n'
    )
    skill(work, "Bad Name", "no front matter")
    skill(work, "plain", "just text")
    told = instructions.context(work, home)["skills"]
    assert told == [
        {
            "name": "deploy",
            "description": "how to deploy: now",
            "dir": str(place),
            "meta_file": str(place / "SKILL.md"),
        },
        {
            "name": "plain",
            "description": "",
            "dir": str(place.parent / "plain"),
            "meta_file": str(place.parent / "plain/SKILL.md"),
        },
    ]
    (place / "scripts").mkdir()
    (place / "scripts/run.sh").write_text("echo")
    (place / ".hidden").write_text("no")
    assert skills.read("deploy", "", work, home) == {
        "body": "the body",
        "files": ["scripts/run.sh"],
        "dir": str(place),
    }
    assert skills.read("deploy", "scripts/run.sh", work, home) == {"content": "echo"}
    with pytest.raises(Refused, match="no skill"):
        skills.read("nope", "", work, home)


@pytest.mark.parametrize("path", ["/etc/passwd", "../plain/SKILL.md", ".hidden", "a/../b", "a/.b", "..", "out", "none"])
def test_a_path_never_leads_out_of_a_skill(places: tuple[Path, Path], path: str) -> None:
    home, work = places
    place = skill(work, "deploy", "body")
    skill(work, "plain", "secret")
    (place / ".hidden").write_text("secret")
    (place / "out").symlink_to("../plain/SKILL.md")
    with pytest.raises(Refused):
        skills.read("deploy", path, work, home)


def test_files_of_a_skill_are_cut_at_their_limit(places: tuple[Path, Path]) -> None:
    home, work = places
    place = skill(work, "big", "x" * (skills.META_BYTES + 5))
    (place / "file").write_text("y" * (skills.FILE_BYTES + 5))
    assert len(str(skills.read("big", "", work, home)["body"])) == skills.META_BYTES
    assert len(str(skills.read("big", "file", work, home)["content"])) == skills.FILE_BYTES


def test_the_agent_tells_context_and_skills(agent: Resident, outside: Outside) -> None:
    (agent.directory / "AGENTS.md").write_text("use tabs")
    place = skill(agent.home, "sing", "---\ndescription: la\n---\nsong")
    told = outside.call("context", {"max_bytes_file": 65536, "max_bytes": 2097152})
    assert told["instructions"][0]["content"] == "use tabs"
    assert told["skills"][0]["name"] == "sing"
    assert outside.call("skill", {"name": "sing"}) == {"body": "song", "files": [], "dir": str(place)}
    assert outside.error("skill", {"name": "hum"})["kind"] == "not_found"
    assert outside.error("skill", {"name": "sing", "path": "../x"})["kind"] == "invalid"
