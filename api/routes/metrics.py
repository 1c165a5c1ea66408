"""What the process counts, for Prometheus to fetch."""

from contextlib import suppress

from starlette.responses import Response

from api.requests import Router
from api.resources import Opened
from models.store import standing

router = Router(tags=["health"])

TEXT = "text/plain; version=0.0.4; charset=utf-8"


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    summary="Meters, for Prometheus",
)
async def metrics(resources: Opened) -> Response:
    """Needs no token and names nobody: put it behind your proxy. Without the database, its backlog is as it was."""
    meters = resources.meters
    if meters.stale:
        with suppress(Exception):  # whatever keeps us from the database, the other meters are worth telling
            async with resources.database.read() as session:
                meters.saw(await standing.backlog(session))
    meters.streams.set(resources.live.watchers)
    meters.watched.set(resources.live.feeds)
    return Response(meters.exposition(), media_type=TEXT)
