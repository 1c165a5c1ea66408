"""The demo's tour of a workspace: make one, start a repository in it, mend a failing test, hand over a file, stop.

Each step looks at what the tools said before it, as a model would; a tool that fails ends the tour with its words.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

GREET = '#!/bin/sh\n# Greets whom it is given.\necho "Hello, $1"\n'
CHECK = (
    "#!/bin/sh\n"
    "said=$(sh greet.sh world)\n"
    'if [ "$said" = "Hello, world!" ]; then echo "ok: $said"; else echo "not ok: $said"; exit 1; fi\n'
)
BEGIN = (
    "mkdir -p tour && cd tour && git init -q . && git config user.name demo && git config user.email demo@example.com "
    "&& pwd"
)
COMMIT = (
    'cd tour && sh check.sh && git add -A && git commit -q -m "Greet with an exclamation mark" && git log --oneline'
)


@dataclass(frozen=True, slots=True)
class Move:
    """What the demo says and does next; without calls the tour is over."""

    words: str
    calls: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Seen:
    """A call of the tour and what came of it."""

    name: str
    result: Mapping[str, Any]


def begin_or_go_on(messages: Sequence[Mapping[str, Any]], offered: set[str]) -> Move:
    """The tour's next move, after the tool calls and results since the last user message."""
    seen = _seen(messages)
    if not {"list_templates", "create_workspace", "execute"} <= offered:
        return Move("A tour needs the tools of workspaces, which this chat does not have.")
    if seen and (failure := _failure(seen[-1])):
        return Move(f"The tour ends here: {seen[-1].name} said: {failure}")
    return _STEPS[len(seen)](seen) if len(seen) < len(_STEPS) else Move(_last_words(seen))


def _templates(_: Sequence[Seen]) -> Move:
    return _call("Let me see what workspaces can be made of.", "list_templates")


def _create(seen: Sequence[Seen]) -> Move:
    templates = seen[-1].result.get("templates") or []
    if not templates:
        return Move("There is no template, so no workspace can be made: ask an administrator for one.")
    chosen = next((each for each in templates if each.get("name") == "local"), templates[0])
    return _call(f"I make a workspace of {chosen.get('name')}.", "create_workspace", template_id=chosen.get("id"))


def _begin(seen: Sequence[Seen]) -> Move:
    if seen[-1].result.get("status") == "stopped":
        return Move("The chat's workspace is stopped: start it, and ask for the tour again.")
    return _call("I begin a repository in it.", "execute", command=BEGIN)


def _write(_: Sequence[Seen]) -> Move:
    calls = [
        ("write_file", json.dumps({"path": "tour/greet.sh", "content": GREET})),
        ("write_file", json.dumps({"path": "tour/check.sh", "content": CHECK})),
    ]
    return Move("I write a program and a test of it.", calls)


def _fails(_: Sequence[Seen]) -> Move:
    return _call("The test should fail, since the greeting lacks something.", "execute", command="cd tour; sh check.sh")


def _edit(_: Sequence[Seen]) -> Move:
    edit = {"search": 'echo "Hello, $1"', "replace": 'echo "Hello, $1!"'}
    return _call("It does. I mend it.", "edit_files", files=[{"path": "tour/greet.sh", "edits": [edit]}])


def _passes(_: Sequence[Seen]) -> Move:
    return _call("Now the test should pass, and I commit.", "execute", command=COMMIT)


def _attach(seen: Sequence[Seen]) -> Move:
    folder = str(seen[2].result.get("output", "")).strip().splitlines()[-1:]
    return _call("Here is the program.", "attach_file", path=f"{folder[0] if folder else ''}/greet.sh")


def _stop(_: Sequence[Seen]) -> Move:
    return _call("I stop the workspace; its files stay.", "stop_workspace")


def _last_words(seen: Sequence[Seen]) -> str:
    passed = str(seen[7].result.get("output", "")).strip()
    return f"That was the tour. The test said: {passed.splitlines()[0] if passed else 'nothing'}"


# A step for each number of results that there are; two files are written at once.
_STEPS: tuple[Callable[[Sequence[Seen]], Move], ...] = (
    _templates,
    _create,
    _begin,
    _write,
    _write,
    _fails,
    _edit,
    _passes,
    _attach,
    _stop,
)


def _call(words: str, name: str, **arguments: Any) -> Move:
    return Move(words, [(name, json.dumps(arguments))])


def _failure(last: Seen) -> str:
    """Why the last call ends the tour. The first run of the test must fail, and does not."""
    if last.name == "execute":
        expected = "not ok" in str(last.result.get("output", ""))
        return "" if expected or last.result.get("success") else json.dumps(dict(last.result))
    return str(last.result.get("error") or "")


def _seen(messages: Sequence[Mapping[str, Any]]) -> list[Seen]:
    """The calls since the last user message that were answered, in order."""
    since: list[Mapping[str, Any]] = []
    for message in reversed(messages):
        if message.get("role") == "user":
            break
        since.insert(0, message)
    names = {
        call.get("id"): call.get("function", {}).get("name", "")
        for message in since
        for call in message.get("tool_calls") or ()
    }
    return [
        Seen(names.get(message.get("tool_call_id"), ""), _result(message.get("content")))
        for message in since
        if message.get("role") == "tool"
    ]


def _result(content: Any) -> Mapping[str, Any]:
    texts = [content] if isinstance(content, str) else [str(part.get("text", "")) for part in content or ()]
    try:
        value = json.loads("".join(texts))
    except ValueError:
        return {"error": "".join(texts)}
    return value if isinstance(value, dict) else {"output": value}
