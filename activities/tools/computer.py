"""The tool `computer`: what a person would do at the workspace's desktop, and a picture of what came of it."""

import base64
import binascii
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from activities.tools.endings import ToolFailed
from activities.tools.tool import Attached, Media, ToolContext, Where, tool
from models.parts import Part
from models.parts import file as file_part
from models.rules import computer as rules
from models.rules import computer_models, features
from models.rules.executions import Policy
from models.store import files, moves, preferences

PNG = "image/png"
NAME = "screenshot.png"
UNSEEN = "Done, but no picture of the screen could be taken."
UNKEPT = f"It was not attached to the chat, which has {files.MAX_LINKS} files already."

_POINT: dict[str, Any] = {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}}
_ACTION: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": list(rules.ACTIONS), "description": "What to do."},
        "x": {"type": "integer", "description": "Where: click, double_click, move, scroll."},
        "y": {"type": "integer"},
        "button": {"type": "string", "enum": ["left", "right", "wheel", "back", "forward"], "description": "click."},
        "keys": {
            "type": "array",
            "items": {"type": "string"},
            "description": "keypress: the keys, such as [CTRL, S]. Of others: modifiers that are held meanwhile.",
        },
        "path": {"type": "array", "items": _POINT, "description": "drag: two points at least."},
        "scroll_x": {"type": "integer", "description": "scroll: pixels to the right."},
        "scroll_y": {"type": "integer", "description": "scroll: pixels down."},
        "text": {"type": "string", "description": "type: the text."},
        "ms": {"type": "integer", "description": f"wait: milliseconds, {rules.WAIT_MS} if not given."},
    },
    "required": ["type"],
}


class Arguments(BaseModel):
    """Use mouse and keyboard of the workspace's desktop, and see its screen of 1600x900 pixels.

    The actions are done in order; what fails stops those after it. You are shown the screen as it is after the last
    one. Begin with a screenshot. The action `screenshot` also attaches the picture to the chat, for the user to see.
    """

    # A model of Anthropic's has words of its own, which it knows without being told: they are let through.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="allow", json_schema_extra={"required": ["actions"], "additionalProperties": False}
    )

    actions: Any = Field(
        default_factory=lambda: None,
        description="What to do, in order.",
        json_schema_extra={"type": "array", "items": _ACTION},
    )


@tool(
    policy=Policy.IDEMPOTENT,
    offered=frozenset({Where.CHILD}),
    timeout=timedelta(minutes=8),
    series="desktop",
    at_desktop=True,
)
async def computer(arguments: Arguments, context: ToolContext) -> Media | Attached | dict[str, Any]:
    try:
        plan = rules.read(arguments.model_dump(exclude_unset=True))
    except rules.Unclear as unclear:
        raise ToolFailed(str(unclear)) from None
    async with context.place.database.read() as session:
        if not features.desktop(await preferences.site(session, features.DESKTOP)):
            raise ToolFailed(computer_models.OFF)
    came = await context.ask("desktop", plan.request(), patience=plan.patience)
    if error := came.get("error"):
        raise ToolFailed(_failure(plan, error))
    text = _said(plan, came)
    picture = _picture(came)
    if picture is None:
        return {"output": f"{text} {UNSEEN}".strip()}
    if not plan.looks:
        return Media(picture, PNG, text)
    attached = await _attached(context, picture)
    return Attached(Media(picture, PNG, text if attached else f"{text} {UNKEPT}".strip()), attached)


def _failure(plan: rules.Plan, error: Mapping[str, Any]) -> str:
    """What the model reads of a step that failed: which one, why, and that nothing is left pressed."""
    place, why = error.get("step"), str(error.get("message") or "no reason was given").rstrip(".")
    if not isinstance(place, int) or not 0 <= place < len(plan.steps):
        return why
    before = " What came before it was done." if place else ""
    return f"{plan.steps[place]['do']} failed: {why}.{before} No key and no button is left pressed."


def _said(plan: rules.Plan, came: Mapping[str, Any]) -> str:
    if any(step["do"] == "cursor" for step in plan.steps) and (cursor := came.get("cursor")):
        return f"The cursor is at X={cursor[0]}, Y={cursor[1]}."
    return ""


def _picture(came: Mapping[str, Any]) -> bytes | None:
    try:
        return base64.b64decode((came.get("screenshot") or {})["png"], validate=True) or None
    except (KeyError, TypeError, binascii.Error):
        return None


async def _attached(context: ToolContext, picture: bytes) -> list[Part]:
    """The file that the picture is, kept once however often the call is made; nothing where there is no room."""
    file_id = context.job_id("screenshot")
    part = file_part({"file_id": file_id, "media_type": PNG, "name": NAME})
    async with context.place.database.begin() as session:
        locked = await moves.lock(session, context.chat_id)  # so many links a chat, whoever adds one at the same time
        await files.save(
            session,
            file_id=file_id,
            owner_id=context.owner_id,
            organization_id=locked.chat["organization_id"],
            name=NAME,
            media_type=PNG,
            data=picture,
        )
        # Without a link it is nobody's, and is deleted with others of that kind.
        return [] if await files.link(session, context.chat_id, [part]) else [part]
