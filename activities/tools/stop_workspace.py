"""The tool `stop_workspace`: have the chat's workspace rest; its files stay."""

from typing import Any

from pydantic import BaseModel

from activities.tools import builds
from activities.tools.tool import ROOTS, ToolContext, tool
from models.errors import Conflict, Forbidden, Invalid, NotFound
from models.rules import workspaces as rules
from models.rules.executions import Policy
from models.store import bindings, moves
from models.store import builds as store


class Arguments(BaseModel):
    """Stop the chat's workspace, with all that runs in it. Its files stay; start_workspace has it run again."""


@tool(policy=Policy.IDEMPOTENT, offered=ROOTS, series=builds.SERIES)
async def stop_workspace(_arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    memory = dict(context.memory)
    if "told" not in memory:
        memory = await _begun(context)
    return await builds.built(context, memory)


async def _begun(context: ToolContext) -> builds.Memory:
    begun = None
    try:
        async with context.place.database.begin() as session:
            await moves.lock(session, context.chat_id)
            place = context.place.existing(await bindings.of(session, context.chat_id))
            told: dict[str, Any] = {"stopped": True, "workspace_name": place.name}
            under_way = place.build_status in rules.UNDER_WAY
            if under_way and place.transition != "stop" and place.build_id is not None:
                builds.wait_for_other(context, place.build_id)
            if place.transition == "stop" and place.build_status == "succeeded" and place.build_id is not None:
                return await builds.remember(session, context, {**told, "no_build": True}, place.build_id, over=True)
            await builds.require_builder(session, context, place)
            begun = await store.begin(
                session,
                context.place.cipher,
                place.workspace_id,
                "stop",
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
