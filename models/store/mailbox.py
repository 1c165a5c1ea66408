"""The mailbox of workspace agents: what each is asked to do, once, and what came of it.

A job is `queued` until the process that holds its agent's connection marks it `delivered`, and only then sends it. So
what is still queued surely never ran, and can be sent elsewhere or taken back; what is delivered may have happened.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID

import orjson

from models.parts import from_rest, to_rest
from models.store.database import Row, fetch
from models.store.notices import AGENTS, JOBS, JobNotice
from models.store.session import Session
from models.store.stream import Episode

PURGE_BATCH = 5_000
AT_ONCE = 100  # jobs sent to an agent before it is looked again


@dataclass(frozen=True, slots=True)
class Job:
    """Something that an agent is asked to do. `error` has `message` and `kind`; it and `result` come with `done`."""

    id: UUID
    agent_id: UUID
    chat_id: UUID | None
    kind: str
    request: dict[str, Any]
    state: str
    cancel: bool
    result: dict[str, Any] | None
    error: dict[str, Any] | None

    @property
    def over(self) -> bool:
        """Is there nothing to wait for any more?"""
        return self.state in ("done", "canceled", "lost")


@dataclass(frozen=True, slots=True)
class PausedCall:
    """A call whose job is watched by people only, and the episode in which they do."""

    chat_id: UUID
    episode: Episode
    call: dict[str, str]


_COLUMNS: LiteralString = "j.id, j.agent_id, j.chat_id, j.kind, j.request, j.state, j.cancel, j.result, j.error"

_FOUND: LiteralString = f"SELECT {_COLUMNS} FROM agent_jobs j WHERE j.id = ANY(%(ids)s)"  # noqa: S608 - fixed text

# A job that its agent has not been sent goes to the agent that the chat has now. A stop has the chat's row for itself:
# it finds what was asked before it, to take it back, and nothing is asked after it.
_POST: LiteralString = f"""
WITH at_work AS MATERIALIZED (
    SELECT FROM chats WHERE id = %(chat)s AND status IN ('pending', 'running')
    AND (%(history)s::bigint IS NULL OR (history_version, generation_attempt) = (%(history)s, %(attempt)s)) FOR SHARE)
INSERT INTO agent_jobs AS j (id, agent_id, chat_id, kind, request)
SELECT %(id)s, %(agent)s, %(chat)s, %(kind)s, %(request)s::jsonb
WHERE %(chat)s::uuid IS NULL OR EXISTS (SELECT FROM at_work)
ON CONFLICT (id) DO UPDATE SET agent_id = CASE WHEN j.state = 'queued' THEN excluded.agent_id ELSE j.agent_id END
RETURNING {_COLUMNS}"""  # noqa: S608 - fixed text


async def post(
    session: Session,
    job_id: UUID,
    agent_id: UUID,
    kind: str,
    request: Mapping[str, Any],
    *,
    chat_id: UUID | None,
    episode: Episode | None = None,
) -> Job | None:
    """Ask the agent; a job of that id that there is already is the one, whatever has become of it.

    None for a chat that was stopped, or whose attempt is no longer that of the episode: nothing is asked in its name.

    The transaction is over with it, as it is with `take` and `finish`.
    """
    session.tell(AGENTS, str(agent_id))
    history, attempt = episode or (None, None)
    given = {"id": job_id, "agent": agent_id, "chat": chat_id, "kind": kind, "request": _encode(request)}
    rows = await fetch(session, _POST, {**given, "history": history, "attempt": attempt}, last=True)
    return job(rows[0]) if rows else None


async def find(session: Session, job_ids: Collection[UUID]) -> dict[UUID, Job]:
    """How the jobs stand; those that are gone are missing."""
    return {row["id"]: job(row) for row in await fetch(session, *found(job_ids))}


def found(job_ids: Collection[UUID]) -> tuple[LiteralString, Mapping[str, Any]]:
    """The statement for these jobs; each of its rows is a `job`."""
    return _FOUND, {"ids": list(job_ids)}


_DUE: LiteralString = f"""
WITH ours AS MATERIALIZED (
    SELECT id FROM workspace_agents WHERE id = %(agent)s AND connection_id = %(connection)s FOR SHARE),
