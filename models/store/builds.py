"""Builds: one start, stop or deletion of a workspace at a time, fenced by attempts, told to whoever waits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from uuid_utils.compat import uuid7

from models.errors import FenceLost, Invalid, NotFound
from models.parts import to_rest
from models.rules import parameters, workspaces
from models.steps import BuildRequest
from models.store import agents, audit, deeds, mailbox, notices, templates
from models.store.database import Row, fetch
from models.store.secrets import Cipher
from models.store.session import Session

_BUILD: LiteralString = """
    b.id, b.workspace_id, b.template_version_id, b.preset_id, b.build_number, b.transition, b.reason, b.status,
    b.initiator_id, b.parameters, b.attempt, b.error, b.error_code, b.created_at, b.started_at, b.completed_at
"""
_SHOWN: LiteralString = f"""
    SELECT {_BUILD}, v.name AS template_version_name, w.name AS workspace_name, w.owner_id, w.organization_id,
        o.username AS owner_name, i.username AS initiator_name, w.deadline_at, w.deleted, t.provisioner
    FROM workspace_builds b JOIN workspaces w ON w.id = b.workspace_id
        JOIN template_versions v ON v.id = b.template_version_id JOIN templates t ON t.id = v.template_id
        LEFT JOIN users o ON o.id = w.owner_id LEFT JOIN users i ON i.id = b.initiator_id
"""  # noqa: S608 - fixed text


@dataclass(frozen=True, slots=True)
class Begun:
    """A build that is under way. `fresh`: this call made it; it is to be told to Temporal after the commit."""

    build: Row
    fresh: bool

    @property
    def request(self) -> BuildRequest:
        return BuildRequest(self.build["id"], self.build["workspace_id"])


async def begin(
    session: Session,
    cipher: Cipher,
    workspace_id: UUID,
    transition: str,
    *,
    version_id: UUID | None = None,
    preset_id: UUID | None = None,
    given: Mapping[str, str] | None = None,
    initiator_id: UUID | None = None,
    reason: str = "initiator",
) -> Begun:
    """Begin a build, or find the one of the same transition that is under way already.

    Raises NotFound (no workspace, version or preset), Conflict (another transition is under way) and Invalid (values
    that do not fit). Without a version it is the latest build's.
    """
    rows = await fetch(
        session,
        "SELECT id, template_id, organization_id, name, deleted FROM workspaces WHERE id = %(id)s FOR UPDATE",
        {"id": workspace_id},
    )
    if not rows or rows[0]["deleted"]:
        raise NotFound
    before = await _latest(session, workspace_id)
    if before is not None and before["status"] in workspaces.UNDER_WAY:
        if before["transition"] != transition:
            raise workspaces.busy()
        return Begun(before, fresh=False)
    version = await _version(session, rows[0]["template_id"], version_id or (before or {}).get("template_version_id"))
    preset = await _preset(session, version["id"], preset_id)
    started = transition == "start"
    previous = None if before is None else before["parameters"]
    if started:
        values = parameters.chosen(
            version["parameters"], given or {}, preset=preset and preset["parameters"], previous=previous
        )
    else:
        values = dict(previous or {})
    build = await _insert(
        session,
        workspace_id,
        version_id=version["id"],
        preset_id=preset["id"] if preset else (before or {}).get("preset_id"),
        number=1 if before is None else before["build_number"] + 1,
        transition=transition,
        reason=reason,
        initiator_id=initiator_id,
        values=values,
    )
    if started:
        await agents.make(
            session,
            cipher,
            build["id"],
            workspace_id,
            spec=version["spec"],
            parameters=values,
            external=version["provisioner"] == "external",
        )
    await mailbox.lose(session, workspace_id, build["id"])
    changed(session, workspace_id)
    if deeds.current().kind is None:  # no request: a chat's tool, or nobody
        audit.record(
            session,
            action="build",
            resource_type="workspace",
            resource_id=workspace_id,
            target=rows[0]["name"],
            organization_id=rows[0]["organization_id"],
            user_id=initiator_id,
            diff=audit.changed(transition=("", transition)),
            details=audit.by_background_job("chat_tool" if initiator_id else f"workspace_{reason}"),
        )
    return Begun(build, fresh=True)


async def _insert(
    session: Session,
    workspace_id: UUID,
    *,
    version_id: UUID,
    preset_id: UUID | None,
    number: int,
    transition: str,
    reason: str,
    initiator_id: UUID | None,
    values: Mapping[str, str],
) -> Row:
    [row] = await fetch(
        session,
        f"""
        INSERT INTO workspace_builds AS b (id, workspace_id, template_version_id, preset_id, build_number, transition,
            reason, initiator_id, parameters)
        VALUES (%(id)s, %(workspace)s, %(version)s, %(preset)s, %(number)s, %(transition)s, %(reason)s, %(by)s,
            %(parameters)s::jsonb)
        RETURNING {_BUILD}
        """,  # noqa: S608 - fixed text
        {
            "id": uuid7(),
            "workspace": workspace_id,
            "version": version_id,
            "preset": preset_id,
            "number": number,
            "transition": transition,
            "reason": reason,
            "by": initiator_id,
            "parameters": templates.document(dict(values)),
        },
    )
    return row


async def _latest(session: Session, workspace_id: UUID) -> Row | None:
    rows = await fetch(
        session,
        f"""SELECT {_BUILD} FROM workspace_builds b WHERE b.workspace_id = %(id)s
            ORDER BY b.build_number DESC LIMIT 1""",  # noqa: S608 - fixed text
        {"id": workspace_id},
    )
    return rows[0] if rows else None


async def _version(session: Session, template_id: UUID, version_id: UUID | None) -> Row:
    if version_id is None:
        raise NotFound
    version = await templates.version(session, version_id)
    if version["template_id"] != template_id:
        raise NotFound  # as if there were none: it may be of another organization
    return version


async def _preset(session: Session, version_id: UUID, preset_id: UUID | None) -> Row | None:
    if preset_id is None:
        return None
    preset = await templates.preset(session, preset_id)
    if preset["template_version_id"] != version_id:
        raise NotFound
    return preset


async def view(session: Session, build_id: UUID) -> Row:
    """A build with its workspace's, version's and people's names; raises NotFound."""
    return _one(await fetch(session, f"{_SHOWN} WHERE b.id = %(id)s", {"id": build_id}))


