"""Workspaces: made from a template or claimed from those built ahead, listed, renamed, kept alive by use."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID

from uuid_utils.compat import uuid7

from models.errors import Conflict, Invalid, NotFound
from models.rules import parameters, workspaces
from models.rules.workspace_search import Filter
from models.steps import BuildRequest
from models.store import agents, builds, templates
from models.store.database import Row, fetch
from models.store.people import is_unique_violation
from models.store.presence import STATUS
from models.store.secrets import Cipher
from models.store.session import Session

BUMP = timedelta(hours=1)  # use keeps a workspace alive for at least so long

_WORKSPACE: LiteralString = """
    SELECT w.id, w.owner_id, u.username AS owner_name, u.avatar_url AS owner_avatar_url, w.organization_id,
        o.name AS organization_name, w.template_id, t.name AS template_name, t.display_name AS template_display_name,
        t.icon AS template_icon, t.active_version_id AS template_active_version_id, t.provisioner, w.preset_id, w.name,
        w.ttl_ms, w.deadline_at, w.deleted, w.last_used_at, w.created_at, w.updated_at, b.id AS latest_build_id,
        b.transition, b.status AS build_status
    FROM workspaces w JOIN organizations o ON o.id = w.organization_id JOIN templates t ON t.id = w.template_id
        LEFT JOIN users u ON u.id = w.owner_id
        JOIN LATERAL (SELECT id, transition, status FROM workspace_builds b
            WHERE b.workspace_id = w.id ORDER BY b.build_number DESC LIMIT 1) b ON true
"""
# Built ahead for this preset with these very values, of the version that is asked for, with all its agents at work.
_CLAIMABLE: LiteralString = f"""
    SELECT w.id FROM workspaces w
        JOIN LATERAL (SELECT id, transition, status, template_version_id, parameters FROM workspace_builds b
            WHERE b.workspace_id = w.id ORDER BY b.build_number DESC LIMIT 1) b ON true
    WHERE w.preset_id = %(preset)s AND w.owner_id IS NULL AND NOT w.deleted AND w.organization_id = %(organization)s
      AND b.transition = 'start' AND b.status = 'succeeded' AND b.template_version_id = %(version)s
      AND b.parameters = %(values)s::jsonb
      AND NOT EXISTS (SELECT FROM workspace_agents a WHERE a.build_id = b.id AND (a.lifecycle <> 'ready'
          OR {STATUS} <> 'connected'))
    ORDER BY w.created_at LIMIT 1 FOR UPDATE OF w SKIP LOCKED
"""  # noqa: S608 - fixed text


@dataclass(frozen=True, slots=True)
class Made:
    """A workspace that is somebody's now. `claimed`: it was built ahead, and there is no build to wait for."""

    workspace_id: UUID
    build_id: UUID
    claimed: bool

    @property
    def request(self) -> BuildRequest:
        return BuildRequest(self.build_id, self.workspace_id)


async def create(
    session: Session,
    cipher: Cipher,
    *,
    organization_id: UUID,
    owner_id: UUID | None,
    name: str,
    template_id: UUID | None = None,
    version_id: UUID | None = None,
    preset_id: UUID | None = None,
    given: Mapping[str, str] | None = None,
    ttl_ms: int | None = None,
    initiator_id: UUID | None = None,
    reason: str = "initiator",
) -> Made:
    """A workspace of this template's active version, or of this version, and the build that starts it.

    One that was built ahead for the preset is taken instead, if there is one. Raises Invalid (name, values, no such
    template or version here, a deprecated one) and Conflict (the name is taken).
    """
    workspaces.check_name(name)
    version = await _version(session, organization_id, template_id, version_id)
    preset = None
    if preset_id is not None:
        preset = await _preset(session, version["id"], preset_id)
    values = parameters.chosen(version["parameters"], given or {}, preset=preset and preset["parameters"])
    row = {
        "owner": owner_id,
        "organization": organization_id,
        "template": version["template_id"],
        "preset": preset_id,
        "version": version["id"],
        "values": templates.document(values),
        "name": name,
        "ttl": ttl_ms,
        "id": uuid7(),
    }
    if owner_id is not None and preset_id is not None:
        claimed = await _claim(session, row)
        if claimed is not None:
            builds.changed(session, claimed.workspace_id)
            return claimed
    await _named(
        session,
        name,
        """
        INSERT INTO workspaces (id, owner_id, organization_id, template_id, preset_id, name, ttl_ms)
        VALUES (%(id)s, %(owner)s, %(organization)s, %(template)s, %(preset)s, %(name)s, %(ttl)s)
        """,
        row,
    )
    begun = await builds.begin(
        session,
        cipher,
        row["id"],
        "start",
        version_id=version["id"],
        preset_id=preset_id,
        given=given,
        initiator_id=initiator_id,
        reason=reason,
    )
    return Made(row["id"], begun.build["id"], claimed=False)


