"""The documents say what the code says."""

import re
from pathlib import Path

import pytest

from activities.tools.registry import TOOLS
from activities.tools.tool import Where
from models.rules.executions import Policy
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


def test_every_claim_of_the_threat_model_names_its_test() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    claims = [line for line in text.partition("## A stranger")[2].splitlines() if line.startswith("| ")]
    told = [line for line in claims if not line.startswith("| tries")]
    assert len(told) > 30
    for line in told:
        assert "`test_" in line.rsplit("|", 2)[1], line


def test_every_tool_is_in_the_documents_with_where_it_is_offered_and_its_policy() -> None:
    rows = {line.split("`")[1]: line for line in (ROOT / "docs" / "tools.md").read_text().splitlines() if "| `" in line}
    letters = {Where.ROOT: "R", Where.CHILD: "C", Where.PLAN: "P", Where.CHILD_PLAN: "p", Where.EXPLORE: "X"}
    for tool in TOOLS:
        _, _, offered, policy, *_ = (cell.strip() for cell in rows[tool.name].split("|"))
        where = "everywhere" if len(tool.offered) == len(Where) and tool.policy is Policy.PURE else None
        assert offered == (where or " ".join(letters[each] for each in Where if each in tool.offered)), tool.name
        assert policy == tool.policy, tool.name


def test_every_tool_of_the_folder_is_registered() -> None:
    folder = ROOT / "activities" / "tools"
    made = {path.stem for path in folder.glob("*.py") if re.search(r"^@tool\(", path.read_text(), re.MULTILINE)}
    assert made == {tool.name for tool in TOOLS}, "add it to TOOLS in activities/tools/registry.py"
