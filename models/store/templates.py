"""Templates, their versions and presets: what an organization offers to build workspaces from."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, LiteralString
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from models.errors import Conflict, NotFound
from models.parts import to_rest
from models.rules import features, parameters, templates, workspaces
from models.rules.template_choice import WINDOW_DAYS, Habit
from models.store import preferences
from models.store.database import Row, fetch
from models.store.people import is_unique_violation
from models.store.session import Session

_ACTIVE_FOR = "60 days"  # who used a workspace of it since then is one of its active developers

_TEMPLATE: LiteralString = f"""
    SELECT t.id, t.organization_id, o.name AS organization_name, o.display_name AS organization_display_name, t.name,
        t.display_name, t.description, t.icon, t.provisioner, t.active_version_id, t.deprecated, t.created_by,
        u.username AS created_by_name, t.created_at, t.updated_at,
        (SELECT count(DISTINCT w.owner_id) FROM workspaces w
         WHERE w.template_id = t.id AND NOT w.deleted AND w.last_used_at > now() - interval '{_ACTIVE_FOR}'
        ) AS active_developers
    FROM templates t JOIN organizations o ON o.id = t.organization_id LEFT JOIN users u ON u.id = t.created_by
    WHERE NOT t.deleted
"""  # noqa: S608 - fixed text
_VERSION: LiteralString = """
    SELECT v.id, v.template_id, t.organization_id, t.provisioner, t.active_version_id, v.name, v.message, v.readme,
        v.spec, v.parameters, t.deprecated, v.created_by, u.username AS created_by_name, v.created_at
    FROM template_versions v JOIN templates t ON t.id = v.template_id LEFT JOIN users u ON u.id = v.created_by
    WHERE NOT t.deleted
"""
_PRESET: LiteralString = """
    SELECT id, template_version_id, name, description, icon, is_default, parameters, desired_prebuilds, failing_since,
        created_at
    FROM template_version_presets
