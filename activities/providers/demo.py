"""A provider without a model, so that everything can be seen to work before a key is configured.

It streams words that say they are a demo and reflect the last user message. What that message says, it does:

    think                 reason first
    call current_time     call that tool, if it is offered; arguments may follow as JSON: call execute {"command": "ls"}
    fail 429              fail with that HTTP status; `fail 500 once` answers at the second attempt in this process
    long 200              answer with that many words
    slow 5                so many words a second
    tour                  make a workspace, work in it, and stop it (tour.py)

The model `demo` speaks 50 words a second, `demo-fast` without pause. The same message gives the same words.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from activities.providers.provider import Chunk, Finished, ModelRequest, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from activities.providers.tour import begin_or_go_on
from models.errors import FailureFacts, ProviderFailed
from models.rules import summaries, titles

FAST = "demo-fast"
PACE = 50.0
LONGEST = 20_000
FILLER = (
    "Every word here was made up by the demo provider and streamed through the same durable turn that a real model "
    "would take; add a provider and a model to talk to one."
)
LABEL = "Answered by the demo"
CALL = re.compile(r"\bcall\s+([A-Za-z0-9_-]+)\s*(\{)?", re.IGNORECASE)
FAIL = re.compile(r"\bfail\s+(\d{3})(\s+once)?\b", re.IGNORECASE)
LONG = re.compile(r"\blong\s+(\d+)\b", re.IGNORECASE)
SLOW = re.compile(r"\bslow\s+(\d+(?:\.\d+)?)\b", re.IGNORECASE)
TOUR = re.compile(r"\btour\b", re.IGNORECASE)
THINK = re.compile(r"\bthink\b", re.IGNORECASE)


class DemoProvider:
    """Deterministic answers; needs no network and no key."""

    def __init__(self) -> None:
        self._failed: set[str] = set()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Chunk, None]:
        """Yield the answer's chunks; see `provider.Provider`."""
        asked = _last_user_text(request.messages)
        aside = _words_aside(request.messages, asked)
        if aside is not None:
            yield TextDelta(aside)
            heard, said = len(asked.split()), len(aside.split())
            yield Usage(heard, said, heard + said)
            yield Finished("stop", "demo-aside")
            return
        self._fail_if_asked(request, asked)
        pause = 0.0 if request.model == FAST else 1 / PACE
        if (slow := SLOW.search(asked)) and float(slow[1]) > 0:
            pause = 1 / float(slow[1])
        results = _results_of_this_step(request.messages)
        offered = {str(tool["function"]["name"]) for tool in request.tools} if request.tool_choice != "none" else set()
        calls = _calls(asked, offered) if not results else []
        guided = begin_or_go_on(request.messages, offered) if TOUR.search(asked) else None
        if guided is not None:
            calls = guided.calls
        thoughts = (
            ["The ", "user ", "asks ", "for ", "thought, ", "so ", "I ", "show ", "some. "]
            if THINK.search(asked)
            else []
        )
        spoken = 0
        for word in thoughts:
            yield ReasoningDelta(word)
            await asyncio.sleep(pause)
        answer = _words(asked, results, bool(calls)) if guided is None else _spaced(f"[demo] {guided.words}")
        for word in answer:
            spoken += 1
            yield TextDelta(word)
            await asyncio.sleep(pause)
        place = len(request.messages)
        for index, (name, arguments) in enumerate(calls):
            yield ToolCallDelta(index, f"call_demo_{place}_{index}", name)
            yield ToolCallDelta(index, arguments=arguments)
        heard = sum(len(str(message.get("content") or "").split()) for message in request.messages)
        said = spoken + len(thoughts) + sum(len(arguments.split()) for _, arguments in calls)
        yield Usage(heard, said, heard + said, reasoning_tokens=len(thoughts))
        yield Finished("tool_calls" if calls else "stop", f"demo-{place}")

    def _fail_if_asked(self, request: ModelRequest, asked: str) -> None:
        wish = FAIL.search(asked)
        if not wish or _results_of_this_step(request.messages):
            return
        if wish[2]:
            mark = f"{len(request.messages)}:{asked}"
            if mark in self._failed:
                return
            self._failed.add(mark)
        raise ProviderFailed(
            FailureFacts("demo", int(wish[1]), text="The demo fails because it was asked to.", structured=True)
        )


def _words_aside(messages: Sequence[Mapping[str, Any]], asked: str) -> str | None:
    """The title or the label, if that is what is asked for: a title is the first words of what it is about."""
    match messages[0].get("content") if messages else None:
        case titles.INSTRUCTIONS:
            return " ".join(titles.subject(asked).split()[: titles.WORDS]).rstrip(".,:;!?")
        case summaries.INSTRUCTIONS:
            return LABEL
    return None


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or () if isinstance(part, Mapping))


def _last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    return next((_text(each.get("content")) for each in reversed(messages) if each.get("role") == "user"), "")


def _results_of_this_step(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tool results since the last user message."""
    results: list[str] = []
    for message in reversed(messages):
        if message.get("role") == "user":
            break
        if message.get("role") == "tool":
            results.append(_text(message.get("content")))
    return results[::-1]


def _calls(asked: str, offered: set[str]) -> list[tuple[str, str]]:
    calls: list[tuple[str, str]] = []
    for match in CALL.finditer(asked):
        if match[1] not in offered:
            continue
        arguments: Any = {}
        if match[2]:
            try:
                arguments, _ = json.JSONDecoder().raw_decode(asked[match.start(2) :])
            except ValueError:
                arguments = {}
        calls.append((match[1], json.dumps(arguments)))
    return calls


def _spaced(text: str) -> Iterator[str]:
    return (f"{word} " for word in text.split())


def _words(asked: str, results: list[str], calls: bool) -> Iterator[str]:
    """The visible answer, word by word with its space."""
    if calls:
        opening = "[demo] I call what you asked for."
    elif results:
        opening = "[demo] The tool said: " + " | ".join(result[:2000] for result in results)
    else:
        opening = f"[demo] You said: {asked[:500]}" if asked else "[demo] You said nothing."
    words, filler = opening.split(), FILLER.split()
    if wanted := LONG.search(asked):
        count = min(int(wanted[1]), LONGEST)
    else:
        count = len(words) if calls or results else len(words) + len(filler)
    return (f"{word} " for word in islice((*words, *islice(cycle(filler), max(count - len(words), 0))), count))