async def numbered(session: Session, workspace_id: UUID, number: int) -> Row:
    """The workspace's build of this number, as `view` gives it; raises NotFound."""
    given = {"id": workspace_id, "number": number}
    return _one(await fetch(session, f"{_SHOWN} WHERE b.workspace_id = %(id)s AND b.build_number = %(number)s", given))


async def by_ids(session: Session, ids: Collection[UUID]) -> dict[UUID, Row]:
    """These builds by id, as `view` gives them."""
    rows = await fetch(session, f"{_SHOWN} WHERE b.id = ANY(%(ids)s::uuid[])", {"ids": [*ids]})
    return {row["id"]: row for row in rows}


async def of_workspace(session: Session, workspace_id: UUID, *, limit: int = 50, offset: int = 0) -> list[Row]:
    """The workspace's builds as `view` gives them, newest first."""
    return await fetch(
        session,
        f"{_SHOWN} WHERE b.workspace_id = %(id)s ORDER BY b.build_number DESC LIMIT %(limit)s OFFSET %(offset)s",
        {"id": workspace_id, "limit": limit, "offset": offset},
    )


async def latest(session: Session, workspace_id: UUID) -> Row:
    """The workspace's latest build as `view` gives it; raises NotFound."""
    return _one(await of_workspace(session, workspace_id, limit=1))


async def cancel(session: Session, build_id: UUID) -> Row:
    """Ask a build to stop; one that nobody began is canceled at once. Raises NotFound, and Invalid when it is over.

    Gives id, workspace_id and the new status: with `canceling` its run is to be told.
    """
    rows = await fetch(
        session,
        """
        UPDATE workspace_builds SET status = CASE WHEN attempt = 0 THEN 'canceled' ELSE 'canceling' END,
            completed_at = CASE WHEN attempt = 0 THEN now() END,
            error = CASE WHEN attempt = 0 THEN 'The build was canceled.' ELSE error END
        WHERE id = %(id)s AND status IN ('pending', 'running', 'canceling') RETURNING id, workspace_id, status
        """,
        {"id": build_id},
    )
    if not rows:
        _one(await fetch(session, "SELECT 1 AS found FROM workspace_builds WHERE id = %(id)s", {"id": build_id}))
        raise Invalid("Job has already completed!")
    changed(session, rows[0]["workspace_id"])
    return rows[0]


# What its performers do.


