"""What the client shows of a stream: all of it, in order, once; whatever is repeated, cut or taken back."""

import io
import os
import pty
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from turnstone.cli.conversation import Conversation
from turnstone.cli.screen import Screen
from turnstone.cli.transcript import Status, Transcript
from turnstone.client.events import read_event
from turnstone.client.following import Records

CALL = {"type": "tool-call", "tool_call_id": "c1", "tool_name": "current_time"}


class Played:
    """A transcript shown on two pipes."""

    def __init__(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.conversation = Conversation(None, Screen(self.out, self.err), None)  # type: ignore[arg-type]

    def play(self, *events: dict[str, Any]) -> "Played":
        for event in events:
            self.conversation._take(read_event(event))
        return self

    @property
    def answer(self) -> str:
        return self.out.getvalue()

    @property
    def notes(self) -> str:
        return self.err.getvalue()


@pytest.fixture
def played() -> Played:
    return Played()


def part(
    seq: int, text: str = "", *, kind: str = "text", episode: tuple[int, int] = (2, 1), **more: Any
) -> dict[str, Any]:
    given: dict[str, Any] = {"type": kind, **({"text": text} if text else {}), **more}
    return {
        "type": "message_part",
        "message_part": {
            "role": "assistant",
            "part": given,
            "history_version": episode[0],
            "generation_attempt": episode[1],
            "seq": seq,
        },
    }


def message(number: int, role: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "message": {"id": number, "role": role, "content": list(content)}}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def test_streamed_text_and_its_message_are_one_text(played: Played) -> None:
    played.play(part(1, "Hello "), part(2, "world"), message(5, "assistant", text("Hello world!")))
    assert played.answer == "Hello world!\n"


def test_a_message_without_a_preview_is_shown_whole(played: Played) -> None:
    assert played.play(message(5, "assistant", text("Hello"))).answer == "Hello\n"


def test_what_a_reconnection_repeats_is_shown_once(played: Played) -> None:
    events = [message(3, "user", text("Hi")), part(1, "a"), part(2, "b")]
    played.play(
        *events, *events, part(3, "c"), message(5, "assistant", text("abc")), message(5, "assistant", text("abc"))
    )
    assert played.answer == "abc\n"


def test_an_attempt_that_says_the_same_again_is_shown_once(played: Played) -> None:
    played.play(part(1, "one "), part(2, "two "), {"type": "preview_reset"})
    played.play(part(1, "one ", episode=(2, 2)), part(2, "two three", episode=(2, 2)))
    played.play(message(5, "assistant", text("one two three")))
    assert (played.answer, "again" in played.notes) == ("one two three\n", False)


def test_an_attempt_that_says_something_else_is_announced_and_shown_whole(played: Played) -> None:
    played.play(part(1, "one two"), {"type": "preview_reset"}, part(1, "one 2", episode=(2, 2)))
    played.play(message(5, "assistant", text("one 2")))
    assert played.answer == "one two\none 2\n"
    assert "the answer starts again" in played.notes


def test_parts_of_an_older_attempt_are_not_shown(played: Played) -> None:
    played.play(part(1, "new", episode=(2, 2)), part(7, "old", episode=(2, 1)))
    assert played.answer == "new"


def test_a_resync_in_the_middle_repeats_nothing(played: Played) -> None:
    played.play(
        part(1, "a"), part(2, "b"), {"type": "resync"}, message(3, "user", text("Hi")), part(1, "ab"), part(2, "c")
    )
    assert played.answer == "abc"


def test_only_the_answer_is_in_the_pipe(played: Played) -> None:
    played.play(
        message(3, "user", text("What time is it?")),
        part(1, "hm", kind="reasoning"),
        part(2, kind="tool-call", tool_call_id="c1", tool_name="current_time", args_delta='{"zone'),
        part(3, kind="tool-call", tool_call_id="c1", tool_name="current_time", args={"timezone": "UTC"}),
        message(4, "assistant", {"type": "reasoning", "text": "hm"}, CALL | {"args": {"timezone": "UTC"}}),
        message(
            5, "tool", {"type": "tool-result", "tool_call_id": "c1", "tool_name": "current_time", "result": "noon"}
        ),
        message(6, "assistant", text("Noon.")),
    )
    assert played.answer == "Noon.\n"
    shown = [line for line in played.notes.splitlines() if line]
    assert shown == ["› What time is it?", "hm", "→ current_time(timezone: UTC)", "← current_time: noon"]


def test_results_come_once_whether_previewed_or_stored(played: Played) -> None:
    result = {"type": "tool-result", "tool_call_id": "c1", "tool_name": "current_time", "result": {"error": "no"}}
    preview = part(1, kind="tool-result", tool_call_id="c1", tool_name="current_time", result={"error": "no"})
    played.play(message(4, "assistant", CALL), preview, message(5, "tool", result | {"is_error": True}))
    assert played.notes.count("current_time: no") == 1


def test_a_result_that_is_seen_before_the_call_is_stored_comes_once_and_the_next_steps_of_that_id_too(
    played: Played,
) -> None:
    result = {"type": "tool-result", "tool_call_id": "c1", "tool_name": "current_time", "result": {"error": "no"}}
    preview = part(1, kind="tool-result", tool_call_id="c1", tool_name="current_time", result={"error": "no"})
    played.play(preview, message(4, "assistant", CALL), message(5, "tool", result | {"is_error": True}))
    assert played.notes.count("current_time: no") == 1
    played.play(message(6, "assistant", CALL), message(7, "tool", result | {"is_error": True}))
    assert played.notes.count("current_time: no") == 2


def test_what_a_workspace_tells_is_a_note_and_nobodys_message(played: Played) -> None:
    file = {"type": "context-file", "context_file_path": "/w/AGENTS.md"}
    told = message(4, "user", file, {"type": "skill", "skill_name": "deploy"})
    played.play(part(1, "Hello "), told, part(2, "world"), message(5, "assistant", text("Hello world")))
    assert "".join(played.answer.split()) == "Helloworld"
    assert played.notes.strip() == "the workspace tells: /w/AGENTS.md, skill deploy"


def test_the_queue_is_told_when_it_changes(played: Played) -> None:
    queue = {"type": "queue_update", "queued_messages": [{"content": [text("later")]}]}
    played.play(queue, queue, {"type": "queue_update"})
    assert played.notes == "1 waiting: later\n"


def test_a_failure_is_one_line(played: Played) -> None:
    error = {"message": "The model is overloaded.", "detail": "try\nlater", "kind": "overloaded", "retryable": True}
    played.play({"type": "status", "status": {"status": "error"}}, {"type": "error", "error": error})
    assert played.notes == "The model is overloaded. try later\n"


def test_a_retry_says_when_and_why(played: Played) -> None:
    retry = {"attempt": 2, "delay_ms": 4000, "error": "Acme is overloaded."}
    assert played.play({"type": "retry", "retry": retry}).notes == (
        "attempt 2 failed: Acme is overloaded. Trying again in 4 s.\n"
    )


@pytest.mark.parametrize(
    ("status", "rests"),
    [("pending", False), ("running", False), ("interrupting", False), ("waiting", True), ("error", True)],
)
def test_a_chat_rests_when_nothing_more_will_come(status: str, rests: bool) -> None:
    [told] = Transcript().tell({"type": "status", "status": {"status": status}})
    assert isinstance(told, Status)
    assert told.rests is rests


@pytest.fixture
def terminal() -> Iterator[tuple[Any, int]]:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        yield stream, master
    os.close(master)


def test_a_terminal_gets_no_commands_from_a_model(terminal: tuple[Any, int]) -> None:
    stream, master = terminal
    screen = Screen(stream, stream)
    screen.answer("a\x1b]0;owned\x07b\x9b31m")
    screen.note("tool: \x1b[2J")
    written = os.read(master, 4096).decode()
    assert "\x1b]" not in written
    assert "\x1b[2J" not in written
    assert "\x9b" not in written


def test_a_pipe_gets_the_answer_as_it_is() -> None:
    out = io.StringIO()
    Screen(out, io.StringIO()).answer("a\x1b[31mb")
    assert out.getvalue() == "a\x1b[31mb"


def test_colours_are_for_terminals_and_not_under_no_color(
    terminal: tuple[Any, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, master = terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Screen(stream, stream).note("coloured", style="red")
    assert b"\x1b[" in os.read(master, 4096)
    monkeypatch.setenv("NO_COLOR", "1")
    Screen(stream, stream).note("plain", style="red")
    assert os.read(master, 4096) == b"plain\r\n"


STREAM = (
    'id: 1.1.1.1\nevent: message\ndata: {"a":1}\n\n: ping\n\ndata: {"b":"\u2028\x85\u00e9"}\r\n\r\ndata: x\ndata: y\n\n'
).encode()


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_events_are_the_same_wherever_their_bytes_are_cut(cut: int) -> None:
    reader = Records()
    found: Sequence[tuple[str, bytes]] = [*reader.feed(STREAM[:cut]), *reader.feed(STREAM[cut:])]
    assert found == [
        ("1.1.1.1", b'{"a":1}'),
        ("", '{"b":"\u2028\x85\u00e9"}'.encode()),
        ("", b"x\ny"),
    ]


def test_the_calls_that_wait_for_a_client_are_named_once_with_their_arguments(played: Played) -> None:
    waits = {"type": "status", "status": {"status": "requires_action"}}
    calls = [
        {"tool_call_id": "c1", "tool_name": "get_weather", "args": '{"city":"Köln"}'},
        {"tool_call_id": "c2", "tool_name": "look", "args": "{}"},
    ]
    transcript = played.play(waits).conversation.transcript
    settled = [transcript.is_settled]
    action = {"type": "action_required", "action_required": {"tool_calls": calls}}
    played.play(action, waits, action)
    settled.append(transcript.is_settled)
    assert settled == [False, True], "it is over once they are told"
    assert played.notes.splitlines() == [
        "waiting for a client's result of get_weather(city: Köln), call c1",
        "waiting for a client's result of look(), call c2",
    ]
    assert played.answer == ""
