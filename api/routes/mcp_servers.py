"""MCP servers: tools that live elsewhere, configured by those who run the deployment, chosen by everybody."""

from typing import Any
from uuid import UUID

from fastapi import Response
from uuid_utils.compat import uuid7

from api import mcp_forms as forms
from api.answers import answer, nothing
from api.author import By
from api.caller import Caller, DeploymentWriter
from api.errors import raises
from api.idempotency import OnlyOnce
from api.mcp_sign_in import At, register
from api.requests import Router
from api.resources import Opened
from api.schemas.mcp import CreateMcpServer, McpServer, UpdateMcpServer, shown
from models.errors import Conflict, Forbidden, Invalid, NotFound, Precondition, Unprocessable
from models.store import mcp_servers, mcp_tokens
from models.store.database import Row

router = Router(tags=["mcp servers"])

# What a token was granted for: when one of these changes, nobody's holds any more.
_GRANTED = ("auth_type", "url", "oauth2_client_id", "oauth2_auth_url", "oauth2_token_url")


@router.get("", response_model=list[McpServer], summary="List MCP servers")
async def list_mcp_servers(caller: Caller, resources: Opened) -> Response:
    """By display name; who may read the deployment's settings sees the disabled ones too."""
    admin = caller.may_read_deployment()
    async with resources.database.read() as session:
        rows = await mcp_servers.listed(session, caller.user_id, disabled=admin)
    return answer([shown(row, admin=admin) for row in rows])


@router.post(
    "",
    response_model=McpServer,
    status_code=201,
    responses=raises(Invalid, Forbidden, Conflict, Precondition, Unprocessable),
    summary="Configure an MCP server",
)
async def create_mcp_server(
    body: CreateMcpServer, caller: DeploymentWriter, by: By, at: At, once: OnlyOnce, resources: Opened
) -> Response:
    """Its secrets are encrypted at rest and never shown again."""
    fields = forms.given(body)
    forms.check(fields)
    fields = forms.settled(fields, fields["auth_type"])
    server_id = uuid7()
    if fields["auth_type"] == "oauth2" and not fields.get("oauth2_client_id"):
        fields |= await register(resources, at, server_id, fields)
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        await mcp_servers.create(session, resources.cipher, server_id, fields, caller.user_id)
        row = await mcp_servers.get(session, server_id, caller.user_id)
        mcp_servers.told(session, None, row, by)
        return await once.keep(session, answer(shown(row, admin=True), 201))


@router.get("/{mcp_server}", response_model=McpServer, responses=raises(Invalid, NotFound), summary="Get an MCP server")
async def get_mcp_server(mcp_server: UUID, caller: Caller, resources: Opened) -> Response:
    """A disabled one is there for those only who may read the deployment's settings."""
    admin = caller.may_read_deployment()
    async with resources.database.read() as session:
        row = await mcp_servers.get(session, mcp_server, caller.user_id, disabled=admin)
    return answer(shown(row, admin=admin))


@router.patch(
    "/{mcp_server}",
    response_model=McpServer,
    responses=raises(Invalid, Forbidden, NotFound, Conflict, Precondition, Unprocessable),
    summary="Change an MCP server",
)
async def update_mcp_server(
    mcp_server: UUID,
    body: UpdateMcpServer,
    caller: DeploymentWriter,
    by: By,
    at: At,
    once: OnlyOnce,
    resources: Opened,
) -> Response:
    """What is absent stays. When what tokens were granted for changes, everybody connects anew."""
    fields = forms.given(body)
    found: dict[str, Any] | None = None
    async with resources.database.read() as session:
        row = await mcp_servers.get(session, mcp_server, caller.user_id)
    forms.check(fields, _kept(row, fields))
    if _is_to_be_found_out(_merged(row, fields)):
        found = await register(resources, at, mcp_server, _merged(row, fields))
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        before = await mcp_servers.get(session, mcp_server, caller.user_id, lock=True)
        forms.check(fields, _kept(before, fields))
        changed = forms.settled(fields, fields.get("auth_type") or before["auth_type"])
        if found is not None and _is_to_be_found_out(_merged(before, fields)):
            changed |= found
        await mcp_servers.change(session, resources.cipher, mcp_server, changed, caller.user_id)
        if any(name in changed and changed[name] != before[name] for name in _GRANTED):
            await mcp_tokens.forget_all(session, mcp_server)
        row = await mcp_servers.get(session, mcp_server, caller.user_id)
        mcp_servers.told(session, before, row, by)
        return await once.keep(session, answer(shown(row, admin=True)))


@router.delete(
    "/{mcp_server}",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, NotFound),
    summary="Delete an MCP server",
)
async def delete_mcp_server(mcp_server: UUID, caller: DeploymentWriter, by: By, resources: Opened) -> Response:
    """Everybody's tokens go with it, and no chat names it any more."""
    async with resources.database.begin() as session:
        row = await mcp_servers.get(session, mcp_server, caller.user_id, lock=True)
        await mcp_servers.delete(session, mcp_server)
        mcp_servers.told(session, row, None, by)
    return nothing()


def _kept(row: Row, fields: dict[str, Any]) -> Row:
    """What stays of a server, as far as it belongs to the kind of sign-in that it has from now on."""
    return {**row, **forms.settled({}, fields.get("auth_type") or row["auth_type"])}


def _merged(row: Row, fields: dict[str, Any]) -> dict[str, Any]:
    return {**_kept(row, fields), **fields}


def _is_to_be_found_out(server: dict[str, Any]) -> bool:
    return server["auth_type"] == "oauth2" and not any(server.get(name) for name in forms.OAUTH)
