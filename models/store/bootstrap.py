"""The first rows of a new deployment: an owner with a token, an organization, and a model to talk to."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from models.principal import OrgRole, SiteRole
from models.settings import Settings
from models.store import catalog, organizations, people, providers, templates
from models.store.database import Database, fetch
from models.store.secrets import Cipher
from models.store.session import Session

log = logging.getLogger(__name__)

OWNER_ROLES = (OrgRole.ADMIN, OrgRole.AGENTS_ACCESS)
SHORT_TOKEN = 16

_REAL_PROVIDER: LiteralString = "SELECT EXISTS (SELECT FROM ai_providers WHERE type <> 'demo') AS found"
_DEMO_PROVIDER: LiteralString = "SELECT EXISTS (SELECT FROM ai_providers WHERE type = 'demo') AS found"


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """What came of it. `admin_token` is known only where it was given or made just now."""

    admin_token: str | None
    organization_id: UUID
    created: bool


@dataclass(frozen=True, slots=True)
class _Offer:
    """A provider that the environment has a key or an address for, and a model to begin with."""

    type: str
    name: str
    display_name: str
    base_url: str
    api_key: str
    model: str
    context_limit: int


async def bootstrap(
    settings: Settings, *, admin_token: str | None, environ: Mapping[str, str], local_template: bool = False
) -> Bootstrapped:
    """Create what is missing; running it again changes nothing, and two at once are one after the other.

    With `local_template` there is a template for workspaces on this machine, where there was never any template.
    The owner is `admin`, who has no password (login type `none`) and comes in by token until one is set.
    """
    database = Database(settings.database_url, 1)
    try:
        cipher = Cipher(settings.secret_keys.get_secret_value())
        async with database.begin() as session:
            await people.hold_set_up(session)
            owner, created = await _owner(session)
            organization_id = await default_organization(session, owner)
            token = await _admin_token(session, owner, admin_token, make=created)
            await _models(session, cipher, environ, owner)
            if local_template and not await templates.any_of(session, organization_id):
                await _template(session, organization_id, owner)
    finally:
        await database.close()
    return Bootstrapped(token, organization_id, created)


async def _owner(session: Session) -> tuple[UUID, bool]:
    """The longest-serving owner, or a new one on the very first start."""
    rows = await fetch(
        session,
        """
        SELECT id FROM users WHERE 'owner' = ANY(roles) AND NOT deleted AND status = 'active'
        ORDER BY created_at, id LIMIT 1
        """,
    )
    if rows:
        return rows[0]["id"], False
    created = await people.create(
        session, username="admin", email="admin@localhost", name="Administrator", roles=(SiteRole.OWNER,)
    )
    return created, True


async def default_organization(session: Session, first_member: UUID) -> UUID:
    """The default organization; a new one gets `first_member` as its admin. Call `people.hold_set_up` before."""
    rows = await fetch(session, "SELECT id FROM organizations WHERE is_default")
    if rows:
        return UUID(str(rows[0]["id"]))
    made = await organizations.create(session, name=organizations.DEFAULT, display_name="Default", is_default=True)
    await organizations.add(session, made["id"], first_member, OWNER_ROLES)
    return UUID(str(made["id"]))


async def _admin_token(session: Session, owner: UUID, given: str | None, *, make: bool) -> str | None:
    """The given token, made valid if it is not yet; else a new one if the owner is new."""
    if given is None and not make:
        return None
    if given is not None:
        if len(given) < SHORT_TOKEN:
            log.warning("TURNSTONE_ADMIN_TOKEN is shorter than %d characters: whoever guesses it is owner", SHORT_TOKEN)
        if await people.has_token(session, given) is not None:
            return given
    _, token = await people.create_token(
        session, owner, kind="token", lifetime=people.FOREVER, name="bootstrap" if make else "", secret=given
    )
    return token


async def _template(session: Session, organization_id: UUID, owner: UUID) -> None:
    made = await templates.create(
        session,
        organization_id,
        name="local",
        provisioner="local",
        display_name="This machine",
        description="A directory on the machine that runs Turnstone, with the tools that are installed there.",
        created_by=owner,
    )
    await templates.add_version(session, made, spec={"agents": [{"name": "main"}]}, created_by=owner)


async def _models(session: Session, cipher: Cipher, environ: Mapping[str, str], owner: UUID) -> None:
    """A demo model always; a real one, as the default, if the environment offers it and nobody set any up."""
    demo = not (await fetch(session, _DEMO_PROVIDER))[0]["found"]
    real = not (await fetch(session, _REAL_PROVIDER))[0]["found"]
    offers = _offers(environ) if real else []
    if demo:
        offers.append(_Offer("demo", "demo", "Demo (no real model)", "", "", "demo", 128_000))
    for place, offer in enumerate(offers):
        provider = await providers.create(
            session,
            cipher,
            kind=offer.type,
            name=offer.name,
            display_name=offer.display_name,
            enabled=True,
            base_url=offer.base_url,
            api_keys=[offer.api_key] if offer.api_key else [],
        )
        await catalog.create(
            session,
            ai_provider_id=provider["id"],
            model=offer.model,
            display_name="Demo" if offer.type == "demo" else "",
            enabled=True,
            # Only the demo may have been the default until now: nobody set up anything else.
            is_default=place == 0 and offer.type != "demo",
            context_limit=offer.context_limit,
            compression_threshold=70,
            options={},
            created_by=owner,
        )


def _offers(environ: Mapping[str, str]) -> list[_Offer]:
    openai_key, base_url = environ.get("OPENAI_API_KEY", ""), environ.get("TURNSTONE_OPENAI_BASE_URL", "")
    found = []
    if base_url:
        model = environ.get("TURNSTONE_OPENAI_MODEL") or "gpt-5-mini"
        found.append(
            _Offer("openai-compat", "openai-compat", "OpenAI-compatible", base_url, openai_key, model, 128_000)
        )
    elif openai_key:
        model = environ.get("TURNSTONE_OPENAI_MODEL") or "gpt-5-mini"
        found.append(_Offer("openai", "openai", "OpenAI", "https://api.openai.com/v1", openai_key, model, 400_000))
    if key := environ.get("ANTHROPIC_API_KEY", ""):
        found.append(
            _Offer(
                "anthropic", "anthropic", "Anthropic", "https://api.anthropic.com", key, "claude-sonnet-4-5", 200_000
            )
        )
    return found
