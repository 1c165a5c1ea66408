"""Workspaces that are there before anybody asks for them, and those that are there for too long."""

from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from models.store import builds
from models.store.builds import Begun
from models.store.database import Row, fetch
from models.store.secrets import Cipher
from models.store.session import Session
from models.store.workspaces import Made, create

_LATEST: LiteralString = """
    JOIN LATERAL (SELECT transition, status, completed_at FROM workspace_builds b
        WHERE b.workspace_id = w.id ORDER BY b.build_number DESC LIMIT 1) b ON true
"""
# A preset that fails is tried again after as long as it has been failing, an hour at most.
_MISSING: LiteralString = f"""
    SELECT p.id, p.name, p.template_version_id, t.id AS template_id, t.organization_id,
        p.desired_prebuilds - count(w.id) FILTER (
            WHERE b.transition = 'start' AND b.status IN ('pending', 'running', 'succeeded')) AS missing,
        count(w.id) FILTER (WHERE b.transition = 'start' AND b.status IN ('pending', 'running')) AS building
    FROM templates t JOIN template_version_presets p ON p.template_version_id = t.active_version_id
        LEFT JOIN (workspaces w {_LATEST}) ON w.preset_id = p.id AND w.owner_id IS NULL AND NOT w.deleted
    WHERE NOT t.deleted AND t.deprecated = '' AND p.desired_prebuilds > 0
      AND (p.failing_since IS NULL OR now() > (
          SELECT max(f.completed_at) + least(interval '1 hour',
              greatest(interval '1 minute', max(f.completed_at) - p.failing_since))
          FROM workspace_builds f WHERE f.preset_id = p.id AND f.reason = 'prebuild' AND f.status = 'failed'
            AND f.completed_at >= p.failing_since - interval '1 minute'))
    GROUP BY p.id, t.id ORDER BY p.id
"""  # noqa: S608 - fixed text
# Nobody's, and not of a preset that wants it: of an older version, too many, broken, or stopped.
_SURPLUS: LiteralString = f"""
    SELECT id FROM (
        SELECT w.id, b.transition, b.status, b.completed_at, p.desired_prebuilds,
            t.deleted OR t.deprecated <> '' OR p.id IS NULL OR p.template_version_id <> t.active_version_id AS unwanted,
            row_number() OVER (PARTITION BY w.preset_id ORDER BY w.created_at DESC) AS place
        FROM workspaces w {_LATEST} JOIN templates t ON t.id = w.template_id
            LEFT JOIN template_version_presets p ON p.id = w.preset_id
        WHERE w.owner_id IS NULL AND NOT w.deleted
    ) AS free
    WHERE status NOT IN ('pending', 'running', 'canceling')
      AND (unwanted OR place > desired_prebuilds OR (transition, status) <> ('start', 'succeeded'))
      AND (transition <> 'delete' OR completed_at < now() - interval '1 minute')
    ORDER BY id LIMIT %(limit)s
"""  # noqa: S608 - fixed text


@dataclass(frozen=True, slots=True)
class Wanted:
    """A preset that has too few workspaces, and how many to build now."""

    preset_id: UUID
    version_id: UUID
    template_id: UUID
    organization_id: UUID
    count: int


async def hold(session: Session) -> bool:
    """Only one at a time keeps the pools, until its transaction ends; False when somebody else does."""
    rows = await fetch(session, "SELECT pg_try_advisory_xact_lock(hashtext('turnstone prebuilds')) AS held")
    return bool(rows[0]["held"])


async def missing(session: Session, at_once: int) -> list[Wanted]:
    """Presets of active versions with too few workspaces; of each at most `at_once` are being built."""
    wanted = []
    for row in await fetch(session, _MISSING):
        count = min(row["missing"], at_once - row["building"])
        if count > 0:
            wanted.append(
                Wanted(row["id"], row["template_version_id"], row["template_id"], row["organization_id"], count)
            )
    return wanted


async def make(session: Session, cipher: Cipher, wanted: Wanted, name: str) -> Made:
    """A workspace of the preset that is nobody's yet."""
    return await create(
        session,
        cipher,
        organization_id=wanted.organization_id,
        owner_id=None,
        name=name,
        version_id=wanted.version_id,
        preset_id=wanted.preset_id,
        reason="prebuild",
    )


async def mark_failing(session: Session, preset_id: UUID) -> None:
    """The preset's values do not fit its version: it is not tried again until the version is replaced."""
    await fetch(
        session,
        "UPDATE template_version_presets SET desired_prebuilds = 0, failing_since = now() WHERE id = %(id)s",
        {"id": preset_id},
    )


async def surplus(session: Session, limit: int) -> list[UUID]:
    """Workspaces that are nobody's and that no preset wants any more."""
    return [row["id"] for row in await fetch(session, _SURPLUS, {"limit": limit})]


async def drop(session: Session, cipher: Cipher, workspace_id: UUID) -> Begun | None:
    """Delete a workspace that is nobody's; None when it was claimed meanwhile."""
    # Without its preset nobody can claim it, also who began to look before.
    rows = await fetch(
        session,
        "UPDATE workspaces SET preset_id = NULL WHERE id = %(id)s AND owner_id IS NULL AND NOT deleted RETURNING id",
        {"id": workspace_id},
    )
    return await builds.begin(session, cipher, workspace_id, "delete", reason="prebuild") if rows else None


async def overdue(session: Session, limit: int) -> list[UUID]:
    """Workspaces that run beyond their deadline."""
    rows = await fetch(
        session,
        f"""SELECT w.id FROM workspaces w {_LATEST}
            WHERE w.deadline_at IS NOT NULL AND w.deadline_at <= now() AND NOT w.deleted
              AND b.transition = 'start' AND b.status = 'succeeded'
            ORDER BY w.deadline_at LIMIT %(limit)s""",  # noqa: S608 - fixed text
        {"limit": limit},
    )
    return [row["id"] for row in rows]


async def stop_overdue(session: Session, cipher: Cipher, workspace_id: UUID) -> Begun | None:
    """Stop a workspace whose deadline has passed; None when it was put off, or a build is under way."""
    rows = await fetch(
        session,
        f"""SELECT w.id FROM workspaces w {_LATEST}
            WHERE w.id = %(id)s AND w.deadline_at <= now() AND b.transition = 'start' AND b.status = 'succeeded'
            FOR UPDATE OF w""",  # noqa: S608 - fixed text
        {"id": workspace_id},
    )
    return await builds.begin(session, cipher, workspace_id, "stop", reason="autostop") if rows else None


async def standing(session: Session, provisioner: str) -> list[Row]:
    """The builds that running workspaces of this provisioner were started by, as `builds.open_attempt` gives them."""
    return await fetch(
        session,
        """
        SELECT b.id, b.workspace_id, b.transition, b.parameters, b.state, w.name AS workspace_name,
            u.username AS owner_name, v.spec, t.provisioner
        FROM workspaces w
            JOIN LATERAL (SELECT * FROM workspace_builds b
                WHERE b.workspace_id = w.id ORDER BY b.build_number DESC LIMIT 1) b ON true
            JOIN template_versions v ON v.id = b.template_version_id JOIN templates t ON t.id = w.template_id
            LEFT JOIN users u ON u.id = w.owner_id
        WHERE NOT w.deleted AND t.provisioner = %(provisioner)s AND b.transition = 'start' AND b.status = 'succeeded'
        ORDER BY w.last_used_at DESC
        """,
        {"provisioner": provisioner},
    )
