"""What came out of chats, for those who answer for the deployment."""

from datetime import UTC, datetime

from fastapi import Request, Response

from api import reports
from api.answers import answer
from api.caller import DeploymentReader
from api.errors import raises
from api.requests import Router
from api.resources import Opened
from api.routes.cost import Moment
from api.schemas.insights import PRInsights
from models.errors import Forbidden, Invalid
from models.store import insights

router = Router(tags=["cost"])


@router.get(
    "/insights/pull-requests",
    response_model=PRInsights,
    responses=raises(Invalid, Forbidden),
    summary="Report pull requests",
)
async def get_pull_request_insights(
    caller: DeploymentReader, resources: Opened, request: Request, start_date: Moment = "", end_date: Moment = ""
) -> Response:
    """Of the chats that were created in the last 30 days, or from `start_date` to just before `end_date`."""
    asked = reports.read(request.query_params, now=datetime.now(UTC))
    async with resources.database.read() as session:
        return answer(await insights.of_pull_requests(session, asked.start, asked.end))
