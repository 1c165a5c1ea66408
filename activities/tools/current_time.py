"""The tool `current_time`: models have no clock."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field

from activities.tools.endings import ToolFailed
from activities.tools.tool import EVERYWHERE, ToolContext, tool
from models.rules.executions import Policy


class Arguments(BaseModel):
    """Tell the current date and time. Call it whenever an answer depends on what time or day it is now."""

    timezone: str = Field(default="UTC", description="IANA name of a time zone, for example Europe/Berlin.")


@tool(policy=Policy.PURE, offered=EVERYWHERE, quick=True)
async def current_time(arguments: Arguments, _context: ToolContext) -> dict[str, Any]:
    try:
        zone = UTC if arguments.timezone == "UTC" else ZoneInfo(arguments.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolFailed(f"There is no time zone {arguments.timezone!r}.") from None
    now = datetime.now(zone)
    return {"time": now.isoformat(timespec="seconds"), "timezone": arguments.timezone, "weekday": now.strftime("%A")}
