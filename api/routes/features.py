"""What agents may use beside models: desktop, advisor, workspaces and their templates."""

from typing import Any
from uuid import UUID

from starlette.responses import Response

from api.answers import nothing
from api.caller import Caller, DeploymentWriter, Insider, Keeper
from api.errors import raises
from api.etags import TAGGED, Expectation, Expected, Kept, Shown
from api.requests import Router
from api.resources import Opened, Resources
from api.schemas.features import (
    Advisor,
    ComputerUseProvider,
    DesktopEnabled,
    SetAdvisor,
    SetComputerUseProvider,
    SetDesktopEnabled,
    SetTemplateAllowlist,
    SetWorkspaceTTL,
    TemplateAllowlist,
    WorkspaceTTL,
)
from api.schemas.parts import NO_ID
from models.errors import Forbidden, Invalid, NotFound, Stale
from models.rules import features
from models.store import advice, catalog, preferences, templates
from models.store.session import Session

router = Router(tags=["config"])


@router.get(
    "/config/desktop-enabled",
    response_model=DesktopEnabled,
    responses=TAGGED,
    summary="Get whether agents may use a desktop",
)
async def get_desktop_enabled(caller: Caller, kept: Kept, resources: Opened) -> Response:
    """For everybody."""
    async with resources.database.read() as session:
        return kept.answer(await _desktop(session))


@router.put(
    "/config/desktop-enabled",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, Stale),
    summary="Set whether agents may use a desktop",
)
async def set_desktop_enabled(
    body: SetDesktopEnabled, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """Off, nobody sees a workspace's desktop, and who does no longer does."""
    return await _set(resources, expected, features.DESKTOP, _desktop, "true" if body.enable_desktop else "false")


@router.get(
    "/config/computer-use-provider",
    response_model=ComputerUseProvider,
    responses=TAGGED,
    summary="Get whose models use the desktop",
)
async def get_computer_use_provider(caller: Caller, kept: Kept, resources: Opened) -> Response:
    """For everybody; anthropic unless it is set. Kept for the desktops to come."""
    async with resources.database.read() as session:
        return kept.answer(await _computer_use(session))


@router.put(
    "/config/computer-use-provider",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Set whose models use the desktop",
)
async def set_computer_use_provider(
    body: SetComputerUseProvider, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """`anthropic` or `openai`. Kept for the desktops to come."""
    if body.provider not in features.COMPUTER_USERS:
        named = ", ".join(features.COMPUTER_USERS)
        raise Invalid("Invalid computer use provider.", f'Expected one of: {named}. Got "{body.provider}".')
    return await _set(resources, expected, features.COMPUTER_USE, _computer_use, body.provider)


@router.get("/config/advisor", response_model=Advisor, responses=TAGGED, summary="Get the advisor's setting")
async def get_advisor(caller: Caller, kept: Kept, resources: Opened) -> Response:
    """For everybody. Whom the model of a root chat may ask for advice, and how often in a turn."""
    async with resources.database.read() as session:
        return kept.answer(await _advisor(session))


@router.put(
    "/config/advisor",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Set the advisor's setting",
)
async def set_advisor(body: SetAdvisor, caller: DeploymentWriter, expected: Expected, resources: Opened) -> Response:
    """The whole setting is replaced. Turns that begin from now on keep to it; those under way keep theirs."""
    if body.max_uses_per_run < 0:
        raise Invalid(f"max_uses_per_run {body.max_uses_per_run} must be non-negative.")
    if body.max_output_tokens < 0:
        raise Invalid(f"max_output_tokens {body.max_output_tokens} must be non-negative.")
    setting = features.Advisor(**body.model_dump())
    async with resources.database.begin() as session:
        model = setting.model_config_id
        if model != NO_ID and not await catalog.exists(session, model):
            raise Invalid(f'model_config_id "{model}" does not match any existing model config.')
        await expected.hold(session, features.ADVISOR, _advisor)
        await advice.configure(session, setting)
    return nothing()


@router.get(
    "/config/workspace-ttl",
    response_model=WorkspaceTTL,
    responses=TAGGED,
    summary="Get how long agents' workspaces live",
)
async def get_workspace_ttl(caller: Caller, kept: Kept, resources: Opened) -> Response:
    """In milliseconds, 0 for no limit; for everybody. Of workspaces that chats make."""
    async with resources.database.read() as session:
        return kept.answer(await _workspace_ttl(session))


@router.put(
    "/config/workspace-ttl",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Set how long agents' workspaces live",
)
async def set_workspace_ttl(
    body: SetWorkspaceTTL, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """In milliseconds, 0 for no limit. It holds for workspaces that chats make from now on."""
    ttl = body.workspace_ttl_ms
    if ttl < 0:
        raise Invalid("Workspace TTL must be non-negative.")
    if 0 < ttl < features.SHORTEST_TTL_MS:
        raise Invalid("Workspace TTL must not be less than 1 minute.")
    if ttl > features.LONGEST_TTL_MS:
        raise Invalid("Workspace TTL must not exceed 30 days.")
    return await _set(resources, expected, features.WORKSPACE_TTL, _workspace_ttl, str(ttl))


@router.get(
    "/config/template-allowlist",
    response_model=TemplateAllowlist,
    responses={**TAGGED, **raises(NotFound)},
    summary="Get the templates that agents may use",
)
async def get_template_allowlist(caller: Insider, kept: Kept, resources: Opened) -> Response:
    """For those who may read the deployment's configuration; to others it is not there. An empty list is all."""
    async with resources.database.read() as session:
        return kept.answer(await _templates(session))


@router.put(
    "/config/template-allowlist",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, NotFound, Stale),
    summary="Set the templates that agents may use",
)
async def set_template_allowlist(
    body: SetTemplateAllowlist, caller: Keeper, expected: Expected, resources: Opened
) -> Response:
    """Replaces the list: what agents are offered, and may make workspaces of. People are not bound by it."""
    wanted = {_id(given): None for given in body.template_ids}
    async with resources.database.begin() as session:
        if wanted and len(await templates.listed(session, None, deprecated=False, ids=wanted)) < len(wanted):
            raise Invalid("One or more templates not found or deprecated.")
        await expected.hold(session, features.TEMPLATES, _templates)
        await preferences.put_site(session, {features.TEMPLATES: features.templates_text(wanted)})
    return nothing()


def _id(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise Invalid("Invalid template ID in allowlist.", f'"{given}" is not a valid UUID.') from None


async def _set(resources: Resources, expected: Expectation, key: str, shown: Shown, value: str) -> Response:
    async with resources.database.begin() as session:
        await expected.hold(session, key, shown)
        await preferences.put_site(session, {key: value})
    return nothing()


async def _desktop(session: Session) -> dict[str, Any]:
    return {"enable_desktop": features.desktop(await preferences.site(session, features.DESKTOP))}


async def _computer_use(session: Session) -> dict[str, Any]:
    return {"provider": features.computer_use(await preferences.site(session, features.COMPUTER_USE))}


async def _advisor(session: Session) -> dict[str, Any]:
    return features.advisor(await preferences.site(session, features.ADVISOR)).shown()


async def _workspace_ttl(session: Session) -> dict[str, Any]:
    return {"workspace_ttl_ms": features.workspace_ttl_ms(await preferences.site(session, features.WORKSPACE_TTL))}


async def _templates(session: Session) -> dict[str, Any]:
    return {"template_ids": features.templates(await preferences.site(session, features.TEMPLATES))}