due AS MATERIALIZED (
    SELECT j.id FROM agent_jobs j JOIN ours ON j.agent_id = ours.id
    WHERE j.state IN ('queued', 'delivered') AND (j.state = 'queued' OR %(again)s)
    ORDER BY j.number LIMIT %(most)s FOR UPDATE OF j)
UPDATE agent_jobs j SET state = 'delivered', delivered_at = coalesce(j.delivered_at, clock_timestamp())
FROM due WHERE j.id = due.id
RETURNING {_COLUMNS}, j.number"""  # noqa: S608 - fixed text


async def take(session: Session, agent_id: UUID, connection_id: UUID, *, again: bool) -> list[Job]:
    """Mark what waits for the agent as delivered, and return it in order, to be sent after the commit.

    `again`: with all that was delivered before and is not done, for an agent that has just connected. A connection that
    is not the agent's newest gets nothing.
    """
    most = None if again else AT_ONCE
    given = {"agent": agent_id, "connection": connection_id, "again": again, "most": most}
    rows = await fetch(session, _DUE, given, last=True)
    return [job(row) for row in sorted(rows, key=lambda row: row["number"])]


async def given_up(session: Session, agent_id: UUID) -> set[UUID]:
    """The jobs that the agent has and that nobody waits for any more."""
    rows = await fetch(
        session,
        "SELECT id FROM agent_jobs WHERE agent_id = %(agent)s AND state = 'delivered' AND cancel",
        {"agent": agent_id},
    )
    return {row["id"] for row in rows}


# A turn whose call has waited that long may have paused it.
_FINISH = """
UPDATE agent_jobs j SET state = 'done', result = %(result)s::jsonb, error = %(error)s::jsonb,
    finished_at = clock_timestamp()
