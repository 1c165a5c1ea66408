"""What a sub-agent does at the desktop while it is waited for, as a film: kept where it ended well."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from activities.tools.endings import ToolFailed, ToolUnknown
from activities.tools.tool import ToolContext
from models.rules.computer import MODE

BUDGET = timedelta(seconds=90)  # for the end of a film, until it is kept

log = logging.getLogger(__name__)


async def begun(context: ToolContext, child: Mapping[str, Any]) -> dict[str, str]:
    """What the wait has to remember of the film, which begins with it; nothing without one. A film is never needed."""
    if child["mode"] != MODE:
        return {}
    if "film" in context.memory:
        return {"film": context.memory["film"]}
    try:
        told = await context.ask("record_start", {}, part="film")
    except (ToolFailed, ToolUnknown) as why:
        log.info("chat %s: sub-agent %s is not filmed: %s", context.chat_id, child["id"], why)
        return {"film": ""}
    return {"film": str(told.get("recording") or "")}


async def ended(context: ToolContext, child: Mapping[str, Any], *, keep: bool) -> dict[str, str]:
    """The ids of the film and of a small picture of its end, where it was to be kept and could be."""
    film = context.memory.get("film")
    if not film:
        return {}
    request = {"recording": film, "store": keep, "name": f"recording-{str(child['id'])[:8]}"}
    try:
        async with asyncio.timeout(BUDGET.total_seconds()), context.place.films:
            told = await context.ask("record_stop", request, part="end of film", patience=BUDGET)
    except (ToolFailed, ToolUnknown, TimeoutError) as why:
        log.info("chat %s: the film of sub-agent %s was not kept: %s", context.chat_id, child["id"], why)
        return {}
    kept = {"recording_file_id": told.get("file"), "thumbnail_file_id": told.get("thumbnail")}
    return {name: str(file["file_id"]) for name, file in kept.items() if isinstance(file, dict) and "file_id" in file}
