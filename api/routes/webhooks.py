"""Webhooks of a person, and of an organization for its admins: the same routes for each kind of holder."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Response

from api import accounts
from api.answers import answer, nothing
from api.caller import AccountHolder, Caller
from api.errors import raises
from api.idempotency import OnlyOnce
from api.parameters import Count, MessageCursor, RowId, row_id
from api.requests import Router
from api.resources import Opened, Resources
from api.schemas.webhooks import (
    CreateWebhook,
    UpdateWebhook,
    Webhook,
    WebhookDeliveries,
    WebhookDelivery,
    WebhookWithSecret,
)
from models.errors import Conflict, Forbidden, Invalid, NotFound, Precondition, Unprocessable, Validation
from models.rules import webhooks as rules
from models.steps import DeliveryRequest
from models.store import deeds, webhooks
from models.store.database import Row
from models.store.webhooks import Holder

router = Router(tags=["webhooks"])
in_organization = Router(tags=["webhooks"])

PAGE, MOST = 50, 200
_AGAIN = ("The webhook was made already.", "Its secret was shown with the first answer, and is not shown again.")


async def _oneself(caller: AccountHolder) -> Holder:
    return Holder(user_id=caller.user_id)


async def _organization(organization: Annotated[UUID, Depends(accounts.administered_organization)]) -> Holder:
    return Holder(organization_id=organization)


def _declare(router: Router, path: str, name: str, of: Callable[..., Awaitable[Holder]]) -> None:
    """The routes of endpoints below `path`, for what `of` finds to be the holder."""
    refused = (Forbidden, NotFound) if of is _organization else (Forbidden,)
    noun, whose = f"{name}webhook", "an organization's" if of is _organization else "one's own"

    @router.get(
        path,
        response_model=list[Webhook],
        responses=raises(*refused),
        name=f"list_{noun}s",
        summary=f"List {whose} webhooks",
    )
    async def list_webhooks(holder: Annotated[Holder, Depends(of)], resources: Opened) -> Response:
        """Oldest first, without their secrets."""
        async with resources.database.read() as session:
            return answer([_view(row) for row in await webhooks.listed(session, holder)])

    @router.post(
        path,
        response_model=WebhookWithSecret,
        status_code=201,
        responses=raises(*refused, Conflict, Precondition, Unprocessable),
        name=f"create_{noun}",
        summary=f"Create one of {whose} webhooks",
    )
    async def create_webhook(
        body: CreateWebhook,
        holder: Annotated[Holder, Depends(of)],
        caller: Caller,
        once: OnlyOnce,
        resources: Opened,
    ) -> Response:
        """The secret that its messages are signed with is in this answer and in no other.

        It is told of what begins after this answer; of what was going on it may be told or not.
        """
        rules.check(body.url, body.events, body.description)
        secret = rules.new_secret(secrets.token_bytes(rules.SECRET_BYTES))
        async with resources.database.begin() as session:
            await once.refuse_again(session, *_AGAIN)
            row = await webhooks.create(
                session,
                holder,
                url=body.url,
                description=body.description,
                events=list(dict.fromkeys(body.events)),
                secret=resources.cipher.encrypt(secret),
                by=caller.user_id,
            )
            deeds.made(row)
            await once.spend(session, 201)
        return answer(_view(row) | {"secret": secret}, 201)

    @router.get(
        f"{path}/{{webhook}}",
        response_model=Webhook,
        responses=raises(*refused, NotFound),
        name=f"get_{noun}",
        summary=f"Get one of {whose} webhooks",
    )
    async def get_webhook(webhook: UUID, holder: Annotated[Holder, Depends(of)], resources: Opened) -> Response:
        """Without its secret."""
        async with resources.database.read() as session:
            return answer(_view(await webhooks.get(session, holder, webhook)))

    @router.patch(
        f"{path}/{{webhook}}",
        response_model=Webhook,
        responses=raises(*refused, NotFound, Conflict, Unprocessable),
        name=f"update_{noun}",
        summary=f"Change one of {whose} webhooks",
    )
    async def update_webhook(
        webhook: UUID,
        body: UpdateWebhook,
        holder: Annotated[Holder, Depends(of)],
        once: OnlyOnce,
        resources: Opened,
    ) -> Response:
        """What is on its way goes to the new URL."""
        rules.check(body.url, body.events, body.description)
        async with resources.database.begin() as session:
            earlier = await once.replay(session)
            if earlier is not None:
                return earlier
            row = await webhooks.change(session, holder, webhook, body.model_dump(exclude_none=True))
            return await once.keep(session, answer(_view(row)))

    @router.delete(
        f"{path}/{{webhook}}",
        status_code=204,
        responses=raises(*refused, NotFound),
        name=f"delete_{noun}",
        summary=f"Delete one of {whose} webhooks",
    )
    async def delete_webhook(webhook: UUID, holder: Annotated[Holder, Depends(of)], resources: Opened) -> Response:
        """With its log; what is on its way does not arrive any more."""
        async with resources.database.begin() as session:
            await webhooks.delete(session, holder, webhook)
        return nothing()

    @router.post(
        f"{path}/{{webhook}}/rotate-secret",
        response_model=WebhookWithSecret,
        responses=raises(*refused, NotFound, Conflict, Precondition, Unprocessable),
        name=f"rotate_{noun}_secret",
        summary="Give a webhook a new secret",
    )
    async def rotate_secret(
        webhook: UUID, holder: Annotated[Holder, Depends(of)], once: OnlyOnce, resources: Opened
    ) -> Response:
        """For a day, messages are signed with the old one as well."""
        secret = rules.new_secret(secrets.token_bytes(rules.SECRET_BYTES))
        async with resources.database.begin() as session:
            await once.refuse_again(session, *_AGAIN)
            row = await webhooks.rotate(session, holder, webhook, resources.cipher.encrypt(secret))
            await once.spend(session, 200)
        return answer(_view(row) | {"secret": secret})


def _declare_log(router: Router, path: str, name: str, of: Callable[..., Awaitable[Holder]]) -> None:
    """The routes of what is sent to them."""
    refused = (Forbidden, NotFound) if of is _organization else (Forbidden,)
    noun = f"{name}webhook"

    @router.post(
        f"{path}/{{webhook}}/test",
        response_model=WebhookDelivery,
        status_code=202,
        responses=raises(*refused, NotFound, Conflict, Unprocessable),
        name=f"test_{noun}",
        summary="Send a webhook a test event",
    )
    async def send_test(
        webhook: UUID, holder: Annotated[Holder, Depends(of)], once: OnlyOnce, resources: Opened
    ) -> Response:
        """`webhook.test`, once, also while the webhook is disabled; the log says what came of it."""
        async with resources.database.begin() as session:
            earlier = await once.replay(session)
            if earlier is not None:
                return earlier
            await webhooks.get(session, holder, webhook)
            row = await webhooks.test(session, webhook)
            response = await once.keep(session, answer(_logged(row), 202))
        _begin(resources, row)
        return response

    @router.get(
        f"{path}/{{webhook}}/deliveries",
        response_model=WebhookDeliveries,
        responses=raises(*refused, Invalid, NotFound),
        name=f"list_{noun}_deliveries",
        summary="List what a webhook was sent",
    )
    async def list_deliveries(
        webhook: UUID,
        holder: Annotated[Holder, Depends(of)],
        resources: Opened,
        before_id: MessageCursor = None,
        limit: Annotated[Count, Query(description="1 to 200; absent means 50.")] = None,
    ) -> Response:
        """Newest first; kept for 30 days."""
        size = PAGE if limit is None else limit
        if not 1 <= size <= MOST:
            raise Invalid(
                "Query parameters have invalid values.",
                validations=[Validation("limit", f"must be between 1 and {MOST}")],
            )
        async with resources.database.read() as session:
            await webhooks.get(session, holder, webhook)
            rows = await webhooks.deliveries(session, webhook, before=before_id, limit=size + 1)
        return answer({"deliveries": [_logged(row) for row in rows[:size]], "has_more": len(rows) > size})

    @router.post(
        f"{path}/{{webhook}}/deliveries/{{delivery}}/replay",
        response_model=WebhookDelivery,
        status_code=202,
        responses=raises(*refused, Invalid, NotFound, Conflict, Unprocessable),
        name=f"replay_{noun}_delivery",
        summary="Send an event again",
    )
    async def replay_delivery(
        webhook: UUID,
        delivery: RowId,
        holder: Annotated[Holder, Depends(of)],
        once: OnlyOnce,
        resources: Opened,
    ) -> Response:
        """Under the same message id, with all attempts anew."""
        number = row_id(delivery, "Invalid delivery ID.")
        async with resources.database.begin() as session:
            earlier = await once.replay(session)
            if earlier is not None:
                return earlier
            await webhooks.get(session, holder, webhook)
            row = await webhooks.replay(session, webhook, number)
            response = await once.keep(session, answer(_logged(row), 202))
        _begin(resources, row)
        return response


for declare in (_declare, _declare_log):
    declare(router, "", "", _oneself)
    declare(in_organization, "/{organization}/webhooks", "organization_", _organization)


def _begin(resources: Resources, row: Row) -> None:
    """Send it on its way now; the sweep finds it if that fails."""
    request = DeliveryRequest(row["endpoint_id"], row["id"])
    resources.errands.start(resources.temporal.deliver(request, afresh=True))


def _view(row: Row) -> dict[str, Any]:
    absent = {name for name in ("organization_id", "failing_since") if row[name] is None} | {"user_id"}
    return {name: value for name, value in row.items() if name not in absent}


def _logged(row: Row) -> dict[str, Any]:
    shown = {
        "id": row["id"],
        "webhook_id": row["endpoint_id"],
        "message_id": rules.message_id(row["endpoint_id"], row["id"]),
        "event": row["event"],
        "chat_id": row["chat_id"],
        "status": row["status"],
        "attempts": row["attempts"],
        "next_attempt_at": row["due_at"] if row["status"] == "pending" else None,
        "status_code": row["status_code"],
        "error": row["error"],
        "response": row["response"],
        "payload": rules.message(row),
        "created_at": row["created_at"],
        "finished_at": row["finished_at"],
    }
    return {name: value for name, value in shown.items() if value is not None}