async def _claim(session: Session, row: Mapping[str, Any]) -> Made | None:
    """Take a workspace that was built ahead; it is nobody else's from then on, and its deadline begins."""
    rows = await _named(
        session,
        row["name"],
        f"""
        UPDATE workspaces w SET owner_id = %(owner)s, name = %(name)s, ttl_ms = %(ttl)s, last_used_at = now(),
            deadline_at = now() + %(ttl)s::bigint * interval '1 millisecond', created_at = now(), updated_at = now()
        FROM ({_CLAIMABLE}) AS free WHERE w.id = free.id
        RETURNING w.id, (SELECT b.id FROM workspace_builds b WHERE b.workspace_id = w.id
            ORDER BY b.build_number DESC LIMIT 1) AS build_id
        """,  # noqa: S608 - fixed text
        row,
    )
    return Made(rows[0]["id"], rows[0]["build_id"], claimed=True) if rows else None


async def get(session: Session, workspace_id: UUID) -> Row:
    """A workspace with the names around it, its `latest_build` and that one's `agents`; raises NotFound.

    One that is deleted is there, and `deleted`.
    """
    rows = await fetch(session, f"{_WORKSPACE} WHERE w.id = %(id)s", {"id": workspace_id})
    return (await _built(session, _found(rows)))[0]


async def named(session: Session, owner_id: UUID, name: str) -> Row:
    """A person's workspace by its name, as `get` gives it; raises NotFound."""
    rows = await fetch(
        session,
        f"{_WORKSPACE} WHERE w.owner_id = %(owner)s AND lower(w.name) = lower(%(name)s) AND NOT w.deleted",
        {"owner": owner_id, "name": name},
    )
    return (await _built(session, _found(rows)))[0]


async def listed(
    session: Session,
    asked: Filter,
    *,
    user_id: UUID,
    member_of: Collection[UUID],
    organizations: Collection[UUID] | None,
    limit: int,
    offset: int,
) -> tuple[list[Row], int]:
    """Workspaces of the user where they are a member, and of `organizations` (None: of all), and how many in all.

    One's own first, then by owner and name; those built ahead are nobody's, and for who sees an organization's.
    """
    status = None if not asked.status else workspaces.builds_of(asked.status)
    rows = await fetch(
        session,
        f"""
        SELECT *, count(*) OVER () AS total FROM ({_WORKSPACE}
            WHERE (NOT w.deleted OR %(gone)s)
              AND ((w.owner_id = %(user)s AND w.organization_id = ANY(%(member_of)s::uuid[])) OR %(all)s
                OR w.organization_id = ANY(%(organizations)s::uuid[]))
              AND (%(owner)s = '' OR lower(u.username) = lower(%(owner)s)
                OR (%(owner)s = 'me' AND w.owner_id = %(user)s))
              AND (%(name)s = '' OR position(lower(%(name)s) IN lower(w.name)) > 0)
              AND (%(template)s = '' OR lower(t.name) = lower(%(template)s))
              AND (%(organization)s = '' OR o.name = %(organization)s)
              AND (%(statuses)s::text[] IS NULL OR b.status = ANY(%(statuses)s::text[]))
              AND (%(transition)s = '' OR b.transition = %(transition)s)) AS found
        ORDER BY owner_id IS NOT DISTINCT FROM %(user)s DESC, lower(owner_name) NULLS LAST, lower(name), id
        LIMIT %(limit)s OFFSET %(offset)s
        """,  # noqa: S608 - fixed text
        {
            "gone": asked.status == "deleted",
            "user": user_id,
            "member_of": [*member_of],
            "all": organizations is None,
            "organizations": [*(organizations or ())],
            "owner": asked.owner,
            "name": asked.name,
            "template": asked.template,
            "organization": asked.organization,
            "statuses": status and [status[1]],
            "transition": status[0] if status else "",
            "limit": limit,
            "offset": offset,
        },
    )
    if not rows:
        if not offset:
            return [], 0
        _, total = await listed(
            session, asked, user_id=user_id, member_of=member_of, organizations=organizations, limit=1, offset=0
        )
        return [], total
    return await _built(session, rows), rows[0]["total"]