"""


async def create(
    session: Session,
    organization_id: UUID,
    *,
    name: str,
    provisioner: str,
    display_name: str = "",
    description: str = "",
    icon: str = "",
    created_by: UUID | None = None,
) -> UUID:
    """A template without a version; raises Invalid for a bad name, Conflict for one that is taken."""
    workspaces.check_name(name)
    new_id = uuid7()
    await _named(
        session,
        name,
        """
        INSERT INTO templates (id, organization_id, name, provisioner, display_name, description, icon, created_by)
        VALUES (%(id)s, %(organization)s, %(name)s, %(provisioner)s, %(display_name)s, %(description)s, %(icon)s,
            %(by)s)
        """,
        {
            "id": new_id,
            "organization": organization_id,
            "name": name,
            "provisioner": provisioner,
            "display_name": to_rest(display_name),
            "description": to_rest(description),
            "icon": to_rest(icon),
            "by": created_by,
        },
    )
    return new_id


async def add_version(
    session: Session,
    template_id: UUID,
    *,
    name: str = "",
    message: str = "",
    readme: str = "",
    spec: Mapping[str, Any] | None = None,
    parameters_: Sequence[Mapping[str, Any]] = (),
    presets: Sequence[Mapping[str, Any]] = (),
    created_by: UUID | None = None,
    activate: bool = True,
) -> UUID:
    """A version, which never changes; without a name it is numbered. Raises NotFound, Invalid, Conflict (the name)."""
    rows = await fetch(
        session,
        """
        SELECT t.provisioner, (SELECT count(*) FROM template_versions v WHERE v.template_id = t.id) AS versions
        FROM templates t WHERE t.id = %(id)s AND NOT t.deleted FOR UPDATE
        """,
        {"id": template_id},
    )
    if not rows:
        raise NotFound
    definitions = parameters.defined(parameters_)
    sound = templates.sound(rows[0]["provisioner"], spec or {})
    for preset in presets:
        parameters.preset_values(definitions, preset.get("parameters") or {})
    new_id, name = uuid7(), name or f"v{rows[0]['versions'] + 1}"
    workspaces.check_name(name)
    await _named(
        session,
        name,
        """
        INSERT INTO template_versions (id, template_id, name, message, readme, spec, parameters, created_by)
        VALUES (%(id)s, %(template)s, %(name)s, %(message)s, %(readme)s, %(spec)s::jsonb, %(parameters)s::jsonb, %(by)s)
        """,
        {
            "id": new_id,
            "template": template_id,
            "name": name,
            "message": to_rest(message),
            "readme": to_rest(readme),
            "spec": document(sound),
            "parameters": document(definitions),
            "by": created_by,
        },
    )
    for preset in presets:
        await _add_preset(session, new_id, preset)
    if activate:
        await activate_version(session, template_id, new_id)
    return new_id


async def _add_preset(session: Session, version_id: UUID, preset: Mapping[str, Any]) -> None:
    await _named(
        session,
        preset["name"],
        """
        INSERT INTO template_version_presets (id, template_version_id, name, description, icon, is_default, parameters,
            desired_prebuilds)
        VALUES (%(id)s, %(version)s, %(name)s, %(description)s, %(icon)s, %(is_default)s, %(parameters)s::jsonb,
            %(desired)s)
        """,
        {
            "id": uuid7(),
            "version": version_id,
            "name": to_rest(preset["name"]),
            "description": to_rest(preset.get("description") or ""),
            "icon": to_rest(preset.get("icon") or ""),
            "is_default": bool(preset.get("is_default")),
            "parameters": document(preset.get("parameters") or {}),
            "desired": preset.get("desired_prebuilds") or 0,
        },
    )


async def activate_version(session: Session, template_id: UUID, version_id: UUID) -> None:
    """Workspaces are built from this version from now on; raises NotFound for one of another template."""
    rows = await fetch(
        session,
        """
        UPDATE templates t SET active_version_id = v.id, updated_at = now() FROM template_versions v
        WHERE t.id = %(template)s AND NOT t.deleted AND v.id = %(version)s AND v.template_id = t.id RETURNING t.id
        """,
        {"template": template_id, "version": version_id},
    )
    if not rows:
        raise NotFound


async def get(session: Session, template_id: UUID) -> Row:
    """A template; raises NotFound."""
    return _one(await fetch(session, f"{_TEMPLATE} AND t.id = %(id)s", {"id": template_id}))


async def named(session: Session, organization_id: UUID, name: str) -> Row:
    """A template of an organization by its name; raises NotFound."""
    return _one(
        await fetch(
            session,
            f"{_TEMPLATE} AND t.organization_id = %(organization)s AND lower(t.name) = lower(%(name)s)",
            {"organization": organization_id, "name": name},
        )
    )


async def listed(
    session: Session,
    organizations: Collection[UUID] | None,
    *,
    deprecated: bool | None = None,
    ids: Collection[UUID] | None = None,
) -> list[Row]:
    """The templates of these organizations (None: of all), the most used first, those of `ids` where they are given."""
    return await fetch(
        session,
        f"""{_TEMPLATE} AND (%(all)s OR t.organization_id = ANY(%(organizations)s::uuid[]))
            AND (%(any)s OR t.id = ANY(%(ids)s::uuid[]))
            AND (%(deprecated)s::bool IS NULL OR (t.deprecated <> '') = %(deprecated)s::bool)
            ORDER BY active_developers DESC, lower(t.name), t.id""",
        {
            "all": organizations is None,
            "organizations": [*(organizations or ())],
            "any": ids is None,
            "ids": [*(ids or ())],
            "deprecated": deprecated,
        },
    )


async def offered(session: Session, organization_id: UUID, template_id: UUID | None = None) -> list[Row]:
    """The templates that chats of the organization may use, or this one if they may."""
    site = await preferences.site(session, features.TEMPLATES)
    allowed = features.templates(site)
    wanted = None if template_id is None else [template_id]
    found = await listed(session, [organization_id], deprecated=False, ids=wanted)
    return [each for each in found if not allowed or each["id"] in allowed]


async def chat_ttl_ms(session: Session) -> int:
    """How long workspaces that chats make live; 0 for ever."""
    return features.workspace_ttl_ms(await preferences.site(session, features.WORKSPACE_TTL))


async def habits(session: Session, owner_id: UUID, organization_id: UUID) -> dict[UUID, Habit]:
    """What templates the user's own workspaces of late were made of."""
    rows = await fetch(
        session,
        """
        SELECT template_id, count(*) FILTER (WHERE NOT deleted) AS active, count(*) FILTER (WHERE deleted) AS deleted,
            greatest(extract(epoch FROM now() - max(last_used_at)) / 86400, 0)::float AS days
        FROM workspaces WHERE owner_id = %(owner)s AND organization_id = %(organization)s
            AND last_used_at > now() - make_interval(days => %(window)s)
        GROUP BY template_id""",
        {"owner": owner_id, "organization": organization_id, "window": WINDOW_DAYS},
    )
    return {row["template_id"]: Habit(row["active"], row["deleted"], row["days"]) for row in rows}


