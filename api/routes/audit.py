"""The audit log: for those who audit the deployment, and an organization's part of it for its admins and auditors."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from starlette.responses import Response, StreamingResponse

from api import accounts
from api.answers import answer, encode
from api.caller import Caller, DeploymentReader
from api.errors import raises
from api.parameters import Absent, Count
from api.requests import Router
from api.resources import Opened
from api.schemas.audit import AuditLogs, ChainLine, ExportedEntry, view
from models.errors import Forbidden, Invalid
from models.principal import Principal
from models.rules import audit_search
from models.store import seals, trail

router = Router(tags=["audit"])

PAGE, MOST = 50, 1000
Q = f"""\
Terms `key:value`, all of which must hold; a value with a space or a colon is put in double quotes.
Keys: {", ".join(f"`{each}`" for each in audit_search.KEYS)}; dates are days in UTC, both included.
"""


EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One JSON object a line.",
        "content": {"application/x-ndjson": {"schema": {"$ref": "#/components/schemas/ExportedEntry"}}},
    }
}
CHAINED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One JSON object a line.",
        "content": {"application/x-ndjson": {"schema": {"$ref": "#/components/schemas/ChainLine"}}},
    }
}


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
    where = _audited(caller)
    if (limit or 0) > MOST:
        raise Invalid(f"Invalid limit parameter (0-{MOST}).")
    asked = audit_search.parse(q)
    async with resources.database.read() as session:
        rows, count = await trail.entries(
            session, asked, organizations=where, limit=limit or PAGE, offset=offset or 0, after_id=after_id
        )
    return answer({"audit_logs": [view(row) for row in rows], "count": count})


@router.get(
    "/export",
    response_model=ExportedEntry,
    responses=raises(Invalid, Forbidden) | EXPORTED,
    summary="Export the audit log",
)
async def export_audit_logs(
    caller: Caller, resources: Opened, q: Annotated[str, Query(description=Q, examples=["action:login"])] = ""
) -> Response:
    """All that is found, oldest first, a JSON object a line. A line that is not whole means that it broke off."""
    where, asked = _audited(caller), audit_search.parse(q)

    async def pages() -> AsyncIterator[list[dict[str, Any]]]:
        after: tuple[datetime, UUID] | None = None
        while True:
            async with resources.database.read() as session:
                found, after = await trail.exported(session, asked, organizations=where, after=after, limit=seals.BATCH)
            yield found
            if after is None:
                return

    return _lines(pages(), "audit.jsonl")


@router.get(
    "/chain",
    response_model=ChainLine,
    responses=raises(Forbidden) | CHAINED,
    summary="Get the audit log's chain",
)
async def get_audit_chain(caller: DeploymentReader, resources: Opened) -> Response:
    """All that it takes to verify the log without believing us: each hash and what it covers, in order.

    The hash at a place is SHA-256 of the 32 bytes of the hash before and the entry as JSON with sorted keys, without
    spaces, in ASCII; 32 zero bytes come before the first. `turnstone audit verify` reads this.
    """

    async def pages() -> AsyncIterator[list[dict[str, Any]]]:
        async with resources.database.read() as session:
            mark = await seals.mark(session)
        yield [{"kind": "begin", **_ends(mark), "head_time": mark.time, "head_id": mark.entry_id}]
        place = mark.cut_position
        while place < mark.position:
            async with resources.database.read() as session:
                found = await seals.links(session, place, mark.position)
            if not found:
                break
            place = found[-1]["position"]
            yield [{"kind": "seal", **each} for each in found]
        after: tuple[datetime, UUID] | None = (datetime.min.replace(tzinfo=UTC), UUID(int=0))
        while after is not None:
            async with resources.database.read() as session:
                found, after = await seals.unsealed(session, after)
            yield [{"kind": "entry", **each} for each in found]
        async with resources.database.read() as session:
            yield [{"kind": "end", **_ends(await seals.mark(session))}]

    return _lines(pages(), "audit-chain.jsonl")


def _audited(caller: Principal) -> list[UUID] | None:
    where = accounts.audited(caller)
    if where is not None and not where:
        raise Forbidden
    return where


def _ends(mark: seals.Mark) -> dict[str, Any]:
    return {
        "cut": {"position": mark.cut_position, "hash": mark.cut_hash},
        "head": {"position": mark.position, "hash": mark.hash},
    }


def _lines(pages: AsyncIterator[list[dict[str, Any]]], name: str) -> Response:
    """A page is in memory at a time, and read when the one before it has left."""

    async def body() -> AsyncIterator[bytes]:
        async for page in pages:
            if page:
                yield b"".join(encode(each) + b"\n" for each in page)

    return StreamingResponse(
        body(),
        media_type="application/x-ndjson",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )
