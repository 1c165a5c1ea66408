"""The documents say what the code says."""

import re
from pathlib import Path

import pytest

from models.settings import Settings
from turnstone.documents import ROOT, SECTIONS, rewritten


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md"])
def test_printed_sections_are_fresh(name: str) -> None:
    text = (ROOT / name).read_text()
    assert rewritten(text) == text, "run `make fix`"


def test_every_section_is_printed_somewhere() -> None:
    text = (ROOT / "README.md").read_text() + (ROOT / "ARCHITECTURE.md").read_text()
    assert set(re.findall(r"<!-- printed: (\w+) -->", text)) == set(SECTIONS)


def test_every_setting_has_a_sentence() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith((".", ")", "only.")), name


def test_links_between_documents_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_modules_are_short_enough_to_be_one_sentence() -> None:
    for folder in ("models", "workflows", "activities", "api", "agent", "turnstone", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            if "versions" in path.parts:
                continue
            lines = path.read_text().splitlines()
            assert len(lines) <= 400, f"{path.relative_to(ROOT)} has {len(lines)} lines"
            if lines:
                assert lines[0].startswith('"""'), f"{path.relative_to(ROOT)} does not say why it exists"


def test_no_module_is_named_for_nothing() -> None:
    banned = {"utils", "helpers", "common", "base", "manager", "service", "handler", "data_types", "misc"}
    for folder in ("models", "workflows", "activities", "api", "agent", "turnstone"):
        names = {path.stem for path in (ROOT / folder).rglob("*.py")} | {
            path.name for path in (ROOT / folder).rglob("*/")
        }
        assert not names & banned


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(Path(path).name[:4]) for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_test_that_the_documents_name_exists() -> None:
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text()
        for name in re.findall(r"`(test_\w+)`", text):
            assert f"def {name}(" in code, f"{path.name}: {name}"
        for file in re.findall(r"`(tests/[\w/]+\.py)`", text):
            assert (ROOT / file).exists(), f"{path.name}: {file}"
