"""What chats cost: one of them, a person's, everybody's."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from api import accounts, reports
from api.answers import answer
from api.caller import Caller
from api.errors import raises
from api.requests import Router
from api.resources import Opened
from api.schemas.cost import ChatCost, CostSummary, CostUsers, status
from models.errors import Forbidden, Invalid, NotFound
from models.principal import Principal, Scope
from models.store import chats, limits, people, usage

router = Router(tags=["cost"])

# Documented here and read by `reports.read`, which names all mistakes at once.
Moment = Annotated[str, Query(description="RFC 3339", examples=["2026-05-01T00:00:00Z"])]
Number = Annotated[str, Query(examples=["10"])]


@router.get(
    "/cost/users", response_model=CostUsers, responses=raises(Invalid, Forbidden), summary="Report everybody's usage"
)
async def list_cost_of_users(
    caller: Caller,
    resources: Opened,
    request: Request,
    start_date: Moment = "",
    end_date: Moment = "",
    username: Annotated[str, Query(description="part of a username or name")] = "",
    limit: Number = "",
    offset: Number = "",
) -> Response:
    """People with usage in the last 30 days, or from `start_date` to just before `end_date`; dearest first."""
    if not _reads_all(caller):
        raise Forbidden
    asked = reports.read(request.query_params, now=datetime.now(UTC), paged=True)
    async with resources.database.read() as session:
        rows, count = await usage.of_everybody(session, asked.start, asked.end, asked.page)
    return answer({"start_date": asked.start, "end_date": asked.end, "count": count, "users": rows})


@router.get(
    "/cost/{user}/summary",
    response_model=CostSummary,
    responses=raises(Invalid, Forbidden, NotFound),
    summary="Report a person's usage",
)
async def get_cost_summary(
    user: str,
    caller: Caller,
    resources: Opened,
    request: Request,
    start_date: Moment = "",
    end_date: Moment = "",
) -> Response:
    """One's own, or anybody's for owners of the deployment: totals, by model and by root chat."""
    async with resources.database.read() as session:
        row = accounts.require_readable(caller, await people.get(session, accounts.named(caller, user)))
        if not _reads_all(caller) and not (row["id"] == caller.user_id and caller.has_scope(Scope.CHAT_READ)):
            raise Forbidden
        asked = reports.read(request.query_params, now=datetime.now(UTC))
        report = await usage.of_person(session, row["id"], asked.start, asked.end)
        standing = await limits.standing(session, row["id"])
    shown = {"start_date": asked.start, "end_date": asked.end, **report}
    return answer(shown if standing is None else {**shown, "usage_limit": status(standing)})


@router.get("/{chat}/cost", response_model=ChatCost, responses=raises(NotFound), summary="Get the cost of a chat")
async def get_chat_cost(chat: UUID, caller: Caller, resources: Opened) -> Response:
    """Of its whole family: a chat below a root has the root's figures. What was edited away still counts."""
    async with resources.database.read() as session:
        row = await chats.load(session, caller, chat)
        return answer(await usage.of_chat(session, row["root_chat_id"] or row["parent_chat_id"] or chat))


def _reads_all(caller: Principal) -> bool:
    return caller.is_owner and caller.has_scope(Scope.CHAT_READ)
