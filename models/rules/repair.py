"""Make a transcript acceptable to a provider: every call answered once, right after it, in order (runtime.md 1.7)."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from models.parts import Part, tool_result

INTERRUPTED = {"error": "The tool call was interrupted and has no result."}
LONGEST_ID = 40  # OpenAI's limit
RUN_BY = "run_by"
"""Internal mark of a call that its provider ran, and of the result: the provider's family."""

RUN_BY_PROVIDER = "srvtoolu_"  # such an id makes a call one that Anthropic ran
SIGNATURE = "__thought__"
"""After it, a call's id from Google holds the signature of the thought that led to it (litellm's way)."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_RUN_ID = re.compile(r"srvtoolu_[A-Za-z0-9_]+")

Row = Mapping[str, Any]


def safe_id(call_id: str) -> str:
    """A tool call id in the alphabet that every provider takes."""
    return _UNSAFE.sub("_", call_id) or "call"


def safe_name(tool: str) -> str:
    """A tool's name as every provider takes it, also one that a model made up or never finished."""
    return _UNSAFE.sub("_", tool)[:64] or "unknown"


def repaired(rows: Sequence[Row], *, tools: Collection[str] = (), family: str = "") -> list[dict[str, Any]]:
    """The rows as a provider of this family takes them: open calls answered by an error, each id safe and used once.

    Results keep their own rows; each follows its assistant row, in call order. A result without its call gets one, if
    it is of one of `tools`, and is dropped otherwise. Rows without content are left out.
    """
    ids = _Ids()
    made: list[dict[str, Any]] = []
    index = 0
    while index < len(rows):
        row = rows[index]
        role, content = row["role"], row["content"] or []
        calls: list[Part] = []
        if role != "tool":
            index += 1
            if role == "assistant":
                content, calls = _assistant(content, ids, family)
            if content:
                made.append({"role": role, "content": content})
            if role != "assistant":
                continue
        results: dict[str, list[Part]] = {}
        while index < len(rows) and rows[index]["role"] == "tool":
            for part in rows[index]["content"] or ():
                if part.get("type") == "tool-result" and not part.get("provider_executed"):
                    results.setdefault(part.get("tool_call_id", ""), []).append(part)
            index += 1
        for call in calls:
            given = results.get(call["given_id"])
            made.append(_answer(call, given.pop(0) if given else tool_result(call, INTERRUPTED, is_error=True)))
        if results:
            answered = {call["given_id"] for call in calls}
            strays = [each for given_id, left in results.items() if given_id not in answered for each in left]
            made += _with_calls((each for each in strays if each.get("tool_name") in tools), ids)
    return made


def unpaired(parts: Iterable[Part]) -> list[Part]:
    """The parts without provider-run calls that have no result after them, and without results that have no call."""
    kept = list(parts)
    pairs = _pairs(kept)
    return [part for place, part in enumerate(kept) if not part.get("provider_executed") or place in pairs]


class _Ids:
    """Spells ids anew, so that each is used once; the same transcript always gives the same ones."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def new(self, given: str) -> str:
        base = safe_id(given.partition(SIGNATURE)[0])
        if base.startswith(RUN_BY_PROVIDER):
            base = f"call_{base}"
        base = made = base[:LONGEST_ID]
        while made in self._next:
            self._next[base] += 1
            tail = f"_{self._next[base]}"
            made = base[: LONGEST_ID - len(tail)] + tail
        self._next[made] = 1
        return made

    def take(self, given: str) -> bool:
        """Use an id as it is; False if it has been."""
        if given in self._next:
            return False
        self._next[given] = 1
        return True


def _assistant(parts: Sequence[Part], ids: _Ids, family: str) -> tuple[list[Part], list[Part]]:
    """The parts with their calls' ids spelled anew, and those calls; `given_id` is the id that their results have."""
    content: list[Part] = []
    calls: list[Part] = []
    pairs: dict[int, int] | None = None
    for place, part in enumerate(parts):
        if part.get("provider_executed"):
            if pairs is None:
                pairs = {
                    place: partner
                    for place, partner in _pairs(parts).items()
                    if _understood(parts[place], family) and _understood(parts[partner], family)
                }
                calls_at = [first for first, second in pairs.items() if first < second]
                for first in calls_at:
                    if not ids.take(parts[first].get("tool_call_id", "")):
                        del pairs[pairs[first]], pairs[first]
            if place in pairs:
                content.append(part)
        elif part.get("type") == "tool-call":
            given = part.get("tool_call_id", "")
            call = {**part, "tool_call_id": ids.new(given), "given_id": given}
            calls.append(call)
            content.append(call)
        else:
            content.append(part)
    return content, calls


def _pairs(parts: Sequence[Part]) -> dict[int, int]:
    """The places of provider-run calls and of the results that come after them, both ways."""
    pairs: dict[int, int] = {}
    waiting: dict[str, int] = {}
    for place, part in enumerate(parts):
        if not part.get("provider_executed"):
            continue
        call_id = part.get("tool_call_id", "")
        if part.get("type") == "tool-call":
            waiting[call_id] = place
        elif part.get("type") == "tool-result" and call_id in waiting:
            first = waiting.pop(call_id)
            pairs[first], pairs[place] = place, first
    return pairs


def _understood(part: Part, family: str) -> bool:
    made_by = (part.get("provider_metadata") or {}).get(RUN_BY)
    return bool(family) and made_by == family and bool(_RUN_ID.fullmatch(part.get("tool_call_id", "")))


def _answer(call: Part, result: Part) -> dict[str, Any]:
    return {"role": "tool", "content": [{**result, "tool_call_id": call["tool_call_id"]}]}


def _with_calls(results: Iterable[Part], ids: _Ids) -> list[dict[str, Any]]:
    """An assistant's row that calls for these results, and they."""
    calls: list[Part] = []
    answers: list[dict[str, Any]] = []
    for result in results:
        call: Part = {
            "type": "tool-call",
            "tool_call_id": ids.new(result.get("tool_call_id", "")),
            "tool_name": result["tool_name"],
            "args": {},
        }
        calls.append(call)
        answers.append(_answer(call, result))
    return [{"role": "assistant", "content": calls}, *answers] if calls else []