async def rename(session: Session, workspace_id: UUID, name: str) -> None:
    """Give it another name; raises Invalid and Conflict."""
    workspaces.check_name(name)
    await _named(
        session,
        name,
        "UPDATE workspaces SET name = %(name)s, updated_at = now() WHERE id = %(id)s AND NOT deleted",
        {"id": workspace_id, "name": name},
    )
    builds.changed(session, workspace_id)


async def set_ttl(session: Session, workspace_id: UUID, ttl_ms: int | None) -> None:
    """Stop it by itself so long after its start, or never; one that runs has its deadline counted from now."""
    await fetch(
        session,
        """
        UPDATE workspaces w SET ttl_ms = %(ttl)s, updated_at = now(), deadline_at = CASE
            WHEN EXISTS (SELECT FROM workspace_builds b WHERE b.workspace_id = w.id
                AND b.build_number = (SELECT max(build_number) FROM workspace_builds l WHERE l.workspace_id = w.id)
                AND b.transition = 'start' AND b.status = 'succeeded')
            THEN now() + %(ttl)s::bigint * interval '1 millisecond' END
        WHERE id = %(id)s
        """,
        {"id": workspace_id, "ttl": ttl_ms},
    )


async def used(session: Session, workspace_id: UUID) -> None:
    """Somebody works in it: note it, once a minute at most, and put its deadline off where it is near."""
    await fetch(
        session,
        """
        UPDATE workspaces SET last_used_at = now(), deadline_at = CASE WHEN deadline_at IS NOT NULL
            THEN greatest(deadline_at, now() + least(%(bump)s::interval, ttl_ms * interval '1 millisecond')) END
        WHERE id = %(id)s AND last_used_at < now() - interval '1 minute'
        """,
        {"id": workspace_id, "bump": BUMP},
    )


async def _built(session: Session, rows: list[Row]) -> list[Row]:
    """The workspaces, each with its `latest_build`, which has its `agents`."""
    found = await builds.by_ids(session, [row["latest_build_id"] for row in rows])
    made = await agents.of_builds(session, list(found))
    for build in found.values():
        build["agents"] = [agent for agent in made if agent["build_id"] == build["id"]]
    return [{**row, "latest_build": found[row["latest_build_id"]]} for row in rows]


async def _version(session: Session, organization_id: UUID, template_id: UUID | None, version_id: UUID | None) -> Row:
    """The version to build; raises Invalid when there is none, here, that is still offered."""
    if version_id is None:
        if template_id is None:
            raise Invalid("template_id or template_version_id is required.")
        try:
            template = await templates.get(session, template_id)
        except NotFound:
            template = None
        # One of another organization is as good as none: who asks may not know of it.
        if template is None or template["organization_id"] != organization_id:
            raise Invalid(f'Template "{template_id}" does not exist.')
        version_id = template["active_version_id"]
        if version_id is None:
            raise Invalid(f'Template "{template["name"]}" has no active version.')
    try:
        version = await templates.version(session, version_id)
    except NotFound:
        version = None
    if version is None or version["organization_id"] != organization_id:
        raise Invalid(f'Template version "{version_id}" does not exist.')
    if template_id is not None and version["template_id"] != template_id:
        raise Invalid("The version is of another template.")
    if version["deprecated"]:
        raise Invalid("The template is deprecated, and workspaces cannot be made of it.", version["deprecated"])
    return version


async def _preset(session: Session, version_id: UUID, preset_id: UUID) -> Row:
    try:
        preset = await templates.preset(session, preset_id)
    except NotFound:
        preset = None
    if preset is None or preset["template_version_id"] != version_id:
        raise Invalid(f'Preset "{preset_id}" does not exist.')
    return preset


async def _named(session: Session, name: str, statement: LiteralString, params: Mapping[str, Any]) -> list[Row]:
    try:
        async with session.begin_nested():
            return await fetch(session, statement, params)
    except Exception as clash:
        if is_unique_violation(clash):
            raise Conflict(f'Workspace "{name}" already exists.') from clash
        raise


def _found(rows: list[Row]) -> list[Row]:
    if not rows:
        raise NotFound
    return rows