async def change(session: Session, template_id: UUID, fields: Mapping[str, Any]) -> None:
    """Change name, display_name, description, icon or deprecated; raises Invalid and Conflict for the name."""
    columns = ("name", "display_name", "description", "icon", "deprecated")
    sets = [f"{column} = %({column})s" for column in columns if column in fields]
    if "name" in fields:
        workspaces.check_name(fields["name"])
    await _named(
        session,
        fields.get("name", ""),
        f"UPDATE templates SET {', '.join([*sets, 'updated_at = now()'])} WHERE id = %(id)s AND NOT deleted",  # noqa: S608
        {**to_rest(dict(fields)), "id": template_id},
    )


async def delete(session: Session, template_id: UUID) -> None:
    """Offer it no more; raises Conflict while there are workspaces of it (those built ahead go by themselves)."""
    await fetch(session, "SELECT 1 FROM templates WHERE id = %(id)s FOR UPDATE", {"id": template_id})
    used = await fetch(
        session,
        "SELECT 1 FROM workspaces WHERE template_id = %(id)s AND NOT deleted AND owner_id IS NOT NULL LIMIT 1",
        {"id": template_id},
    )
    if used:
        raise Conflict("All workspaces must be deleted before a template can be removed.")
    await fetch(
        session, "UPDATE templates SET deleted = true, updated_at = now() WHERE id = %(id)s", {"id": template_id}
    )


async def versions(session: Session, template_id: UUID) -> list[Row]:
    """A template's versions, newest first."""
    return await fetch(session, f"{_VERSION} AND v.template_id = %(id)s ORDER BY v.id DESC", {"id": template_id})


async def version(session: Session, version_id: UUID) -> Row:
    """A version, with its template's `organization_id`, `provisioner` and `active_version_id`; raises NotFound."""
    return _one(await fetch(session, f"{_VERSION} AND v.id = %(id)s", {"id": version_id}))


async def presets(session: Session, version_id: UUID) -> list[Row]:
    """A version's presets, the default one first, then by name."""
    return await fetch(
        session,
        f"{_PRESET} WHERE template_version_id = %(id)s ORDER BY is_default DESC, lower(name), id",
        {"id": version_id},
    )


async def preset(session: Session, preset_id: UUID) -> Row:
    """A preset; raises NotFound."""
    return _one(await fetch(session, f"{_PRESET} WHERE id = %(id)s", {"id": preset_id}))


async def any_of(session: Session, organization_id: UUID) -> bool:
    """Was there ever a template in the organization?"""
    rows = await fetch(
        session,
        "SELECT EXISTS (SELECT FROM templates WHERE organization_id = %(id)s) AS found",
        {"id": organization_id},
    )
    return bool(rows[0]["found"])


async def _named(session: Session, name: str, statement: LiteralString, params: Mapping[str, Any]) -> None:
    try:
        async with session.begin_nested():
            await fetch(session, statement, params)
    except Exception as clash:
        if is_unique_violation(clash):
            raise Conflict(f'"{name}" already exists.', "Names are unique, in any case of their letters.") from clash
        raise


def document(value: Any) -> str:
    """The value as JSONB takes it."""
    return orjson.dumps(to_rest(value)).decode()


def _one(rows: list[Row]) -> Row:
    if not rows:
        raise NotFound
    return rows[0]
