"""The browsers of a person that are told by web push of the ends of their chats."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Response

from api import accounts
from api.answers import answer, nothing
from api.caller import AccountHolder
from api.errors import raises
from api.idempotency import OnlyOnce
from api.requests import Router
from api.resources import Opened
from api.schemas.webpush import DeleteWebpushSubscription, WebpushPublicKey, WebpushSubscription
from models.errors import Conflict, Forbidden, Invalid, NotFound, Precondition, Unprocessable
from models.rules import push as rules
from models.store import deeds, push

router = Router(tags=["notifications"])
key = Router(tags=["notifications"])


async def _oneself(user: str, caller: AccountHolder) -> UUID:
    """A browser shows what is its owner's: nobody has browsers in somebody else's name."""
    if accounts.named(caller, user) not in (caller.user_id, caller.username, str(caller.user_id)):
        raise NotFound
    return caller.user_id


Oneself = Annotated[UUID, Depends(_oneself)]


@key.get(
    "/webpush/public-key",
    response_model=WebpushPublicKey,
    responses=raises(Forbidden, Precondition),
    summary="Get the key that browsers subscribe with",
)
async def get_webpush_public_key(_caller: AccountHolder, resources: Opened) -> Response:
    """It never changes: browsers are bound to it."""
    return answer({"public_key": await resources.push_key.public()})


@router.post(
    "/{user}/webpush/subscription",
    status_code=204,
    responses=raises(Invalid, Forbidden, NotFound, Conflict, Precondition, Unprocessable),
    summary="Have one's browser told of the ends of chats",
)
async def create_webpush_subscription(
    user_id: Oneself, body: WebpushSubscription, once: OnlyOnce, resources: Opened
) -> Response:
    """A browser is told of one person's chats, the last who subscribed it. Of more than 20 the oldest goes."""
    insecure = resources.settings.webhooks_allow_private
    rules.check(body.endpoint, body.p256dh_key, body.auth_key, insecure=insecure)
    await resources.push_key.public()
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = await push.subscribe(
            session,
            resources.cipher,
            user_id,
            endpoint=body.endpoint,
            p256dh_key=body.p256dh_key,
            auth_key=body.auth_key,
        )
        deeds.made(row)
        return await once.keep(session, nothing())


@router.delete(
    "/{user}/webpush/subscription",
    status_code=204,
    responses=raises(Invalid, Forbidden, NotFound),
    summary="Have one's browser told no more",
)
async def delete_webpush_subscription(user_id: Oneself, body: DeleteWebpushSubscription, resources: Opened) -> Response:
    """What is on its way does not arrive any more."""
    async with resources.database.begin() as session:
        deeds.was(await push.unsubscribe(session, user_id, body.endpoint))
    return nothing()


@router.post(
    "/{user}/webpush/test",
    status_code=204,
    responses=raises(Forbidden, NotFound, Conflict, Unprocessable),
    summary="Tell one's browsers something",
)
async def test_webpush(user_id: Oneself, once: OnlyOnce, resources: Opened) -> Response:
    """Each of them, once it can be reached; none is no error."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        await push.test(session, user_id)
        return await once.keep(session, nothing())
