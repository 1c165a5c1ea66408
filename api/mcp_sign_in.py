"""How a person comes to a token for an MCP server: where their browser is sent, and what it brings back."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Depends
from starlette.requests import HTTPConnection

from api.resources import Resources
from models.errors import Invalid
from models.rules import addresses
from models.rules.oauth import Failed
from models.store.secrets import Cipher, SecretUnreadable

PREFIX = "/api/experimental/mcp/servers"
"""Under which authorization servers know the callback, whichever way the person came."""
CLIENT_NAME = "Turnstone"
LIFE = 600  # seconds from being sent away to being back


async def _at(connection: HTTPConnection) -> str:
    """Where we are, as browsers see us."""
    public: str = connection.state.resources.settings.public_url
    return (public or str(connection.base_url)).rstrip("/")


At = Annotated[str, Depends(_at)]


def callback_path(server_id: UUID) -> str:
    return f"{PREFIX}/{server_id}/oauth2/callback"


def cookie_name(server_id: UUID) -> str:
    return f"mcp_oauth2_state_{server_id}"


def requests(resources: Resources) -> Any:
    """The way to authorization servers. Loaded when it is needed: most API processes never are."""
    from models.oauth import Requests

    return Requests(addresses.networks(resources.settings.mcp_allowed_networks))


async def register(resources: Resources, at: str, server_id: UUID, server: Mapping[str, Any]) -> dict[str, Any]:
    """What is found out of how a server's people sign in; raises Invalid."""
    redirect = f"{at}{callback_path(server_id)}"
    try:
        found = await requests(resources).register(
            server["url"], redirect, CLIENT_NAME, server.get("oauth2_scopes") or ""
        )
    except Failed as failed:
        told = " ".join(filter(None, (failed.message, failed.detail)))
        raise Invalid("OAuth2 auto-discovery failed.", f"{told} Give client id, auth URL and token URL.") from failed
    return {
        "oauth2_client_id": found.client_id,
        "oauth2_client_secret": found.secret,
        "oauth2_auth_url": found.auth_url,
        "oauth2_token_url": found.token_url,
        "oauth2_scopes": found.scopes,
        "oauth2_resource": found.resource,
    }


def sealed(cipher: Cipher, user_id: UUID, state: str, code_verifier: str) -> str:
    """What the browser keeps while its person is away: nobody else can use it, or read the verifier."""
    return cipher.encrypt(orjson.dumps([str(user_id), state, code_verifier]).decode())


def unsealed(cipher: Cipher, cookie: str, user_id: UUID, state: str) -> str | None:
    """The verifier, if this is the person who went away, with the state that they went with."""
    try:
        kept_user, kept_state, code_verifier = orjson.loads(cipher.decrypt(cookie))
    except (SecretUnreadable, ValueError):
        return None
    return str(code_verifier) if state and (kept_user, kept_state) == (str(user_id), state) else None