WHERE j.id = %(id)s AND j.agent_id = %(agent)s AND j.state IN ('delivered', 'lost')
RETURNING CASE WHEN j.delivered_at < clock_timestamp() - interval '1 minute' THEN j.chat_id END AS chat_id,
    (SELECT c.owner_id FROM chats c WHERE c.id = j.chat_id) AS owner_id"""


async def finish(
    session: Session,
    agent_id: UUID,
    job_id: UUID,
    *,
    result: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
) -> tuple[UUID, UUID] | None:
    """Write down what came of a job, and tell who waits for it. The first word counts; bears being said twice.

    Returns the chat whose turn may have paused for it, and that one's owner: it is to be nudged.
    """
    given = {"result": _encode(result) if error is None else None, "error": None if error is None else _encode(error)}
    session.tell(JOBS, JobNotice(job_id).encode())
    rows = await fetch(session, _FINISH, {"id": job_id, "agent": agent_id, **given}, last=True)
    return (rows[0]["chat_id"], rows[0]["owner_id"]) if rows and rows[0]["chat_id"] else None


# A call that waits with nobody at it is of the newest message; until its step is attempted anew, it is paused.
_SAID: LiteralString = """
SELECT pg_notify(%(channel)s, %(payload)s), p.* FROM (VALUES (1)) AS one LEFT JOIN (
    SELECT c.id AS chat_id, c.history_version, c.generation_attempt, t.tool_call_id, t.tool_name
    FROM agent_jobs j JOIN chats c ON c.id = j.chat_id AND c.status = 'running'
    JOIN LATERAL (SELECT max(e.message_id) AS id FROM tool_executions e WHERE e.chat_id = c.id) AS newest ON true
    JOIN tool_executions t ON t.chat_id = c.id AND t.message_id = newest.id AND t.state = 'claimed'
        AND t.progress->>'id' = j.id::text
        AND t.progress->'episode' = jsonb_build_array(c.history_version, c.generation_attempt)
    WHERE j.id = %(id)s AND j.state = 'delivered') AS p ON true"""


async def said(session: Session, notice: JobNotice) -> PausedCall | None:
    """Tell who waits for the job what it has just said. Returns its call if that is paused: nobody waits there."""
    given = {"channel": JOBS, "payload": notice.encode(), "id": notice.job_id}
    [row] = await fetch(session, _SAID, given)
    if row["chat_id"] is None:
        return None
    call = {key: from_rest(row[key]) for key in ("tool_call_id", "tool_name")}
    return PausedCall(row["chat_id"], Episode(row["history_version"], row["generation_attempt"]), call)


async def withdraw(session: Session, job_id: UUID) -> Job | None:
    """Take a job back if it was not sent; if it was, the agent is told that nobody waits. Returns how it stands now."""
    rows = await fetch(
        session,
        f"""
        UPDATE agent_jobs j SET cancel = true, state = CASE WHEN j.state = 'queued' THEN 'canceled' ELSE j.state END,
            finished_at = CASE WHEN j.state = 'queued' THEN clock_timestamp() ELSE j.finished_at END
        WHERE j.id = %(id)s AND j.state IN ('queued', 'delivered') RETURNING {_COLUMNS}""",  # noqa: S608 - fixed text
        {"id": job_id},
    )
    if not rows:
        return (await find(session, [job_id])).get(job_id)
    told = job(rows[0])
    if told.state == "delivered":
        session.tell(AGENTS, str(told.agent_id))
    return told


async def stop(session: Session, chat_id: UUID) -> set[UUID]:
    """A chat is stopped: have its agents stop what they do for it, and take back what they were not sent.

    Returns what was taken back, which surely has not happened.
    """
    rows = await fetch(
        session,
        """
        UPDATE agent_jobs SET cancel = true, state = CASE WHEN state = 'queued' THEN 'canceled' ELSE state END,
            finished_at = CASE WHEN state = 'queued' THEN clock_timestamp() ELSE finished_at END
        WHERE chat_id = %(chat)s AND state IN ('queued', 'delivered') RETURNING id, agent_id, state""",
        {"chat": chat_id},
    )
    for agent_id in {row["agent_id"] for row in rows if row["state"] == "delivered"}:
        session.tell(AGENTS, str(agent_id))
    return {row["id"] for row in rows if row["state"] == "canceled"}


async def lose(session: Session, workspace_id: UUID, but_build: UUID) -> None:
    """The workspace has another build: what its former agents were sent will not be told.

    What they were not sent stays: who waits for it gives it to the new one.
    """
    rows = await fetch(
        session,
        """
        UPDATE agent_jobs j SET state = 'lost', finished_at = clock_timestamp()
        FROM workspace_agents a
        WHERE a.workspace_id = %(workspace)s AND a.build_id <> %(build)s AND j.agent_id = a.id
            AND j.state = 'delivered'
        RETURNING j.id""",
        {"workspace": workspace_id, "build": but_build},
    )
    for row in rows:
        session.tell(JOBS, JobNotice(row["id"]).encode())


async def purge(session: Session, older_than: timedelta) -> int:
    """Forget jobs that ended that long ago, or were never sent; returns how many, at most PURGE_BATCH.

    A chat that does not rest may ask for them again.
    """
    [row] = await fetch(
        session,
        """
        WITH old AS (
            SELECT j.id FROM agent_jobs j LEFT JOIN chats c ON c.id = j.chat_id
            WHERE j.created_at < now() - %(age)s AND (j.finished_at < now() - %(age)s OR j.state = 'queued')
                AND coalesce(c.status IN ('waiting', 'error'), true)
            ORDER BY j.created_at LIMIT %(most)s),
        gone AS (DELETE FROM agent_jobs j USING old WHERE j.id = old.id RETURNING 1)
        SELECT count(*) AS purged FROM gone""",
        {"age": older_than, "most": PURGE_BATCH},
    )
    return int(row["purged"])


def job(row: Row) -> Job:
    """The job of a row of `found`."""
    return Job(
        row["id"],
        row["agent_id"],
        row["chat_id"],
        row["kind"],
        from_rest(row["request"]),
        row["state"],
        row["cancel"],
        from_rest(row["result"]),
        from_rest(row["error"]),
    )


def _encode(value: object) -> str:
    return orjson.dumps(to_rest(value)).decode()
