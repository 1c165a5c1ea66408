"""The audit log: for those who audit the deployment, and an organization's part of it for its admins and auditors."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from api import accounts
from api.answers import answer
from api.caller import Caller
from api.errors import raises
from api.parameters import Absent, Count
from api.requests import Router
from api.resources import Opened
from api.schemas.audit import AuditLogs, view
from models.errors import Forbidden, Invalid
from models.rules import audit_search
from models.store import trail

router = Router(tags=["audit"])

PAGE, MOST = 50, 1000
Q = f"""\
Terms `key:value`, all of which must hold; a value with a space or a colon is put in double quotes.
Keys: {", ".join(f"`{each}`" for each in audit_search.KEYS)}; dates are days in UTC, both included.
"""


@router.get("", response_model=AuditLogs, responses=raises(Invalid, Forbidden), summary="Read the audit log")
async def list_audit_logs(
    caller: Caller,
    resources: Opened,
    q: Annotated[str, Query(description=Q, examples=["resource_type:chat action:create"])] = "",
    limit: Annotated[Count, Query(description=f"0 to {MOST}; 0 or absent means {PAGE}.")] = None,
    offset: Annotated[Count, Query()] = None,
    after_id: Annotated[UUID | None, Absent, Query(description="The last entry of the page before.")] = None,
) -> Response:
    """Newest first. Those of an organization see what belongs to it; the rest is for auditors of the deployment."""
    where = accounts.audited(caller)
    if where is not None and not where:
        raise Forbidden
    if (limit or 0) > MOST:
        raise Invalid(f"Invalid limit parameter (0-{MOST}).")
    asked = audit_search.parse(q)
    async with resources.database.read() as session:
        rows, count = await trail.entries(
            session, asked, organizations=where, limit=limit or PAGE, offset=offset or 0, after_id=after_id
        )
    return answer({"audit_logs": [view(row) for row in rows], "count": count})
