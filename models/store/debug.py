"""Debug runs at rest: written while a turn runs, read by whoever may read the chat, deleted by the background jobs.

A turn is one run, whoever works at it: its id follows from the chat and the message that began it. A step is told by
the message that was the newest when it began, so an attempt that is repeated finds the row of the one before.
"""

from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from models.errors import NotFound
from models.rules.moments import rfc3339
from models.store.database import Row, fetch
from models.store.session import Session

MOST_RUNS = 100
MOST_ATTEMPTS = 50

# The message that began the turn; a compaction repeats it, for the model alone.
_TRIGGER: LiteralString = """
    SELECT id, content FROM chat_messages
    WHERE chat_id = %(chat)s AND role = 'user' AND NOT deleted AND visibility IN ('user', 'both')
      AND content #>> '{0,type}' NOT IN ('context-file', 'skill')
      AND id <= coalesce(%(tip)s::bigint, 9223372036854775807)
    ORDER BY id DESC LIMIT 1
"""
# Nothing is noted of a history that was edited away in the meantime, or of an archived chat.
_BEGIN_RUN: LiteralString = f"""
    WITH trigger AS ({_TRIGGER})
    INSERT INTO chat_debug_runs AS run (id, chat_id, root_chat_id, parent_chat_id, model_config_id, trigger_message_id,
        history_tip_message_id, kind, status, provider, model, summary)
    SELECT coalesce(%(run)s::uuid, md5(chat.id::text || %(kind)s || trigger.id)::uuid), chat.id,
        coalesce(chat.root_chat_id, chat.parent_chat_id), chat.parent_chat_id, %(model_config)s, trigger.id, %(tip)s,
        %(kind)s, 'in_progress', %(provider)s, %(model)s, jsonb_build_object('label', left(coalesce(
            jsonb_path_query_first(trigger.content, '$[*] ? (@.type == "text").text') #>> '{{}}', ''), 120))
    FROM chats chat JOIN trigger ON true
    WHERE chat.id = %(chat)s AND NOT chat.archived AND NOT EXISTS (
        SELECT 1 FROM chat_messages tip WHERE tip.id = %(tip)s AND tip.deleted)
    ON CONFLICT (id) DO UPDATE SET updated_at = now(), finished_at = NULL, status = 'in_progress',
        history_tip_message_id = excluded.history_tip_message_id, model_config_id = excluded.model_config_id,
        provider = excluded.provider, model = excluded.model
    WHERE run.status <> 'completed'
    RETURNING id
"""  # noqa: S608 - fixed text
_BEGIN_STEP: LiteralString = """
    INSERT INTO chat_debug_steps AS step (id, run_id, chat_id, step_number, operation, status, history_tip_message_id,
        normalized_request, details)
    SELECT %(step)s, %(run)s, %(chat)s, coalesce(
        (SELECT max(same.step_number) FROM chat_debug_steps same
         WHERE same.run_id = %(run)s AND same.history_tip_message_id = %(tip)s),
        (SELECT coalesce(max(before.step_number), 0) + 1 FROM chat_debug_steps before WHERE before.run_id = %(run)s)),
        %(operation)s, 'in_progress', %(tip)s, %(request)s::jsonb, %(details)s::jsonb
    ON CONFLICT (run_id, step_number) DO UPDATE SET status = 'in_progress', finished_at = NULL, updated_at = now(),
        normalized_request = excluded.normalized_request, details = excluded.details
    WHERE step.status <> 'completed'
    RETURNING id
"""
# A status is only ever followed by one of more weight: a zombie's end does not undo the real one.
_WEIGHT: LiteralString = "ARRAY['in_progress', 'interrupted', 'error', 'completed']"
_END_STEP: LiteralString = f"""
    UPDATE chat_debug_steps SET
        status = %(status)s, updated_at = now(),
        finished_at = CASE WHEN %(status)s = 'in_progress' THEN NULL ELSE now() END,
        normalized_response = coalesce(%(response)s::jsonb, normalized_response),
        usage = coalesce(%(usage)s::jsonb, usage),
        error = CASE WHEN %(status)s <> 'completed' THEN coalesce(%(error)s::jsonb, error) END,
        attempts = CASE WHEN jsonb_array_length(attempts) < {MOST_ATTEMPTS}
            THEN attempts || %(attempts)s::jsonb ELSE attempts END,
        assistant_message_id = CASE WHEN %(status)s = 'completed' AND operation = 'stream' THEN (
            SELECT answer.id FROM chat_messages answer WHERE answer.chat_id = %(chat)s AND answer.role = 'assistant'
              AND NOT answer.deleted AND answer.id > %(tip)s ORDER BY answer.id LIMIT 1) ELSE assistant_message_id END
    WHERE id = %(step)s AND array_position({_WEIGHT}, status) <= array_position({_WEIGHT}, %(status)s::text)
"""  # noqa: S608 - fixed text
_END_RUN: LiteralString = f"""
    UPDATE chat_debug_runs run SET
        updated_at = now(),
        status = CASE WHEN array_position({_WEIGHT}, run.status) <= array_position({_WEIGHT}, %(status)s::text)
            THEN %(status)s ELSE run.status END,
        finished_at = CASE WHEN %(status)s = 'in_progress' THEN run.finished_at ELSE now() END,
        summary = run.summary || (
            SELECT jsonb_build_object(
                'step_count', count(*), 'attempt_count', coalesce(sum(jsonb_array_length(attempts)), 0),
                'input_tokens', coalesce(sum((usage ->> 'input_tokens')::bigint), 0),
                'output_tokens', coalesce(sum((usage ->> 'output_tokens')::bigint), 0))
            FROM chat_debug_steps WHERE run_id = run.id)
    WHERE run.id = %(run)s
"""  # noqa: S608 - fixed text


