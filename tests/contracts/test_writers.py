"""Execution state has one writer: what moves do, nothing else does (runtime.md 17.1, race 20)."""

import re

from turnstone.documents import ROOT

METADATA = {
    "title",
    "title_locked_at",
    "labels",
    "user_acl",
    "group_acl",
    "pin_order",
    "plan_mode",
    "last_read_message_id",
    "last_turn_summary",
    "updated_at",
    "workspace_id",
    "build_id",
    "agent_id",
}
HIDDEN_USAGE = "models/store/titles.py"
"""Charges the chat for a title's model call: a row that is deleted from the start, which no version counts."""

UPDATE = re.compile(r"UPDATE chats SET (.*?)(?:\bFROM\b|\bWHERE\b)", re.DOTALL)
SET = re.compile(r"(?:^|,)\s*(\w+) =")


def sources() -> dict[str, str]:
    files = [*(ROOT / "models").rglob("*.py"), *(ROOT / "api").rglob("*.py"), *(ROOT / "activities").rglob("*.py")]
    read = {str(path.relative_to(ROOT)): path.read_text() for path in files if "versions" not in path.parts}
    return {name: text for name, text in read.items() if not name.startswith("models/store/moves/")}


def test_outside_the_moves_only_metadata_of_a_chat_is_written() -> None:
    written = {
        (name, column)
        for name, text in sources().items()
        for update in UPDATE.findall(text)
        for column in SET.findall(update)
    }
    assert {column for _, column in written} <= METADATA, written


def test_outside_the_moves_no_message_is_written_that_a_version_would_count() -> None:
    writers = {name for name, text in sources().items() if re.search(r"INTO chat_messages|UPDATE chat_messages", text)}
    assert writers == {HIDDEN_USAGE}
