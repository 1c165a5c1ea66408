"""The effect ledger: no tool call that changes the world is run twice, whatever happens to whoever runs it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

import orjson

from models.errors import FenceLost
from models.parts import Part, from_rest, to_rest, tool_result
from models.rules import executions, history, tool_results
from models.rules.executions import Course, Policy, Standing
from models.store.database import Row, fetch
from models.store.session import Session
from models.store.stream import Episode

MOST_SHOWN = 100
PURGE_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Intent:
    """A call that is about to be run."""

    tool_call_id: str
    tool_name: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class Claim:
    """What the ledger said of a call when it was claimed; `attempt` is the number of this claim."""

    attempt: int
    course: Course
    result: Part | None
    memory: dict[str, Any] | None = None


class Pausing(Protocol):
    """What a paused call waits for, and what it remembers."""

    @property
    def why(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def id(self) -> UUID: ...
    @property
    def patience(self) -> timedelta: ...
    @property
    def memory(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of a claim."""

    tool_call_id: str
    attempt: int
    standing: Standing
    result: Part


# The row lock makes an attempt that has just been superseded wait, and then find itself superseded.
_CLAIM = """
WITH fence AS MATERIALIZED (
    SELECT id FROM chats WHERE id = %(chat)s AND status = 'running'
    AND history_version = %(history)s AND generation_attempt = %(attempt)s FOR SHARE)
INSERT INTO tool_executions AS t
    (chat_id, message_id, tool_call_id, tool_name, policy, state, attempt, claimed_at)
SELECT fence.id, %(message)s, c.id, c.name, c.policy, 'claimed', 1, clock_timestamp()
FROM fence, jsonb_to_recordset(%(calls)s::jsonb) AS c(id text, name text, policy text)
ON CONFLICT (chat_id, message_id, tool_call_id) DO UPDATE SET
    state = CASE WHEN t.state = 'planned' THEN 'claimed' ELSE t.state END,
    attempt = CASE WHEN t.state IN ('planned', 'claimed') THEN t.attempt + 1 ELSE t.attempt END,
    claimed_at = CASE WHEN t.state IN ('planned', 'claimed') THEN clock_timestamp() ELSE t.claimed_at END
RETURNING tool_call_id, policy, state, attempt, result, progress"""


async def claim(
    session: Session, chat_id: UUID, episode: Episode, message_id: int, calls: Iterable[Intent]
) -> dict[str, Claim]:
    """Plan and claim a batch under its attempt's fence, in one round trip; raises FenceLost, and then claims nothing.

    Each claim takes the call over from whoever claimed it before: what that one says later is not heard.
    """
    records = {to_rest(call.tool_call_id): {"name": to_rest(call.tool_name), "policy": call.policy} for call in calls}
    rows = await fetch(
        session,
        _CLAIM,
        {
            "chat": chat_id,
            "history": episode.history_version,
            "attempt": episode.generation_attempt,
            "message": message_id,
            "calls": _encode([{"id": call_id, **record} for call_id, record in records.items()]),
        },
    )
    if not rows:
        raise FenceLost
    return {from_rest(row["tool_call_id"]): _claim(row) for row in rows}


_FINISH = """
UPDATE tool_executions t SET state = r.state, result = r.result, finished_at = clock_timestamp()
FROM jsonb_to_recordset(%(endings)s::jsonb) AS r(id text, attempt int, state text, result jsonb)
WHERE t.chat_id = %(chat)s AND t.message_id = %(message)s AND t.tool_call_id = r.id
    AND t.attempt = r.attempt AND t.state = 'claimed'"""


async def finish(session: Session, chat_id: UUID, message_id: int, endings: Sequence[Ending]) -> None:
    """Write down what came of claims; of a claim that has passed to another, nothing. Bears being done twice."""
    records = [
        {
            "id": to_rest(ending.tool_call_id),
            "attempt": ending.attempt,
            "state": ending.standing,
            "result": to_rest(ending.result),
        }
        for ending in endings
    ]
    await fetch(session, _FINISH, {"chat": chat_id, "message": message_id, "endings": _encode(records)})


