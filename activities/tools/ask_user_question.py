"""The tool `ask_user_question`: put a choice to the user; the turn ends with it, their next message answers."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from activities.tools.endings import ToolFailed
from activities.tools.tool import ToolContext, Where, tool
from models.rules.executions import Policy


class Option(BaseModel):
    label: str = Field(description="The choice, in a few words.")
    description: str = Field(description="What it means, or what follows from it.")


class Question(BaseModel):
    header: str = Field(description="What it is about, in a word or two.")
    question: str = Field(description="The question, in full.")
    options: list[Option] = Field(description="Two to four choices. The user may also say something else.")


class Arguments(BaseModel):
    """Ask the user what only they can decide, with choices. This ends your turn; their next message is the answer."""

    questions: list[Question] = Field(description="At least one.")


@tool(policy=Policy.PURE, offered=frozenset({Where.PLAN}), quick=True, ends_turn=True)
async def ask_user_question(arguments: Arguments, _context: ToolContext) -> dict[str, Any]:
    if not arguments.questions:
        raise ToolFailed("questions: at least one is required")
    for number, question in enumerate(arguments.questions):
        _check(f"questions[{number}]", question)
    return {"questions": [each.model_dump() for each in arguments.questions]}


def _check(name: str, question: Question) -> None:
    texts: Sequence[tuple[str, str]] = [(f"{name}.header", question.header), (f"{name}.question", question.question)]
    if not 2 <= len(question.options) <= 4:
        raise ToolFailed(f"{name}.options: 2 to 4 are required, got {len(question.options)}")
    for number, option in enumerate(question.options):
        texts = [
            *texts,
            (f"{name}.options[{number}].label", option.label),
            (f"{name}.options[{number}].description", option.description),
        ]
    for field, text in texts:
        if not text.strip():
            raise ToolFailed(f"{field} is required")
