"""The tool `create_workspace`: a place for the chat to work in, made once whatever happens to whoever makes it."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from activities.tools import builds, template_id
from activities.tools.endings import ToolFailed
from activities.tools.tool import ROOTS_PLANNING, ToolContext, tool
from models.errors import Conflict, Forbidden, Invalid, TurnstoneError
from models.rules import workspaces as rules
from models.rules.agents import Ambiguous, chosen
from models.rules.executions import Policy
from models.rules.states import Status
from models.store import bindings, moves, templates, workspaces
from models.store.bindings import Place
from models.store.database import Row
from models.store.session import Session
from models.store.workspaces import Made

EXTERNAL = (
    "Workspaces of this template run on the user's own host. They must create one and start its agent there, and then "
    "attach it to the chat."
)
STOPPED = "The chat's workspace is stopped. Use the start_workspace tool to start it."
EXISTS = "The chat has a workspace already."
COMPLETED = "workspace build completed"
NAMES = 4  # that are tried


class Arguments(BaseModel):
    """Make a workspace for the chat to work in, and wait until it can be used. A chat has one; it is kept if there is.

    Only if the work needs files or commands. Read the template first, to know its parameters and presets. One whose
    agent is external cannot be made here: the user makes it, starts its agent on a host of theirs, and attaches it.
    """

    template_id: str = Field(description="The id that list_templates gave.")
    name: str = Field(default="", description="What to call it; one is made up if empty.")
    parameters: dict[str, str] = Field(default_factory=dict, description="Values of the template's parameters.")
    preset_id: str = Field(default="", description="A preset of the template, which may be ready at once.")


@tool(policy=Policy.IDEMPOTENT, offered=ROOTS_PLANNING, series=builds.SERIES)
async def create_workspace(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    memory = dict(context.memory)
    if "told" not in memory:
        memory = await _begun(arguments, context)
    return await builds.ready(context, memory)


async def _begun(arguments: Arguments, context: ToolContext) -> builds.Memory:
    template = template_id.read(arguments.template_id)
    preset = template_id.read(arguments.preset_id, "preset_id") if arguments.preset_id.strip() else None
    database, made = context.place.database, None
    try:
        async with database.begin() as session:
            locked = await moves.lock(session, context.chat_id)
            if locked.chat["status"] != Status.RUNNING:
                raise ToolFailed("the turn was stopped")
            place = await bindings.of(session, context.chat_id)
            if (memory := await _existing(session, place, context)) is not None:
                return memory
            made = await _made(session, arguments, template, preset, context)
            await bindings.attach(session, context.chat_id, made.workspace_id, made.build_id)
            row = await workspaces.get(session, made.workspace_id)
            told = {"created": True, "workspace_name": row["name"], "build_id": str(made.build_id)}
            memory = await builds.remember(session, context, told, made.build_id)
    except (Invalid, Conflict, Forbidden) as refused:
        raise builds.refused(refused) from None
    if not made.claimed:
        await context.place.begin_build(made.request)
    return memory


async def _existing(session: Session, place: Place | None, context: ToolContext) -> builds.Memory | None:
    """What to tell of the workspace that the chat has; None if it needs another."""
    if place is None or place.deleted or place.build_id is None:
        return None
    told: dict[str, Any] = {"created": False, "workspace_name": place.name, "status": "already_exists"}
    if place.build_status in rules.UNDER_WAY:
        if place.transition != "start":
            builds.wait_for_other(context, place.build_id)
        await bindings.attach(session, context.chat_id, place.workspace_id, place.build_id)
        told |= {"build_id": str(place.build_id), "message": COMPLETED}
        return await builds.remember(session, context, told, place.build_id)
    if place.build_status != "succeeded":
        return None
    if place.transition != "start":
        told |= {"status": "stopped", "message": STOPPED}
        return await builds.remember(session, context, told, place.build_id, over=True)
    try:
        agent = chosen(place.agents)
    except Ambiguous:
        return None
    if agent is None or agent["status"] in ("disconnected", "timeout"):
        return None
    return await builds.remember(session, context, told | {"message": EXISTS}, place.build_id)


async def _made(
    session: Session, arguments: Arguments, template: UUID, preset: UUID | None, context: ToolContext
) -> Made:
    chat = context.chat
    owner = await builds.owner(session, context)
    rules.require_maker(owner, owner.user_id, owner.organizations, chat["organization_id"])
    offered = await templates.offered(session, chat["organization_id"], template)
    if not offered:
        raise ToolFailed(f"template {template} was not found, or cannot be used here")
    if offered[0]["provisioner"] == "external":
        raise ToolFailed(EXTERNAL)
    ttl_ms = await templates.chat_ttl_ms(session)
    clash: TurnstoneError | None = None
    for name in _names(arguments.name, offered[0], context):
        try:
            return await workspaces.create(
                session,
                context.place.cipher,
                organization_id=chat["organization_id"],
                owner_id=context.owner_id,
                name=name,
                template_id=template,
                preset_id=preset,
                given=arguments.parameters,
                ttl_ms=ttl_ms or None,
                initiator_id=context.owner_id,
                reason="chat",
            )
        except Conflict as taken:
            clash = taken
    assert clash is not None
    raise builds.refused(clash)


def _names(wish: str, template: Row, context: ToolContext) -> list[str]:
    """The names to try: the one that was asked for if it may be, else made up from it, or from the template's."""
    wish = wish.strip()
    letters = context.job_id("name").hex
    made = [rules.made_name(wish or template["name"], letters[at * 4 : at * 4 + 4]) for at in range(NAMES)]
    try:
        rules.check_name(wish)
    except Invalid:
        return made
    return [wish]
