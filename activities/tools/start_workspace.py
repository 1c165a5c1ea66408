"""The tool `start_workspace`: have the chat's workspace run again."""

from typing import Any

from pydantic import BaseModel, Field

from activities.tools import builds
from activities.tools.tool import ROOTS_PLANNING, ToolContext, tool
from models.errors import Conflict, Forbidden, Invalid, NotFound
from models.rules import workspaces as rules
from models.rules.executions import Policy
from models.store import bindings, moves
from models.store import builds as store


class Arguments(BaseModel):
    """Start the chat's workspace, and wait until it can be used. One that runs is only waited for.

    Only if the work needs it. An external agent is started by the user, on their host.
    """

    parameters: dict[str, str] = Field(
        default_factory=dict, description="Values of the template's parameters that are to change."
    )


@tool(policy=Policy.IDEMPOTENT, offered=ROOTS_PLANNING, series=builds.SERIES)
async def start_workspace(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    memory = dict(context.memory)
    if "told" not in memory:
        memory = await _begun(arguments, context)
    return await builds.ready(context, memory)


async def _begun(arguments: Arguments, context: ToolContext) -> builds.Memory:
    begun = None
    try:
        async with context.place.database.begin() as session:
            await moves.lock(session, context.chat_id)
            place = context.place.existing(await bindings.of(session, context.chat_id))
            told: dict[str, Any] = {"started": True, "workspace_name": place.name}
            under_way = place.build_status in rules.UNDER_WAY
            if under_way and place.transition != "start" and place.build_id is not None:
                builds.wait_for_other(context, place.build_id)
            if place.transition == "start" and place.build_status == "succeeded" and place.build_id is not None:
                return await builds.remember(session, context, {**told, "no_build": True}, place.build_id)
            await builds.require_builder(session, context, place)
            begun = await store.begin(
                session,
                context.place.cipher,
                place.workspace_id,
                "start",
                given=arguments.parameters,
                initiator_id=context.owner_id,
                reason="chat",
            )
            build_id = begun.build["id"]
            await bindings.attach(session, context.chat_id, place.workspace_id, build_id)
            memory = await builds.remember(session, context, {**told, "build_id": str(build_id)}, build_id)
    except (Invalid, Conflict, Forbidden, NotFound) as refused:
        raise builds.refused(refused) from None
    await context.place.begin_build(begun.request)
    return memory