@dataclass(frozen=True, slots=True)
class Begun:
    """A model call that is about to be made. `tip` is the newest message it builds on, `run_id` names a run that is
    not the turn's."""

    chat_id: UUID
    kind: str
    operation: str
    request: Any
    tip: int | None = None
    run_id: UUID | None = None
    model_config_id: UUID | None = None
    provider: str = ""
    model: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model call is noted."""

    chat_id: UUID
    run_id: UUID
    step_id: UUID
    tip: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """What a model call came to. A step that is tried again, and a run that goes on, stay `in_progress`."""

    step_status: str
    run_status: str
    response: Any = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)


async def begin(session: Session, begun: Begun) -> Place | None:
    """Note that a model call begins; None when its history is gone, or what it would repeat is complete."""
    runs = await fetch(
        session,
        _BEGIN_RUN,
        {
            "run": begun.run_id,
            "chat": begun.chat_id,
            "tip": begun.tip,
            "kind": begun.kind,
            "model_config": begun.model_config_id,
            "provider": begun.provider or None,
            "model": begun.model or None,
        },
    )
    if not runs:
        return None
    run_id = runs[0]["id"]
    steps = await fetch(
        session,
        _BEGIN_STEP,
        {
            "step": uuid7(),
            "run": run_id,
            "chat": begun.chat_id,
            "tip": begun.tip,
            "operation": begun.operation,
            "request": _json(begun.request),
            "details": _json(begun.details),
        },
    )
    return Place(begun.chat_id, run_id, steps[0]["id"], begun.tip) if steps else None


async def end(session: Session, place: Place, ended: Ended) -> None:
    """Note what the model call came to."""
    await fetch(
        session,
        _END_STEP,
        {
            "step": place.step_id,
            "chat": place.chat_id,
            "tip": place.tip,
            "status": ended.step_status,
            "response": None if ended.response is None else _json(ended.response),
            "usage": None if ended.usage is None else _json(ended.usage),
            "error": None if ended.error is None else _json(ended.error),
            "attempts": _json(ended.attempts),
        },
    )
    await fetch(session, _END_RUN, {"run": place.run_id, "status": ended.run_status})


# What was said before an edit, or in a chat that was archived since, is not shown even before it is deleted.
_SHOWN: LiteralString = """
    run.chat_id = %(chat)s
    AND NOT EXISTS (SELECT 1 FROM chats WHERE chats.id = run.chat_id AND chats.archived)
    AND NOT EXISTS (SELECT 1 FROM chat_messages gone
        WHERE gone.id IN (run.trigger_message_id, run.history_tip_message_id) AND gone.deleted)
"""


async def runs(session: Session, chat_id: UUID) -> list[dict[str, Any]]:
    """The newest runs of a chat, as ChatDebugRunSummary."""
    rows = await fetch(
        session,
        f"SELECT run.* FROM chat_debug_runs run WHERE {_SHOWN} "  # noqa: S608 - fixed text
        "ORDER BY run.started_at DESC, run.id DESC LIMIT %(most)s",
        {"chat": chat_id, "most": MOST_RUNS},
    )
    return [_summary(row) for row in rows]


async def run(session: Session, chat_id: UUID, run_id: UUID) -> dict[str, Any]:
    """One run of this chat with its steps, as ChatDebugRun; raises NotFound."""
    rows = await fetch(
        session,
        f"SELECT run.* FROM chat_debug_runs run WHERE {_SHOWN} AND run.id = %(run)s",  # noqa: S608 - fixed text
        {"chat": chat_id, "run": run_id},
    )
    if not rows:
        raise NotFound
    steps = await fetch(
        session,
        "SELECT * FROM chat_debug_steps WHERE run_id = %(run)s ORDER BY step_number",
        {"run": run_id},
    )
    keys = ("root_chat_id", "parent_chat_id", "model_config_id", "trigger_message_id", "history_tip_message_id")
    more = {key: rows[0][key] for key in keys if rows[0][key] is not None}
    return _summary(rows[0]) | more | {"steps": [_step(row) for row in steps]}


def _summary(row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {key: row[key] for key in ("id", "chat_id", "kind", "status")}
    shown |= {key: row[key] for key in ("provider", "model") if row[key]}
    return shown | {"summary": _object(row["summary"]), **_moments(row)}


def _step(row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {key: row[key] for key in ("id", "run_id", "chat_id", "step_number", "operation", "status")}
    for key in ("history_tip_message_id", "assistant_message_id"):
        if row[key] is not None:
            shown[key] = row[key]
    shown["normalized_request"] = _object(row["normalized_request"])
    for key in ("normalized_response", "usage", "error"):
        if row[key] is not None:
            shown[key] = _object(row[key])
    shown["attempts"] = _attempts(row["attempts"])
    shown["metadata"] = _object(row["details"])
    return shown | _moments(row)


def _moments(row: Row) -> dict[str, Any]:
    keys = ("started_at", "updated_at", "finished_at")
    return {key: rfc3339(row[key]) for key in keys if row[key] is not None}


def _object(stored: Any) -> dict[str, Any]:
    if stored is None:
        return {}
    if isinstance(stored, dict):
        return stored
    return {"error": "malformed debug payload", "parse_error": "it is not an object", "raw": stored}


def _attempts(stored: Any) -> list[dict[str, Any]]:
    if stored is None:
        return []
    if isinstance(stored, list) and all(isinstance(each, dict) for each in stored):
        return stored
    return [{"error": "malformed attempts payload", "parse_error": "it is not a list of objects", "raw": stored}]


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
