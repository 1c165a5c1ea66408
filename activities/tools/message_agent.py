"""The tool `message_agent`: say something to a sub-agent, once, as its chat's owner would."""

from typing import Any

from pydantic import BaseModel, Field

from activities.tools import builds, children
from activities.tools.endings import ToolFailed
from activities.tools.tool import ASKING, ROOTS, ToolContext, tool
from models.parts import text
from models.rules.executions import Policy
from models.store import limits, moves
from models.store.moves import Locked, Moved
from models.store.session import Session


class Arguments(BaseModel):
    """Send a message to a sub-agent: more to do, or a correction. One that has ended goes on; then wait for it again.

    While it works the message waits until its turn is over, unless you interrupt that.
    """

    chat_id: str = Field(description="The chat_id that spawn_agent gave.")
    message: str = Field(description="What to tell it.")
    interrupt: bool = Field(default=False, description="Stop what it does now, so that it reads the message at once.")


@tool(policy=Policy.IDEMPOTENT, offered=ROOTS, timeout=ASKING)
async def message_agent(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    chat_id = children.read(arguments.chat_id)
    if not arguments.message.strip():
        raise ToolFailed("message is required")

    async def send(session: Session, locked: Locked) -> Moved:
        owner = await builds.owner(session, context)
        await limits.require(session, owner, locked.chat["organization_id"], locked.id)
        return await moves.send(
            session,
            locked,
            content=[text(arguments.message)],
            sender_id=context.owner_id,
            model_config_id=locked.chat["last_model_config_id"],
            interrupt=arguments.interrupt,
            queue_limit=context.settings.queue_limit,
        )

    return await children.steered(context, chat_id, send)
