"""Workspace agents as they come and go: who is connected, how far each has come, and what it says of itself."""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString
from uuid import UUID

import orjson

from models.parts import to_rest
from models.store.database import Row, fetch
from models.store.notices import AGENTS
from models.store.session import Session

SILENCE = 15  # seconds without a sign of life after which an agent counts as disconnected
NOTED = 5  # seconds between two signs of life that are written down

STATUS: LiteralString = f"""
    CASE WHEN a.last_seen_at IS NULL THEN
            CASE WHEN a.created_at < now() - make_interval(secs => a.connection_timeout_seconds)
                AND a.connection_timeout_seconds > 0 AND NOT a.external THEN 'timeout' ELSE 'connecting' END
         WHEN a.disconnected_at IS NOT NULL OR a.last_seen_at < now() - interval '{SILENCE} seconds' THEN 'disconnected'
         ELSE 'connected' END
"""
"""What is known of the connection of an agent `a`: connecting, connected, disconnected, or timeout (it never came).

An external one may come at any time. The database's clock judges what the database's clock wrote.
"""

SUPERSEDED: LiteralString = """
    EXISTS (SELECT FROM workspace_builds later
        WHERE later.workspace_id = b.workspace_id AND later.build_number > b.build_number
          AND (later.transition = 'start' OR later.status = 'succeeded'))
"""
"""Of a build `b`: has another taken its place, a start that began, or anything that ended well?"""

# Of a workspace that is being stopped, agents are welcome until it has stopped.
_GOOD: LiteralString = f"""
    a.hashed_token = %(digest)s AND b.id = a.build_id AND w.id = a.workspace_id AND NOT w.deleted
    AND b.status IN ('pending', 'running', 'succeeded') AND NOT {SUPERSEDED}
"""
_ARRIVE: LiteralString = f"""
UPDATE workspace_agents a SET connection_id = %(connection)s, facts = %(facts)s::jsonb, disconnected_at = NULL,
    first_connected_at = coalesce(a.first_connected_at, now()), last_seen_at = now()
FROM workspace_builds b, workspaces w WHERE {_GOOD}
RETURNING a.id, a.build_id, a.workspace_id, a.name, a.directory, a.startup_script, a.environment,
    a.startup_timeout_seconds, a.lifecycle, w.name AS workspace_name,
    (SELECT u.username FROM users u WHERE u.id = w.owner_id) AS owner_name
"""  # noqa: S608 - fixed text
_KNOWN: LiteralString = f"""
SELECT a.id FROM workspace_agents a, workspace_builds b, workspaces w WHERE {_GOOD}"""  # noqa: S608 - fixed text


async def arrive(session: Session, digest: bytes, connection_id: UUID, facts: Mapping[str, Any]) -> Row | None:
    """An agent has connected: from now on this is its connection. None for a token that is not, or no longer, good."""
    rows = await fetch(session, _ARRIVE, {"digest": digest, "connection": connection_id, "facts": _encode(facts)})
    if not rows:
        return None
    session.tell(AGENTS, str(rows[0]["id"]))  # an older connection looks, and finds that it is not the newest
    row: Row = rows[0]
    return row


async def known(session: Session, digest: bytes) -> bool:
    """Is it the token of an agent that is welcome?"""
    return await whose(session, digest) is not None


async def whose(session: Session, digest: bytes) -> UUID | None:
    """The agent that is welcome with this token."""
    rows = await fetch(session, _KNOWN, {"digest": digest})
    return rows[0]["id"] if rows else None


async def seen(session: Session, agent_id: UUID, connection_id: UUID) -> bool:
    """The agent has given a sign of life; False if this is not its connection, or it not the workspace's, any more."""
    rows = await fetch(
        session,
        f"""
        UPDATE workspace_agents a SET last_seen_at = now(), disconnected_at = NULL FROM workspace_builds b
        WHERE a.id = %(id)s AND a.connection_id = %(connection)s AND b.id = a.build_id AND NOT {SUPERSEDED}
        RETURNING a.id""",  # noqa: S608 - fixed text
        {"id": agent_id, "connection": connection_id},
    )
    return bool(rows)


async def leave(session: Session, agent_id: UUID, connection_id: UUID) -> None:
    """The connection has ended; that of an agent which has a newer one says nothing."""
    await fetch(
        session,
        "UPDATE workspace_agents SET disconnected_at = now() WHERE id = %(id)s AND connection_id = %(connection)s",
        {"id": agent_id, "connection": connection_id},
    )


_LIFECYCLE = """
UPDATE workspace_agents SET lifecycle = %(state)s,
    started_at = CASE WHEN %(state)s = 'starting' THEN now() ELSE started_at END,
    ready_at = CASE WHEN %(state)s IN ('ready', 'start_error', 'start_timeout') THEN now() ELSE ready_at END
WHERE id = %(id)s AND connection_id = %(connection)s AND lifecycle <> %(state)s RETURNING id
"""


async def lifecycle(session: Session, agent_id: UUID, connection_id: UUID, state: str) -> bool:
    """How far the agent has come in its life; False if that was known, or is not this connection's to say."""
    return bool(await fetch(session, _LIFECYCLE, {"id": agent_id, "connection": connection_id, "state": state}))


async def log(session: Session, agent_id: UUID, lines: Sequence[Mapping[str, str]]) -> None:
    """Keep what a startup script said."""
    await fetch(
        session,
        """
        INSERT INTO workspace_agent_logs (agent_id, level, source, output)
        SELECT %(id)s, l.level, l.source, l.output
        FROM jsonb_to_recordset(%(lines)s::jsonb) AS l(level text, source text, output text)""",
        {"id": agent_id, "lines": _encode(lines)},
    )


async def asked_by(session: Session, digest: bytes, job_id: UUID) -> Row | None:
    """The chat whose job it is, if this agent has been sent the job and it is not over."""
    rows = await fetch(
        session,
        """
        SELECT c.id, c.owner_id, c.organization_id
        FROM agent_jobs j JOIN workspace_agents a ON a.id = j.agent_id JOIN chats c ON c.id = j.chat_id
        WHERE j.id = %(job)s AND j.state = 'delivered' AND a.hashed_token = %(digest)s""",
        {"job": job_id, "digest": digest},
    )
    return rows[0] if rows else None


async def working_chats(session: Session, workspace_id: UUID) -> list[Row]:
    """The chats at work that are bound to the workspace: what becomes of it may be what they wait for."""
    return await fetch(
        session,
        "SELECT id, owner_id FROM chats WHERE workspace_id = %(workspace)s AND status IN ('pending', 'running')",
        {"workspace": workspace_id},
    )


def _encode(value: object) -> str:
    return orjson.dumps(to_rest(value)).decode()