async def open_attempt(session: Session, build_id: UUID) -> Row | None:
    """Take the build over: its row with all that a provisioner needs, under a new attempt; None when it is over.

    `state` is what the last build that ended well left behind, and `age` how long it has been worked at.
    """
    rows = await fetch(
        session,
        f"""
        UPDATE workspace_builds b SET attempt = b.attempt + 1, started_at = coalesce(b.started_at, now()),
            status = CASE WHEN b.status = 'pending' THEN 'running' ELSE b.status END
        FROM workspaces w JOIN templates t ON t.id = w.template_id LEFT JOIN users u ON u.id = w.owner_id,
            template_versions v
        WHERE b.id = %(id)s AND b.status IN ('pending', 'running', 'canceling') AND w.id = b.workspace_id
          AND v.id = b.template_version_id
        RETURNING {_BUILD}, now() - b.started_at AS age, w.name AS workspace_name, w.organization_id, w.template_id,
            u.username AS owner_name, t.provisioner, v.spec,
            (SELECT p.state FROM workspace_builds p WHERE p.workspace_id = b.workspace_id AND p.id <> b.id
               AND p.state IS NOT NULL ORDER BY p.build_number DESC LIMIT 1) AS state
        """,  # noqa: S608 - fixed text
        {"id": build_id},
    )
    if rows:
        changed(session, rows[0]["workspace_id"])
    return rows[0] if rows else None


async def standing(session: Session, build_id: UUID, attempt: int) -> str:
    """The status of the build while this attempt is its newest; raises FenceLost when it is not."""
    rows = await fetch(
        session,
        "SELECT status FROM workspace_builds WHERE id = %(id)s AND attempt = %(attempt)s",
        {"id": build_id, "attempt": attempt},
    )
    if not rows:
        raise FenceLost
    return str(rows[0]["status"])


async def finish(
    session: Session,
    build_id: UUID,
    attempt: int,
    status: str,
    *,
    state: Mapping[str, Any] | None = None,
    error: str = "",
    error_code: str = "",
) -> Row:
    """The build's end, by its newest attempt: succeeded, failed or canceled; raises FenceLost.

    With it the workspace gets its deadline, loses it, or is gone. Its preset is failing from a failed build on, until
    one ends well.
    """
    rows = await fetch(
        session,
        """
        UPDATE workspace_builds SET status = %(status)s, completed_at = now(), error = %(error)s,
            error_code = %(code)s, state = %(state)s::jsonb
        WHERE id = %(id)s AND attempt = %(attempt)s AND status IN ('running', 'canceling')
        RETURNING id, workspace_id, transition, status, reason, preset_id
        """,
        {
            "id": build_id,
            "attempt": attempt,
            "status": status,
            "error": to_rest(error),
            "code": error_code,
            "state": None if state is None else templates.document(dict(state)),
        },
    )
    if not rows:
        raise FenceLost
    row = rows[0]
    if status == "succeeded":
        await _settle(session, row)
    ahead = row["reason"] == "prebuild" and row["transition"] == "start" and row["preset_id"] is not None
    if ahead and status != "canceled":
        since = "NULL" if status == "succeeded" else "coalesce(failing_since, now())"
        await fetch(
            session,
            f"UPDATE template_version_presets SET failing_since = {since} WHERE id = %(id)s",  # noqa: S608
            {"id": row["preset_id"]},
        )
    changed(session, row["workspace_id"])
    return row


async def _settle(session: Session, build: Row) -> None:
    """What the workspace is after a build that ended well."""
    becomes = {
        "start": "deadline_at = now() + ttl_ms * interval '1 millisecond', last_used_at = now()",
        "stop": "deadline_at = NULL",
        "delete": "deadline_at = NULL, deleted = true",
    }[build["transition"]]
    await fetch(
        session,
        f"UPDATE workspaces SET {becomes}, updated_at = now() WHERE id = %(id)s",  # noqa: S608 - fixed text
        {"id": build["workspace_id"]},
    )
    if build["transition"] != "start":
        await fetch(
            session,
            "UPDATE workspace_agents SET lifecycle = 'off' WHERE workspace_id = %(id)s AND lifecycle <> 'off'",
            {"id": build["workspace_id"]},
        )


async def under_way(session: Session, limit: int) -> list[BuildRequest]:
    """Builds that are not over, oldest first: each should have a run."""
    rows = await fetch(
        session,
        """SELECT id, workspace_id FROM workspace_builds WHERE status IN ('pending', 'running', 'canceling')
           ORDER BY created_at LIMIT %(limit)s""",
        {"limit": limit},
    )
    return [BuildRequest(row["id"], row["workspace_id"]) for row in rows]


def changed(session: Session, workspace_id: UUID) -> None:
    """Tell, after the commit, that the workspace is to be looked at again."""
    session.tell(notices.WORKSPACES, str(workspace_id))


def _one(rows: list[Row]) -> Row:
    if not rows:
        raise NotFound
    return rows[0]
