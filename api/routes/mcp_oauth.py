"""Signing in at an MCP server, for the tools of one's own chats: out to its authorization server, and back."""

import secrets
from typing import Annotated
from uuid import UUID

from fastapi import Query, Response
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from api import mcp_sign_in as sign_in
from api.answers import nothing
from api.caller import AccountHolder
from api.errors import raises
from api.mcp_sign_in import At
from api.requests import Router
from api.resources import Opened
from models.errors import BadGateway, Forbidden, Invalid, NotFound, Precondition
from models.rules.oauth import Failed, authorization_url
from models.store import mcp_servers, mcp_tokens
from models.store.database import Row

router = Router(tags=["mcp servers"])

# The nonce lets this script run, and no other.
_PAGE = """<!doctype html><meta charset="utf-8"><title>Connected</title><p>Connected. You may close this window.</p>
<script nonce="{nonce}">
if (window.opener) {{
  window.opener.postMessage({{type: "mcp-oauth2-complete", serverID: "{server}"}}, window.location.origin);
}}
window.close();
</script>
"""


@router.get(
    "/{mcp_server}/oauth2/connect",
    status_code=307,
    response_class=Response,
    responses=raises(Invalid, Forbidden, NotFound, Precondition),
    summary="Sign in at an MCP server",
)
async def connect_mcp_server(mcp_server: UUID, caller: AccountHolder, at: At, resources: Opened) -> Response:
    """Sends the browser to the authorization server; it comes back to the callback within ten minutes."""
    async with resources.database.read() as session:
        row = await mcp_servers.get(session, mcp_server, caller.user_id, disabled=caller.may_read_deployment())
    _require_sign_in(row)
    state, code_verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    path = sign_in.callback_path(mcp_server)
    going = RedirectResponse(
        authorization_url(
            row["oauth2_auth_url"],
            row["oauth2_client_id"],
            f"{at}{path}",
            row["oauth2_scopes"],
            state,
            code_verifier,
            row["oauth2_resource"],
        ),
        status_code=307,
        headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
    )
    going.set_cookie(
        sign_in.cookie_name(mcp_server),
        sign_in.sealed(resources.cipher, caller.user_id, state, code_verifier),
        max_age=sign_in.LIFE,
        path=path,
        httponly=True,
        samesite="lax",
        secure=at.startswith("https:"),
    )
    return going


@router.get(
    "/{mcp_server}/oauth2/callback",
    response_class=HTMLResponse,
    responses=raises(Invalid, Forbidden, NotFound, Precondition, BadGateway),
    summary="Come back from signing in at an MCP server",
)
async def mcp_server_callback(
    mcp_server: UUID,
    caller: AccountHolder,
    request: Request,
    at: At,
    resources: Opened,
    code: Annotated[str, Query()] = "",
    state: Annotated[str, Query()] = "",
    error: Annotated[str, Query()] = "",
    error_description: Annotated[str, Query()] = "",
) -> Response:
    """Takes the code for a token of the caller's, and closes the window."""
    async with resources.database.read() as session:
        row = await mcp_servers.get(session, mcp_server, caller.user_id, disabled=caller.may_read_deployment())
    _require_sign_in(row)
    path, cookie = sign_in.callback_path(mcp_server), sign_in.cookie_name(mcp_server)
    code_verifier = sign_in.unsealed(resources.cipher, request.cookies.get(cookie, ""), caller.user_id, state)
    if code_verifier is None:
        raise Invalid("Invalid OAuth2 state.", "The state does not match the one that this browser was sent away with.")
    if error:
        raise Invalid("The authorization server refused.", f"{error}: {error_description}"[:500])
    if not code:
        raise Invalid("Missing authorization code.")
    try:
        grant = await sign_in.requests(resources).exchange(
            mcp_tokens.client(row, resources.cipher), code, code_verifier, f"{at}{path}"
        )
    except Failed as failed:
        raise BadGateway("Failed to exchange the authorization code.", f"{failed.message} {failed.detail}") from failed
    async with resources.database.begin() as session:
        await mcp_servers.get(session, mcp_server, caller.user_id, lock=True)
        await mcp_tokens.keep(session, resources.cipher, mcp_server, caller.user_id, grant)
    nonce = secrets.token_urlsafe(16)
    back = HTMLResponse(
        _PAGE.format(nonce=nonce, server=mcp_server),
        headers={
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": f"default-src 'none'; script-src 'nonce-{nonce}'",
        },
    )
    back.delete_cookie(cookie, path=path)
    return back


@router.delete(
    "/{mcp_server}/oauth2/disconnect",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, NotFound),
    summary="Forget one's token for an MCP server",
)
async def disconnect_mcp_server(mcp_server: UUID, caller: AccountHolder, resources: Opened) -> Response:
    """Also when there is none."""
    async with resources.database.begin() as session:
        await mcp_servers.get(session, mcp_server, caller.user_id)
        await mcp_tokens.forget(session, mcp_server, caller.user_id)
    return nothing()


def _require_sign_in(row: Row) -> None:
    """Raise Invalid unless there is somewhere to sign in."""
    if not row["enabled"]:
        raise Invalid("MCP server is not enabled.")
    if row["auth_type"] != "oauth2":
        raise Invalid("MCP server does not use OAuth2.")
    if not row["oauth2_auth_url"]:
        raise Invalid("MCP server has no OAuth2 authorization URL.")
