"""The tour's laws: each move follows from what the tools said, and what fails ends it."""

import json
from typing import Any

from activities.providers.tour import begin_or_go_on

OFFERED = {"list_templates", "create_workspace", "execute", "write_file", "edit_files", "attach_file", "stop_workspace"}
ANSWERS: dict[str, Any] = {
    "list_templates": {"templates": [{"id": "t-2", "name": "other"}, {"id": "t-1", "name": "local"}]},
    "create_workspace": {"created": True},
    "execute": {"success": True, "output": "/home/x/tour\n", "exit_code": 0},
    "write_file": {"ok": True},
    "edit_files": {"ok": True},
    "attach_file": {"ok": True},
    "stop_workspace": {"stopped": True},
}


def take(**answers: Any) -> tuple[list[tuple[str, Any]], str]:
    """Go through the tour with tools that answer so: the calls, and the last words."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "a tour, please"}]
    made: list[tuple[str, Any]] = []
    while True:
        move = begin_or_go_on(messages, OFFERED)
        if not move.calls:
            return made, move.words
        ids = [f"c{len(messages)}-{place}" for place in range(len(move.calls))]
        calls = [
            {"id": each, "function": {"name": name, "arguments": arguments}}
            for each, (name, arguments) in zip(ids, move.calls, strict=True)
        ]
        messages.append({"role": "assistant", "content": move.words, "tool_calls": calls})
        for each, (name, arguments) in zip(ids, move.calls, strict=True):
            made.append((name, json.loads(arguments)))
            answer = json.dumps({**ANSWERS, **answers}[name])
            messages.append({"role": "tool", "tool_call_id": each, "content": answer})


def test_the_tour_works_in_a_workspace_and_stops_it() -> None:
    made, words = take()
    assert [name for name, _ in made] == [
        "list_templates",
        "create_workspace",
        "execute",
        "write_file",
        "write_file",
        "execute",
        "edit_files",
        "execute",
        "attach_file",
        "stop_workspace",
    ]
    assert made[1][1] == {"template_id": "t-1"}
    assert made[8][1] == {"path": "/home/x/tour/greet.sh"}
    assert words.startswith("That was the tour.")


def test_without_a_template_or_with_a_tool_that_fails_the_tour_ends_and_says_why() -> None:
    made, words = take(list_templates={"templates": []})
    assert [name for name, _ in made] == ["list_templates"]
    assert "no template" in words
    made, words = take(create_workspace={"error": "no room"})
    assert [name for name, _ in made] == ["list_templates", "create_workspace"]
    assert words == "The tour ends here: create_workspace said: no room"
    _, words = take(execute={"success": False, "exit_code": 1, "output": "sh: not found"})
    assert "sh: not found" in words


def test_a_test_that_fails_as_it_should_does_not_end_the_tour() -> None:
    made, _ = take(execute={"success": False, "exit_code": 1, "output": "not ok: Hello, world"})
    assert made[-1][0] == "stop_workspace"


def test_a_chat_without_the_tools_gets_no_tour() -> None:
    move = begin_or_go_on([{"role": "user", "content": "tour"}], {"fetch_url"})
    assert (move.calls, "does not have" in move.words) == ([], True)
