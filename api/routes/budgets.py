"""Budgets of an organization, its groups, members and chats; and where one stands in those that count oneself."""

from collections.abc import Sequence
from typing import Annotated, Any, get_args
from uuid import UUID

from fastapi import Depends, Query, Response

from api import accounts
from api.answers import answer, nothing
from api.caller import Caller, DeploymentReader
from api.errors import raises
from api.etags import Expected, tag_of
from api.requests import Router
from api.resources import Opened
from api.schemas.budgets import Budget, BudgetPeriod, Scope, SetBudget
from models.errors import Forbidden, Invalid, NotFound, Stale, Validation
from models.principal import Principal
from models.store import budgets, deeds
from models.store.budgets import Terms
from models.store.database import Row
from models.store.session import Session

in_organization = Router(tags=["budgets"])
router = Router(tags=["budgets"])

MOST_WARNINGS = 10
TAGGED: dict[int | str, dict[str, Any]] = {
    200: {"headers": {"ETag": {"description": "Names what the budget allows.", "schema": {"type": "string"}}}}
}


Administered = Annotated[UUID, Depends(accounts.administered_organization)]


@router.get("/status", response_model=list[Budget], summary="Get one's own budgets")
async def get_budget_status(caller: Caller, resources: Opened) -> Response:
    """Those that count what the caller spends: of their organizations, of their groups there, and their own."""
    async with resources.database.read() as session:
        return _all(await budgets.of_person(session, caller))


@router.get(
    "", response_model=list[Budget], responses=raises(Forbidden), summary="List the budgets of all organizations"
)
async def list_all_budgets(
    caller: DeploymentReader,
    resources: Opened,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> Response:
    """For the deployment's owners and auditors: one organization after another, each one's widest first."""
    async with resources.database.read() as session:
        return _all(await budgets.everywhere(session, limit=limit, offset=offset))


@in_organization.get(
    "/{organization}/budgets",
    response_model=list[Budget],
    responses=raises(Forbidden, NotFound),
    summary="List an organization's budgets",
)
async def list_budgets(organization: Administered, resources: Opened) -> Response:
    """With where they stand in the period that runs, the widest first."""
    async with resources.database.read() as session:
        return _all(await budgets.listed(session, organization))


@in_organization.get(
    "/{organization}/budgets/{scope}/{subject}",
    response_model=Budget,
    responses=raises(Forbidden, NotFound) | TAGGED,
    summary="Get a budget",
)
async def get_budget(scope: Scope, subject: UUID, organization: Administered, resources: Opened) -> Response:
    """With where it stands. Its ETag names what it allows, not what is spent: it is for `If-Match`."""
    async with resources.database.read() as session:
        return _one(await budgets.get(session, organization, scope, subject))


@in_organization.put(
    "/{organization}/budgets/{scope}/{subject}",
    response_model=Budget,
    responses=raises(Invalid, Forbidden, NotFound, Stale),
    summary="Set a budget",
)
async def put_budget(
    scope: Scope,
    subject: UUID,
    body: SetBudget,
    organization: Administered,
    caller: Caller,
    expected: Expected,
    resources: Opened,
) -> Response:
    """Before each model call its worst case must fit in every budget that counts it; calls from now on are counted.

    The organization's own budget is the deployment's owner's to set; no other of the same period may be above it.
    """
    _require_outer(caller, scope)
    terms = _terms(body)
    async with resources.database.begin() as session:
        await _before(session, expected, organization, scope, subject)
        deeds.asks(body.model_dump())
        row = await budgets.put(session, organization, scope, subject, terms, by=caller.user_id)
    resources.principals.forget()
    return _one(row)


@in_organization.delete(
    "/{organization}/budgets/{scope}/{subject}",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound, Stale),
    summary="Delete a budget",
)
async def delete_budget(
    scope: Scope, subject: UUID, organization: Administered, caller: Caller, expected: Expected, resources: Opened
) -> Response:
    """What it has counted is forgotten with it; the other budgets still hold."""
    _require_outer(caller, scope)
    async with resources.database.begin() as session:
        await _before(session, expected, organization, scope, subject)
        await budgets.delete(session, organization, scope, subject)
    resources.principals.forget()
    return nothing()


async def _before(session: Session, expected: Expected, organization: UUID, scope: str, subject: UUID) -> None:
    """Hold the budget as it is, for the audit log; raises Stale if it is not as the caller has seen it."""
    had = await budgets.terms(session, organization, scope, subject)
    deeds.was({**(had or {}), "id": subject, "organization_id": organization})
    expected.require(_tag(had) if had else None)


def _tag(row: Row) -> str:
    return tag_of({name: row[name] for name in ("id", "limit_micros", "period", "warn_percents")})


def _shown(row: Row) -> dict[str, Any]:
    return {**row, "etag": _tag(row)}


def _all(rows: Sequence[Row]) -> Response:
    return answer([_shown(row) for row in rows])


def _one(row: Row) -> Response:
    response = answer(_shown(row))
    response.headers["ETag"] = _tag(row)
    return response


def _require_outer(caller: Principal, scope: str) -> None:
    if scope == "organization" and not caller.may_update_deployment():
        raise Forbidden


def _terms(body: SetBudget) -> Terms:
    wrong = []
    if body.limit_micros <= 0:
        wrong.append(Validation("limit_micros", "must be greater than 0"))
    if body.period not in (known := get_args(BudgetPeriod)):
        wrong.append(Validation("period", f"must be one of: {', '.join(known)}"))
    percents = body.warn_percents
    if len(percents) > MOST_WARNINGS or not all(1 <= percent <= 100 for percent in percents):
        wrong.append(Validation("warn_percents", f"must be at most {MOST_WARNINGS} numbers from 1 to 100"))
    if wrong:
        raise Invalid("Invalid budget.", validations=wrong)
    return Terms(body.limit_micros, body.period, percents)
