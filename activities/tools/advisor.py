"""The tool `advisor`: a question to a second model, which sees the latest part of the conversation and has no tools."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field

from activities.tools.endings import ToolFailed
from activities.tools.tool import ROOTS, ToolContext, tool
from models.rules import advisor as rules
from models.rules.executions import Policy


class Arguments(BaseModel):
    """Ask a second model for advice. It reads the latest messages of this conversation, can do nothing, and answers.

    Must be the only call of its step: beside any other, none is run. Advice may be limited in a turn
    (`remaining_uses`); when it fails or the limit is reached, go on without it.
    """

    question: str = Field(
        description=f"What you want advice on, with all that matters for it; at most {rules.MOST_RUNES} characters."
    )


@tool(
    policy=Policy.PURE, exclusive=True, offered=ROOTS, timeout=timedelta(minutes=7), needs_advisor=True, is_costly=True
)
async def advisor(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    told = await context.advise(arguments.question)
    if told["type"] == rules.ERROR:
        raise ToolFailed(told["error"], **{key: value for key, value in told.items() if key != "error"})
    return told
