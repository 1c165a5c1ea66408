"""API tokens: made, listed and revoked by their user, revoked by admins."""

from datetime import timedelta

from fastapi import Response

from api import accounts
from api.answers import answer, nothing
from api.caller import AccountHolder
from api.errors import raises
from api.idempotency import OnlyOnce
from api.requests import Router
from api.resources import Opened
from api.schemas import views
from api.schemas.people import CreatedToken, CreateToken, TokenView
from models.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable, Validation
from models.store import deeds, people

router = Router(tags=["tokens"])

MADE = (
    "A token was made under this Idempotency-Key already.",
    "A token is shown once and not kept. If it was lost on its way, revoke it and create another one under a new key.",
)
SHORTEST = timedelta(minutes=1)


def _lifetime(nanoseconds: int | None) -> timedelta:
    if nanoseconds is None or nanoseconds == 0:
        return people.DEFAULT_LIFETIME
    if not SHORTEST.total_seconds() * 1e9 <= nanoseconds <= people.FOREVER.total_seconds() * 1e9:
        detail = f"Must be between {SHORTEST.seconds} seconds and {people.FOREVER.days} days, in nanoseconds."
        raise Invalid("Invalid token lifetime.", validations=[Validation("lifetime", detail)])
    return timedelta(microseconds=nanoseconds // 1000)


@router.post(
    "/{user}/keys/tokens",
    response_model=CreatedToken,
    status_code=201,
    responses=raises(Forbidden, NotFound, Conflict, Unprocessable),
    summary="Create an API token",
)
async def create_token(
    user: str, body: CreateToken, caller: AccountHolder, once: OnlyOnce, resources: Opened
) -> Response:
    """For oneself; owners for anybody, and for a service account who administers it. The token is shown this once.

    It is not kept for an `Idempotency-Key` either: the same request again makes no other token, and answers 409.
    """
    lifetime = _lifetime(body.lifetime)
    async with resources.database.begin() as session:
        await once.refuse_again(session, *MADE)
        row = await people.get(session, accounts.named(caller, user))
        await accounts.require_identity_of(session, caller, row)
        token_id, token = await people.create_token(
            session,
            row["id"],
            kind="token",
            lifetime=lifetime,
            name=body.token_name,
            scopes=tuple(dict.fromkeys(body.scopes)),
        )
        deeds.made({"id": row["id"], "name": token_id})
        await once.spend(session, 201)
    return answer({"key": token}, 201)


@router.get(
    "/{user}/keys/tokens",
    response_model=list[TokenView],
    responses=raises(Forbidden, NotFound),
    summary="List API tokens",
)
async def list_tokens(user: str, caller: AccountHolder, resources: Opened) -> Response:
    """Living ones, newest first, without their secrets."""
    async with resources.database.read() as session:
        row = await people.get(session, accounts.named(caller, user))
        await accounts.require_identity_of(session, caller, row)
        found = await people.tokens(session, row["id"])
    return answer([views.token(each) for each in found])


@router.delete(
    "/{user}/keys/{keyid}",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound),
    summary="Revoke a token",
)
async def delete_token(user: str, keyid: str, caller: AccountHolder, resources: Opened) -> Response:
    """It stops working at once, in every process."""
    async with resources.database.begin() as session:
        row = await people.get(session, accounts.named(caller, user))
        if row["is_service_account"]:
            await accounts.require_identity_of(session, caller, row)
        else:
            await accounts.require_account_of(session, caller, row)
        await people.delete_token(session, row["id"], keyid)
        deeds.was({"id": row["id"], "username": keyid})
    resources.principals.forget(keyid)
    return nothing()
