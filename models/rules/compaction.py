"""When a chat's history is summarised, what of it, and how the summary stands in the history (runtime.md 8)."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from models.parts import Part
from models.rules import advisor, history
from models.rules.history import Row

TOOL = "chat_summarized"
"""The tool name under which a compaction is shown: no model is offered it."""
DEFAULT_THRESHOLD = 70
NEVER = 100
THRESHOLD_KEY = "chat_compaction_threshold_pct:"
MOST_CHARACTERS_A_TOKEN = 5  # on average, in any language: what is too much even then is too much

PREFIX = (
    "The earlier part of this conversation was replaced by the summary below. Treat what it says as having happened, "
    "and go on from there.\n\n"
)
REQUEST = """\
Write the handover for this conversation: whoever continues it will see your text instead of everything above.

Cover, each as far as it applies:
* what the user wants to reach, in their own words where they matter, and every instruction that still holds;
* what was decided, with the reasons, and what was ruled out;
* the concrete facts: names, paths, identifiers, addresses, commands, versions, numbers, important lines word for word;
* what went wrong, and what precisely put it right;
* what is done, what has been begun, what remains;
* the very last thing that was being done, and the next step from there.

Be dense. Point to what can be looked up again (a file, a command's output) rather than repeating it. Do not answer \
the user, do not go on with the task and do not call a tool: write the handover and nothing else."""

STILL_TOO_LONG = {
    "message": "The conversation is over the model's context limit even after it was summarised.",
    "detail": "Raise the context limit of the model configuration, choose a model with a larger context, "
    "or start a new conversation.",
    "kind": "config",
    "retryable": False,
}


@dataclass(frozen=True, slots=True)
class Load:
    """How full the model's context was at the last answer. `limit` 0 is unknown."""

    tokens: int
    limit: int

    @property
    def percent(self) -> float:
        return round(100 * self.tokens / self.limit, 2) if self.limit > 0 else 0.0


def threshold_key(model_config_id: UUID | str) -> str:
    """Under which key a person's own threshold for this model is kept."""
    return f"{THRESHOLD_KEY}{model_config_id}"


def chosen_threshold(own: str | None) -> int | None:
    """The threshold that a person has stored; None for none, or one that is none."""
    return int(own) if own is not None and own.isdecimal() and int(own) <= NEVER else None


def own_thresholds(stored: Mapping[str, str]) -> list[dict[str, Any]]:
    """The thresholds among a person's settings, by model; what makes no sense is left out."""
    made = []
    for key, value in sorted(stored.items()):
        percent = chosen_threshold(value)
        if key.startswith(THRESHOLD_KEY) and percent is not None:
            with suppress(ValueError):
                made.append({"model_config_id": UUID(key.removeprefix(THRESHOLD_KEY)), "threshold_percent": percent})
    return made


def threshold(own: str | None, configured: int | None) -> int:
    """The percentage at which to summarise: the person's, else the model's, else 70. 100 is never, 0 always."""
    chosen = chosen_threshold(own)
    if chosen is None:
        chosen = configured
    return chosen if chosen is not None and 0 <= chosen <= NEVER else DEFAULT_THRESHOLD


def has_something(rows: Sequence[Row]) -> bool:
    """Is there anything to summarise: an assistant's message since the last summary?"""
    for row in reversed(rows):
        if history.is_summary(row):
            return False
        if row["role"] == "assistant":
            return True
    return False


def load(rows: Sequence[Row], limit: int | None) -> Load:
    """The newest usage since the last summary, against the context limit."""
    for row in reversed(rows):
        if history.is_summary(row):
            break
        if row["role"] == "assistant" and (tokens := _context_tokens(row)):
            return Load(tokens, limit or 0)
    return Load(0, limit or 0)


def needed(rows: Sequence[Row], limit: int | None, percent: int) -> bool:
    """Must the history be summarised before the next answer? At most once between two of the assistant's messages."""
    return percent < NEVER and bool(limit) and has_something(rows) and load(rows, limit).percent >= percent


def just_done(rows: Sequence[Row]) -> bool:
    """Has the assistant said nothing since the last summary? Another one would change nothing."""
    return not has_something(rows) and any(history.is_summary(row) for row in rows)


def hopeless(rows: Sequence[Row], limit: int | None) -> bool:
    """Is what is left after a summary, with no answer since, certainly more than the model can take?"""
    if not limit or not just_done(rows):
        return False
    characters = sum(len(part.get("text") or part.get("content") or "") for row in rows for part in row["content"])
    return characters // MOST_CHARACTERS_A_TOKEN > limit


def extent(rows: Sequence[Row]) -> int:
    """How many of the rows are summarised: all but the unanswered user messages at the end."""
    end = len(rows)
    while end and rows[end - 1]["role"] == "user" and not history.is_summary(rows[end - 1]):
        end -= 1
    return end


def summary(text: str, rows: Sequence[Row], asked: tuple[int, datetime] | None = None) -> list[Part]:
    """The content of the summary's row; `rows` is what it stands for, `asked` the message that is being answered."""
    marks: dict[str, Any] = {history.STEPS: history.steps_since_user(rows)}
    if advised := history.advice_since_user(rows, advisor.TOOL):
        marks[history.ADVICE] = advised
    if asked is not None:
        marks[history.ASKED] = [asked[0], asked[1].isoformat()]
    return [{"type": "text", "text": PREFIX + text, "provider_metadata": marks}]


def call(call_id: str, *, automatic: bool, percent: int, created_at: str) -> Part:
    """What shows people that the chat is being summarised."""
    return {
        "type": "tool-call",
        "tool_call_id": call_id,
        "tool_name": TOOL,
        "args": {"source": _source(automatic), "threshold_percent": percent},
        "created_at": created_at,
    }


def outcome(text: str, was: Load, *, automatic: bool, percent: int) -> dict[str, Any]:
    """The result of that call: the summary, and why it was made."""
    return {
        "summary": text,
        "source": _source(automatic),
        "threshold_percent": percent,
        "usage_percent": was.percent,
        "context_tokens": was.tokens,
        "context_limit_tokens": was.limit,
    }


def _source(automatic: bool) -> str:
    return "automatic" if automatic else "manual"


def _context_tokens(row: Row) -> int:
    parts = (row.get("input_tokens"), row.get("cache_read_tokens"), row.get("cache_creation_tokens"))
    return sum(part or 0 for part in parts) or row.get("total_tokens") or 0
