"""Budgets of an organization, its groups, members and chats; and where one stands in those that count oneself."""

from typing import Annotated, get_args
from uuid import UUID

from fastapi import Depends, Response

from api import accounts
from api.answers import answer, nothing
from api.caller import Caller
from api.errors import raises
from api.requests import Router
from api.resources import Opened
from api.schemas.budgets import Budget, BudgetPeriod, Scope, SetBudget
from models.errors import Forbidden, Invalid, NotFound, Validation
from models.principal import Principal
from models.store import budgets, deeds
from models.store.budgets import Terms

in_organization = Router(tags=["budgets"])
router = Router(tags=["budgets"])

MOST_WARNINGS = 10


Administered = Annotated[UUID, Depends(accounts.administered_organization)]


@router.get("/status", response_model=list[Budget], summary="Get one's own budgets")
async def get_budget_status(caller: Caller, resources: Opened) -> Response:
    """Those that count what the caller spends: of their organizations, of their groups there, and their own."""
    async with resources.database.read() as session:
        return answer(await budgets.of_person(session, caller))


@in_organization.get(
    "/{organization}/budgets",
    response_model=list[Budget],
    responses=raises(Forbidden, NotFound),
    summary="List an organization's budgets",
)
async def list_budgets(organization: Administered, resources: Opened) -> Response:
    """With where they stand in the period that runs, the widest first."""
    async with resources.database.read() as session:
        return answer(await budgets.listed(session, organization))


@in_organization.put(
    "/{organization}/budgets/{scope}/{subject}",
    response_model=Budget,
    responses=raises(Invalid, Forbidden, NotFound),
    summary="Set a budget",
)
async def put_budget(
    scope: Scope, subject: UUID, body: SetBudget, organization: Administered, caller: Caller, resources: Opened
) -> Response:
    """Before each model call its worst case must fit in every budget that counts it; calls from now on are counted.

    The organization's own budget is the deployment's owner's to set; no other of the same period may be above it.
    """
    _require_outer(caller, scope)
    terms = _terms(body)
    async with resources.database.begin() as session:
        deeds.was({"id": subject, "organization_id": organization})
        row = await budgets.put(session, organization, scope, subject, terms, by=caller.user_id)
    resources.principals.forget()
    return answer(row)


@in_organization.delete(
    "/{organization}/budgets/{scope}/{subject}",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound),
    summary="Delete a budget",
)
async def delete_budget(
    scope: Scope, subject: UUID, organization: Administered, caller: Caller, resources: Opened
) -> Response:
    """What it has counted is forgotten with it; the other budgets still hold."""
    _require_outer(caller, scope)
    async with resources.database.begin() as session:
        deeds.was({"id": subject, "organization_id": organization})
        await budgets.delete(session, organization, scope, subject)
    resources.principals.forget()
    return nothing()


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
