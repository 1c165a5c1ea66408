"""Is the process alive, and can it do its work?"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from functools import cache

from fastapi import Response
from pydantic import BaseModel, Field

from api.answers import answer
from api.requests import Router
from api.resources import Opened, Resources
from models.store.database import fetch
from models.store.migrate import head

router = Router(tags=["health"])

PATIENCE = 2.0  # seconds a component may take
VERSION = "0.1.0"


class Alive(BaseModel):
    status: str


class Component(BaseModel):
    """One thing the process needs: well, or what is wrong with it."""

    ok: bool
    detail: str | None = None


class Readiness(BaseModel):
    ready: bool
    components: dict[str, Component]


class BuildInfo(BaseModel):
    version: str
    external_url: str
    dashboard_url: str
    webpush_public_key: str | None = Field(default=None, description="Absent where there is none, or nobody can tell.")


@router.get("/healthz", response_model=Alive, summary="Is the process alive?")
async def healthz() -> Response:
    """Says nothing of the database or Temporal: restarting this process would not help them."""
    return answer({"status": "ok"})


@router.get(
    "/readyz", response_model=Readiness, responses={503: {"model": Readiness}}, summary="Can the process do its work?"
)
async def readyz(resources: Opened) -> Response:
    """503 with the reasons when the database, its schema or Temporal is not as it should be."""
    database, temporal = await asyncio.gather(_check(_schema(resources)), _check(_temporal(resources)))
    components = {"database": database, "temporal": temporal}
    if database.ok:
        components["migrations"] = await _check(_migrations(resources))
    ready = all(component.ok for component in components.values())
    body = Readiness(ready=ready, components=components)
    return answer(body, 200 if ready else 503, None if ready else {"Retry-After": "2"})


@router.get("/api/v2/buildinfo", response_model=BuildInfo, summary="Which version is this?")
async def buildinfo(resources: Opened) -> Response:
    """The version of the service, the address clients should use, and the key that browsers subscribe with."""
    settings = resources.settings
    url = settings.public_url or f"http://{settings.host}:{settings.port}"
    told = {"version": VERSION, "external_url": url, "dashboard_url": url}
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            key = await resources.push_key.told()
        if key:
            told["webpush_public_key"] = key
    return answer(told)


async def _check(work: Awaitable[str]) -> Component:
    """Well if `work` comes back with no complaint in time. The reason is ours to give: no addresses, no passwords."""
    try:
        async with asyncio.timeout(PATIENCE):
            complaint = await work
    except TimeoutError:
        complaint = f"no answer within {PATIENCE:.0f} s"
    except Exception as wrong:
        complaint = f"not reachable ({type(wrong).__name__})"
    return Component(ok=not complaint, detail=complaint or None)


async def _schema(resources: Resources) -> str:
    async with resources.database.read() as session:
        await fetch(session, "SELECT 1")
    return ""


@cache
def _head() -> str:
    return head()


async def _migrations(resources: Resources) -> str:
    async with resources.database.read() as session:
        rows = await fetch(session, "SELECT version_num FROM alembic_version")
    found = rows[0]["version_num"] if rows else "none"
    return (
        "" if found == _head() else f"the schema is at {found}, this version needs {_head()}: run `turnstone migrate`"
    )


async def _temporal(resources: Resources) -> str:
    return "" if await resources.temporal.healthy() else "not reachable"