async def pause(
    session: Session, chat_id: UUID, episode: Episode, message_id: int, pauses: Mapping[str, Pausing]
) -> None:
    """Note what claimed calls wait for, by their ids: `waiting` says when that is over.

    What they say meanwhile belongs to the episode of the attempt that paused them.
    """
    records = [
        {
            "id": to_rest(call_id),
            "progress": {
                "why": each.why,
                "event": each.event,
                "id": str(each.id),
                "episode": [*episode],
                "memory": to_rest(dict(each.memory)),
            },
            "seconds": each.patience.total_seconds(),
        }
        for call_id, each in pauses.items()
    ]
    await fetch(
        session,
        """
        UPDATE tool_executions t SET progress = r.progress || jsonb_build_object(
            'until', clock_timestamp() + make_interval(secs => r.seconds))
        FROM jsonb_to_recordset(%(pauses)s::jsonb) AS r(id text, progress jsonb, seconds float)
        WHERE t.chat_id = %(chat)s AND t.message_id = %(message)s AND t.tool_call_id = r.id AND t.state = 'claimed'""",
        {"chat": chat_id, "message": message_id, "pauses": _encode(records)},
    )


async def remember(
    session: Session, chat_id: UUID, message_id: int, tool_call_id: str, memory: Mapping[str, Any]
) -> None:
    """Note, in the transaction that does it, what a claimed call has done; it waits for nothing yet."""
    given = {
        "chat": chat_id,
        "message": message_id,
        "call": to_rest(tool_call_id),
        "progress": _encode({"memory": to_rest(dict(memory))}),
    }
    await fetch(
        session,
        "UPDATE tool_executions SET progress = %(progress)s::jsonb WHERE chat_id = %(chat)s"
        " AND message_id = %(message)s AND tool_call_id = %(call)s AND state = 'claimed'",
        given,
    )


async def hold(session: Session, chat_id: UUID, message_id: int, tool_call_id: str) -> dict[str, Any] | None:
    """What a claimed call remembers; None when it is not claimed any more.

    Whoever else runs the call waits here until the transaction is over.
    """
    rows = await fetch(
        session,
        "SELECT progress->'memory' AS memory FROM tool_executions WHERE chat_id = %(chat)s"
        " AND message_id = %(message)s AND tool_call_id = %(call)s AND state = 'claimed' FOR UPDATE",
        {"chat": chat_id, "message": message_id, "call": to_rest(tool_call_id)},
    )
    return (from_rest(rows[0]["memory"]) or {}) if rows else None


_WAITING = """
SELECT t.progress->>'event' AS event,
    greatest(extract(epoch FROM (t.progress->>'until')::timestamptz - clock_timestamp()), 0)::float AS seconds,
    CASE t.progress->>'event'
        WHEN 'build_over' THEN NOT EXISTS (SELECT FROM workspace_builds b WHERE b.id = (t.progress->>'id')::uuid
            AND b.status IN ('pending', 'running', 'canceling'))
        WHEN 'agent_connected' THEN EXISTS (SELECT FROM workspace_agents a WHERE a.id = (t.progress->>'id')::uuid
            AND a.last_seen_at > now() - interval '15 seconds' AND a.disconnected_at IS NULL)
        WHEN 'agent_ready' THEN NOT EXISTS (SELECT FROM workspace_agents a WHERE a.id = (t.progress->>'id')::uuid
            AND a.lifecycle IN ('created', 'starting'))
        WHEN 'job_over' THEN NOT EXISTS (SELECT FROM agent_jobs j WHERE j.id = (t.progress->>'id')::uuid
            AND j.state IN ('queued', 'delivered') AND EXISTS (SELECT FROM workspace_agents a WHERE a.id = j.agent_id
                AND a.last_seen_at > now() - interval '60 seconds'))
        WHEN 'child_over' THEN NOT EXISTS (SELECT FROM chats k WHERE k.id = (t.progress->>'id')::uuid
            AND k.status IN ('pending', 'running', 'interrupting') AND NOT k.archived)
        ELSE true END AS over
FROM tool_executions t JOIN chat_messages m ON m.id = t.message_id AND NOT m.deleted
WHERE t.chat_id = %(chat)s AND t.state = 'claimed' AND t.progress IS NOT NULL"""


async def waiting(session: Session, chat_id: UUID) -> tuple[float, str] | None:
    """How long the chat's paused calls may wait at least, and for which event; None once one of them can go on."""
    rows = await fetch(session, _WAITING, {"chat": chat_id})
    if not rows or any(row["over"] or not row["seconds"] for row in rows):
        return None
    soonest = min(rows, key=lambda row: row["seconds"])
    return soonest["seconds"], soonest["event"]


async def has_paused(session: Session, chat_id: UUID) -> bool:
    """Has a call of the chat that is not over been paused?"""
    query = (
        "SELECT FROM tool_executions WHERE chat_id = %(chat)s AND state = 'claimed' AND progress IS NOT NULL LIMIT 1"
    )
    return bool(await fetch(session, query, {"chat": chat_id}))


