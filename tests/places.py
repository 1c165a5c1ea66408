"""Templates and workspaces for tests: the least that a build needs to exist."""

from typing import Any
from uuid import UUID

from cryptography.fernet import Fernet

from models.store import builds, templates, workspaces
from models.store.builds import Begun
from models.store.database import Session, fetch
from models.store.secrets import Cipher
from models.store.workspaces import Made
from tests.seeds import World

CIPHER = Cipher(Fernet.generate_key().decode())


async def template(session: Session, world: World, name: str = "local", **version: Any) -> UUID:
    """A template with an active version; `provisioner` is local unless it is given."""
    provisioner = version.pop("provisioner", "local")
    made = await templates.create(
        session, world.organization_id, name=name, provisioner=provisioner, created_by=world.owner_id
    )
    await templates.add_version(session, made, created_by=world.owner_id, **version)
    return made


async def workspace(session: Session, world: World, template_id: UUID, name: str = "place", **more: Any) -> Made:
    """A workspace of the world's owner, with the build that starts it."""
    more = {"owner_id": world.owner_id, "cipher": CIPHER, **more}
    return await workspaces.create(
        session, more.pop("cipher"), organization_id=world.organization_id, name=name, template_id=template_id, **more
    )


async def ended(session: Session, build_id: UUID, status: str = "succeeded", **more: Any) -> None:
    """The build's end, as if somebody had performed it."""
    row = await builds.open_attempt(session, build_id)
    assert row is not None
    await builds.finish(session, build_id, row["attempt"], status, **more)


async def build(session: Session, workspace_id: UUID, transition: str, **more: Any) -> Begun:
    return await builds.begin(session, CIPHER, workspace_id, transition, **more)


async def here(session: Session, workspace_id: UUID, lifecycle: str = "ready") -> None:
    """The agents of the workspace are at work."""
    await fetch(
        session,
        """UPDATE workspace_agents SET first_connected_at = now(), last_seen_at = now(), lifecycle = %(lifecycle)s
           WHERE workspace_id = %(id)s""",
        {"id": workspace_id, "lifecycle": lifecycle},
    )
