"""A row that holds what a workspace tells is nobody's message: no turn begins with it, and models read it elsewhere."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models.parts import tool_result
from models.rules import history, prompt, workspace_context
from models.rules.titles import awaits_title

NOW = datetime(2026, 5, 20, tzinfo=UTC)
PLACE, AGENT, MODEL = UUID(int=1), UUID(int=2), UUID(int=3)
CALL = {"type": "tool-call", "tool_call_id": "c1", "tool_name": "current_time", "args": {}}
FOUND = {"instructions": [{"path": "/w/AGENTS.md", "content": "Be kind."}], "skills": [{"name": "deploy"}]}


def row(number: int, role: str, *content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": number, "role": role, "content": list(content), "visibility": "both", "created_at": NOW} | more


def told(number: int, workspace_id: UUID = PLACE) -> dict[str, Any]:
    return row(number, "user", *workspace_context.parts(FOUND, workspace_id, AGENT), model_config_id=None)


ASKED = row(1, "user", {"type": "text", "text": "hello"}, model_config_id=MODEL)
CALLED, ANSWERED = row(3, "assistant", CALL), row(4, "tool", tool_result(CALL, "noon"))


def test_a_turn_goes_on_over_it() -> None:
    for rows in ([ASKED, told(2), CALLED, ANSWERED], [ASKED, CALLED, ANSWERED, told(5)]):
        assert history.steps_since_user(rows) == 1
        assert history.model_of_turn(rows) == MODEL
        assert history.last_asked(rows) == (1, NOW)
        assert history.succeeded_since_user(rows, {"current_time"})
        assert history.open_calls(rows) == []
    assert history.open_calls([ASKED, CALLED, told(5)]) == [CALL]


def test_a_chat_is_named_for_what_was_asked() -> None:
    assert awaits_title("hello", [ASKED, told(2), row(3, "assistant", {"type": "text", "text": "hi"})])


def test_models_are_not_sent_it_as_a_message() -> None:
    answer = row(3, "assistant", {"type": "text", "text": "hi"})
    assert prompt.build([ASKED, told(2), answer], provider="openai") == prompt.build([ASKED, answer], provider="openai")


def test_the_newest_of_the_chats_own_workspace_holds() -> None:
    rows = [ASKED, told(2), told(3, UUID(int=9))]
    chat: dict[str, Any] = {"workspace_id": PLACE}
    held = workspace_context.held(chat, rows)
    assert held == rows[1]["content"]
    assert workspace_context.told_by(held) == AGENT
    assert workspace_context.held({"workspace_id": UUID(int=8)}, rows) is None
    assert workspace_context.held({"workspace_id": None}, rows) is None
    assert list(workspace_context.skills({**chat, workspace_context.KEY: held})) == ["deploy"]


def test_a_document_from_elsewhere_tells_nothing() -> None:
    foreign = row(2, "user", {"type": "context-file", "context_file_path": "/x/AGENTS.md"})
    assert history.is_context(foreign)
    assert workspace_context.held({"workspace_id": PLACE}, [ASKED, foreign]) is None