async def stop(
    session: Session, chat_id: UUID, message_id: int, calls: Iterable[Part], taken_back: Collection[UUID] = ()
) -> dict[str, Part]:
    """The results of those of a stopped message's `calls` that the ledger knows of, by id.

    What is claimed may have happened, and is from now on unknown, unless it changes nothing, or its key is among those
    `taken_back` from whoever was to do it. Needs the chat's row lock.
    """
    records = {to_rest(call.get("tool_call_id", "")): _stopped(chat_id, message_id, call, taken_back) for call in calls}
    rows = await fetch(
        session,
        """
        UPDATE tool_executions t SET
            state = CASE WHEN t.state <> 'claimed' THEN t.state WHEN t.policy = 'pure' THEN 'failed'
                ELSE r.record->>'state' END,
            result = CASE WHEN t.state <> 'claimed' THEN t.result WHEN t.policy = 'pure' THEN r.record->'unrun'
                ELSE r.record->'result' END,
            finished_at = coalesce(t.finished_at, clock_timestamp())
        FROM jsonb_each(%(records)s::jsonb) AS r(id, record)
        WHERE t.chat_id = %(chat)s AND t.message_id = %(message)s AND t.tool_call_id = r.id AND t.state <> 'planned'
        RETURNING t.tool_call_id, t.result""",
        {"chat": chat_id, "message": message_id, "records": _encode(records)},
    )
    return {from_rest(row["tool_call_id"]): from_rest(row["result"]) for row in rows if row["result"]}


def _stopped(chat_id: UUID, message_id: int, call: Part, taken_back: Collection[UUID]) -> dict[str, Any]:
    """What the ledger says of a call that was stopped while it was claimed; `unrun` if it changes nothing."""
    unrun = to_rest(tool_result(call, {"error": history.CANCELLED_BEFORE_RESULT}, is_error=True))
    if executions.key(chat_id, message_id, call.get("tool_call_id", "")) in taken_back:
        return {"state": Standing.FAILED, "result": unrun, "unrun": unrun}
    unknown = to_rest(tool_results.unknown(call, tool_results.UNKNOWN_AFTER_STOP))
    return {"state": Standing.UNKNOWN, "result": unknown, "unrun": unrun}


async def unsettled(session: Session, chat_id: UUID) -> list[Row]:
    """The calls of a chat that may be running or may have happened, newest first, at most MOST_SHOWN.

    A claim on a message that was edited away is nobody's any more, so that it counts as unknown.
    """
    return await fetch(
        session,
        """
        SELECT t.message_id, t.tool_call_id, t.tool_name, t.policy, t.attempt, t.claimed_at, t.finished_at,
            CASE WHEN t.state = 'claimed' THEN t.progress->>'why' END AS waits_for,
            CASE WHEN t.state = 'claimed' AND m.deleted IS DISTINCT FROM false THEN 'unknown' ELSE t.state END AS state
        FROM tool_executions t LEFT JOIN chat_messages m ON m.id = t.message_id
        WHERE t.chat_id = %(chat)s AND t.state IN ('claimed', 'unknown')
        ORDER BY t.message_id DESC, t.tool_call_id LIMIT %(most)s""",
        {"chat": chat_id, "most": MOST_SHOWN},
    )


async def purge(session: Session, older_than: timedelta) -> int:
    """Delete what was settled that long ago and is in the transcript; returns how many, at most PURGE_BATCH.

    What is unknown stays as long as its chat does. A chat that does not wait may still need what is settled.
    """
    [row] = await fetch(
        session,
        """
        WITH old AS (
            SELECT t.ctid FROM tool_executions t JOIN chats c ON c.id = t.chat_id
            WHERE t.created_at < now() - %(age)s AND t.state IN ('succeeded', 'failed') AND c.status = 'waiting'
            ORDER BY t.created_at LIMIT %(most)s),
        gone AS (DELETE FROM tool_executions WHERE ctid = ANY(ARRAY(SELECT ctid FROM old)) RETURNING 1)
        SELECT count(*) AS purged FROM gone""",
        {"age": older_than, "most": PURGE_BATCH},
    )
    return int(row["purged"])


def _claim(row: Mapping[str, Any]) -> Claim:
    standing = Standing(row["state"])
    result = from_rest(row["result"]) if row["result"] else None
    memory = from_rest(row["progress"]["memory"]) if row["progress"] else None
    return Claim(row["attempt"], executions.course(Policy(row["policy"]), standing, row["attempt"]), result, memory)


def _encode(value: object) -> str:
    return orjson.dumps(value).decode()
