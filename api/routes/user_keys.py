"""People's own keys of AI providers: which there are, to keep one, to forget it."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Request
from starlette.responses import Response

from api import accounts
from api.answers import answer, nothing
from api.bodies import REQUIRED, Unread, body
from api.caller import AccountHolder, Caller
from api.errors import raises
from api.provider_forms import LONGEST_KEY
from api.requests import Router
from api.resources import Opened
from api.schemas.user_keys import SetUserProviderKey, UserProviderKey
from models.errors import Forbidden, Invalid, NotFound, Precondition
from models.principal import Principal
from models.store import people, user_keys
from models.store.database import Row
from models.store.session import Session

router = Router(tags=["providers"])


@router.get(
    "/{user}/ai-provider-keys",
    response_model=list[UserProviderKey],
    responses=raises(Forbidden, NotFound),
    summary="List a user's own provider keys",
)
async def list_user_provider_keys(user: str, caller: Caller, resources: Opened) -> Response:
    """For enabled providers, and for disabled ones that there is a key for. No part of a key is ever shown."""
    async with resources.database.read() as session:
        user_id = await _whose(session, caller, user)
        rows = await user_keys.listed(session, user_id)
    return answer([_view(row, resources.settings.allow_byok) for row in rows])


@router.put(
    "/{user}/ai-provider-keys/{ai_provider}",
    response_model=UserProviderKey,
    responses=raises(Invalid, Forbidden, NotFound, Precondition),
    openapi_extra=REQUIRED,
    summary="Set a user's own provider key",
)
async def set_user_provider_key(
    user: str,
    ai_provider: str,
    body: Annotated[Unread[SetUserProviderKey], body(SetUserProviderKey)],
    caller: AccountHolder,
    resources: Opened,
    request: Request,
) -> Response:
    """From their chats' next step on it goes before the provider's own keys. Encrypted at rest, never shown again."""
    async with resources.database.begin() as session:
        user_id = await _whose(session, caller, user)
        if not resources.settings.allow_byok:
            raise Forbidden("BYOK is disabled.")
        provider = await user_keys.provider(session, user_id, _id(ai_provider))
        if not provider["enabled"]:
            raise Precondition("AI provider is disabled.")
        if not provider["allow_user_api_key"]:
            raise Invalid("AI provider does not allow user API keys.")
        key = _accepted(body.read().api_key)
        await user_keys.put(
            session, resources.cipher, user_id, provider, key, by=caller.user_id, request_id=_request_id(request)
        )
    return answer(_view({**provider, "has_user_api_key": True}, byok=True))


@router.delete(
    "/{user}/ai-provider-keys/{ai_provider}",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, NotFound),
    summary="Delete a user's own provider key",
)
async def delete_user_provider_key(
    user: str, ai_provider: str, caller: AccountHolder, resources: Opened, request: Request
) -> Response:
    """Their chats use the provider's own keys again. Deleting what is not there is fine."""
    async with resources.database.begin() as session:
        user_id = await _whose(session, caller, user)
        await user_keys.delete(session, user_id, _id(ai_provider), by=caller.user_id, request_id=_request_id(request))
    return nothing()


async def _whose(session: Session, caller: Principal, user: str) -> UUID:
    """The user's id; raises NotFound or Forbidden unless the caller may act as them."""
    if user == "me":
        return caller.user_id
    row = await people.get(session, accounts.named(caller, user))
    await accounts.require_identity_of(session, caller, row)
    user_id: UUID = row["id"]
    return user_id


def _id(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError as wrong:
        raise Invalid("Invalid AI provider ID.", str(wrong)) from None


def _accepted(key: str) -> str:
    """The key, if it can be sent to a provider; raises Invalid."""
    if len(key.encode()) > LONGEST_KEY:
        detail = f"API key exceeds maximum size of {LONGEST_KEY // 1024} KB ({LONGEST_KEY} bytes)"
        raise Invalid("API key too large.", detail)
    if not key.strip():
        raise Invalid("API key is required.")
    if key != key.strip():
        raise Invalid("API key must not contain leading or trailing whitespace.")
    if not (key.isascii() and key.isprintable()):
        raise Invalid("API key must be printable ASCII.")
    return key


def _request_id(request: Request) -> str:
    given: str = request.scope["state"]["request_id"]
    return given


def _view(row: Row, byok: bool) -> dict[str, Any]:
    summary = {name: row[name] for name in ("id", "type", "name", "display_name", "enabled", "deleted")}
    facts = {name: row[name] for name in ("has_user_api_key", "has_provider_api_key")}
    return {"provider": summary, **facts, "byok_enabled": byok and row["allow_user_api_key"]}
