"""Login sessions: listed and ended by their user, and by whoever administers them. Open streams end with them."""

from fastapi import Response

from api import accounts
from api.answers import answer, nothing
from api.author import By
from api.caller import AccountHolder
from api.errors import raises
from api.requests import Router
from api.resources import Opened
from api.schemas import views
from api.schemas.people import SessionView
from models.errors import Forbidden, NotFound
from models.store import audit, people, sessions
from models.store.audit import Author
from models.store.database import Row
from models.store.session import Session

router = Router(tags=["tokens"])


@router.get(
    "/{user}/sessions",
    response_model=list[SessionView],
    responses=raises(Forbidden, NotFound),
    summary="List login sessions",
)
async def list_sessions(user: str, caller: AccountHolder, resources: Opened) -> Response:
    """Living ones, the one used last first, and where each was begun."""
    async with resources.database.read() as session:
        row = await people.get(session, accounts.named(caller, user))
        await accounts.require_account_of(session, caller, row)
        found = await sessions.of_user(session, row["id"])
    return answer([views.session(each, caller.token_id) for each in found])


@router.delete(
    "/{user}/sessions",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound),
    summary="Sign out everywhere",
)
async def end_all_sessions(user: str, caller: AccountHolder, by: By, resources: Opened) -> Response:
    """All of a user's sessions but the one that asks. API tokens stay."""
    async with resources.database.begin() as session:
        row = await people.get(session, accounts.named(caller, user))
        await accounts.require_account_of(session, caller, row)
        await people.end_sessions(session, row["id"], keep=caller.token_id)
        _tell(session, row, by)
    resources.principals.forget(str(row["id"]))
    return nothing()


@router.delete(
    "/{user}/sessions/{session}",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound),
    summary="End a login session",
)
async def end_session(user: str, session: str, caller: AccountHolder, by: By, resources: Opened) -> Response:
    """It is over at once, in every process."""
    async with resources.database.begin() as transaction:
        row = await people.get(transaction, accounts.named(caller, user))
        await accounts.require_account_of(transaction, caller, row)
        await sessions.end(transaction, row["id"], session)
        _tell(transaction, row, by, session_id=session)
    resources.principals.forget(session)
    return nothing()


def _tell(session: Session, row: Row, by: Author, **details: str) -> None:
    audit.record(
        session,
        action="logout",
        resource_type="user",
        resource_id=row["id"],
        target=row["username"],
        user_id=by.user_id,
        details=details,
        status_code=204,
        request_id=by.request_id,
    )
