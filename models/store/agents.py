"""Workspace agents: who they are, what they may do, and how they are."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from models.errors import NotFound
from models.rules import templates
from models.store import secrets
from models.store.database import Row, fetch
from models.store.presence import STATUS, SUPERSEDED
from models.store.secrets import Cipher
from models.store.session import Session

TOKEN_KIND = "agent"  # noqa: S105 - what the tokens are called, not one of them

_AGENT: LiteralString = f"""
    a.id, a.build_id, a.workspace_id, a.parent_id, a.name, a.display_order, a.directory, a.startup_script,
    a.environment, a.external, a.connection_timeout_seconds, a.startup_timeout_seconds, a.lifecycle, a.started_at,
    a.ready_at, a.connection_id, a.facts, a.first_connected_at, a.last_seen_at, a.disconnected_at, a.git, a.created_at,
    {STATUS} AS status
"""


async def make(
    session: Session,
    cipher: Cipher,
    build_id: UUID,
    workspace_id: UUID,
    *,
    spec: Mapping[str, Any],
    parameters: Mapping[str, str],
    external: bool,
) -> list[UUID]:
    """The agents of a start build, each with a token of its own."""
    made = []
    for place, agent in enumerate(spec["agents"]):
        token = secrets.new_token(TOKEN_KIND)
        made.append(uuid7())
        await fetch(
            session,
            """
            INSERT INTO workspace_agents (id, build_id, workspace_id, name, display_order, hashed_token, sealed_token,
                directory, startup_script, environment, external, connection_timeout_seconds, startup_timeout_seconds)
            VALUES (%(id)s, %(build)s, %(workspace)s, %(name)s, %(order)s, %(hashed)s, %(sealed)s, %(directory)s,
                %(script)s, %(environment)s::jsonb, %(external)s, %(connecting)s, %(starting)s)
            """,
            {
                "id": made[-1],
                "build": build_id,
                "workspace": workspace_id,
                "name": agent["name"],
                "order": agent["display_order"] or place,
                "hashed": secrets.digest(token),
                "sealed": cipher.encrypt(token),
                "directory": templates.filled(agent["directory"], parameters),
                "script": agent["startup_script"],
                "environment": orjson.dumps(templates.environment(agent["environment"], parameters)).decode(),
                "external": external,
                "connecting": agent["connection_timeout_seconds"],
                "starting": agent["startup_timeout_seconds"],
            },
        )
    return made


async def get(session: Session, agent_id: UUID) -> Row:
    """An agent, with its workspace's `owner_id` and `organization_id`; raises NotFound."""
    rows = await fetch(
        session,
        f"""SELECT {_AGENT}, w.owner_id, w.organization_id, w.name AS workspace_name
            FROM workspace_agents a JOIN workspaces w ON w.id = a.workspace_id WHERE a.id = %(id)s""",  # noqa: S608
        {"id": agent_id},
    )
    if not rows:
        raise NotFound
    return rows[0]


async def of_builds(session: Session, builds: Collection[UUID]) -> list[Row]:
    """The agents of these builds, in their order."""
    if not builds:
        return []
    return await fetch(
        session,
        f"""SELECT {_AGENT} FROM workspace_agents a WHERE a.build_id = ANY(%(builds)s::uuid[])
            ORDER BY a.build_id, a.display_order, lower(a.name), a.id""",  # noqa: S608 - fixed text
        {"builds": [*builds]},
    )


async def of_workspace(session: Session, workspace_id: UUID) -> list[Row]:
    """The agents of the workspace's latest build that started it, none when a later one has stopped it."""
    return await fetch(
        session,
        f"""SELECT {_AGENT} FROM workspace_agents a JOIN workspace_builds b ON b.id = a.build_id
            WHERE b.workspace_id = %(id)s AND NOT {SUPERSEDED}
            ORDER BY a.display_order, lower(a.name), a.id""",  # noqa: S608 - fixed text
        {"id": workspace_id},
    )


async def token(session: Session, cipher: Cipher, agent_id: UUID) -> str:
    """The agent's token, for whoever starts it by hand; raises NotFound."""
    rows = await fetch(session, "SELECT sealed_token FROM workspace_agents WHERE id = %(id)s", {"id": agent_id})
    if not rows:
        raise NotFound
    return cipher.decrypt(rows[0]["sealed_token"])


async def tokens(session: Session, cipher: Cipher, build_id: UUID) -> dict[UUID, str]:
    """The tokens of a build's agents, for its provisioner."""
    rows = await fetch(
        session, "SELECT id, sealed_token FROM workspace_agents WHERE build_id = %(id)s", {"id": build_id}
    )
    return {row["id"]: cipher.decrypt(row["sealed_token"]) for row in rows}


async def logs(session: Session, agent_id: UUID, *, after: int = 0, limit: int = 1000) -> list[Row]:
    """What the agent's startup script said, oldest first."""
    return await fetch(
        session,
        """SELECT id, created_at, level, source, output FROM workspace_agent_logs
           WHERE agent_id = %(id)s AND id > %(after)s ORDER BY id LIMIT %(limit)s""",
        {"id": agent_id, "after": after, "limit": limit},
    )


async def purge_logs(session: Session, age: timedelta, batch: int = 5000) -> int:
    """Forget what scripts said long ago, of agents whose build is not their workspace's latest; how many lines."""
    rows = await fetch(
        session,
        """
        DELETE FROM workspace_agent_logs WHERE id IN (
            SELECT l.id FROM workspace_agent_logs l JOIN workspace_agents a ON a.id = l.agent_id
                JOIN workspace_builds b ON b.id = a.build_id
            WHERE l.created_at < now() - %(age)s::interval AND EXISTS (
                SELECT FROM workspace_builds later
                WHERE later.workspace_id = b.workspace_id AND later.build_number > b.build_number)
            LIMIT %(batch)s)
        RETURNING id
        """,
        {"age": age, "batch": batch},
    )
    return len(rows)
