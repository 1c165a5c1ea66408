"""Roles that organizations make for their members, beside those that are built in (admin.md 3.3)."""

from collections.abc import Collection, Sequence
from typing import LiteralString
from uuid import UUID

from uuid_utils.compat import uuid7

from models.errors import Conflict, NotFound
from models.store.database import Row, fetch
from models.store.people import changed, is_unique_violation
from models.store.session import Session

_ROLE: LiteralString = "id, organization_id, name, display_name, everywhere, own"


async def of_organization(session: Session, organization_id: UUID) -> list[Row]:
    """The organization's own roles, by name."""
    return await fetch(
        session,
        f"SELECT {_ROLE} FROM custom_roles WHERE organization_id = %(organization)s ORDER BY lower(name), id",  # noqa: S608 - fixed text
        {"organization": organization_id},
    )


async def names(session: Session, organization_id: UUID, wanted: Collection[str]) -> set[str]:
    """Which of these the organization has; they are there until the transaction ends."""
    rows = await fetch(
        session,
        """
        SELECT name FROM custom_roles WHERE organization_id = %(organization)s AND name = ANY(%(names)s)
        ORDER BY id FOR SHARE
        """,
        {"organization": organization_id, "names": list(wanted)},
    )
    return {row["name"] for row in rows}


async def create(
    session: Session,
    organization_id: UUID,
    *,
    name: str,
    display_name: str,
    everywhere: Sequence[str],
    own: Sequence[str],
) -> Row:
    """A new role that nobody has yet; raises Conflict when the organization has one of that name."""
    try:
        async with session.begin_nested():
            rows = await fetch(
                session,
                f"""
                INSERT INTO custom_roles (id, organization_id, name, display_name, everywhere, own)
                VALUES (%(id)s, %(organization)s, %(name)s, %(display_name)s, %(everywhere)s, %(own)s)
                RETURNING {_ROLE}
                """,  # noqa: S608 - fixed text
                {
                    "id": uuid7(),
                    "organization": organization_id,
                    "name": name,
                    "display_name": display_name,
                    "everywhere": list(everywhere),
                    "own": list(own),
                },
            )
    except Exception as clash:
        if is_unique_violation(clash):
            raise Conflict(f'Role "{name}" already exists.') from clash
        raise
    return rows[0]


async def hold(session: Session, organization_id: UUID, name: str) -> Row:
    """The role, which only this transaction changes until it ends; raises NotFound."""
    rows = await fetch(
        session,
        f"""
        SELECT {_ROLE} FROM custom_roles WHERE organization_id = %(organization)s AND lower(name) = lower(%(name)s)
        FOR UPDATE
        """,  # noqa: S608 - fixed text
        {"organization": organization_id, "name": name},
    )
    if not rows:
        raise NotFound
    return rows[0]


async def update(
    session: Session, role_id: UUID, *, display_name: str, everywhere: Sequence[str], own: Sequence[str]
) -> Row:
    """Replace what the role is called and allows, at once for everybody who has it."""
    rows = await fetch(
        session,
        f"""
        UPDATE custom_roles SET display_name = %(display_name)s, everywhere = %(everywhere)s, own = %(own)s,
            updated_at = now()
        WHERE id = %(id)s RETURNING {_ROLE}
        """,  # noqa: S608 - fixed text
        {"id": role_id, "display_name": display_name, "everywhere": list(everywhere), "own": list(own)},
    )
    await changed(session, "*")
    return rows[0]


async def delete(session: Session, role: Row) -> None:
    """The role is gone, and nobody has it any more: one of the same name made later is another role."""
    await fetch(session, "DELETE FROM custom_roles WHERE id = %(id)s", {"id": role["id"]})
    await fetch(
        session,
        """
        UPDATE organization_members SET roles = array_remove(roles, %(name)s), updated_at = now()
        WHERE organization_id = %(organization)s AND %(name)s = ANY(roles)
        """,
        {"organization": role["organization_id"], "name": role["name"]},
    )
    await changed(session, "*")
