"""Chats whose model asks the advisor, and what came of it."""

import json
from typing import Any
from uuid import UUID

from models.rules import advisor
from models.rules.features import Advisor
from models.store import advice
from models.store.database import Database, Row, fetch
from tests.activities.stack import Stack
from tests.fakes.behaviour import Behaviour

DONE = Behaviour(text="Done.")


async def configure(stack: Stack, **setting: Any) -> None:
    async with stack.database.begin() as session:
        await advice.configure(session, Advisor(**{"enabled": True, **setting}))


async def query(database: Database, statement: Any, **params: Any) -> list[Row]:
    async with database.begin() as session:
        return await fetch(session, statement, params)


def asks(*questions: str) -> Behaviour:
    made = [
        {"id": f"a{place}", "name": advisor.TOOL, "arguments": {"question": each}}
        for place, each in enumerate(questions)
    ]
    return Behaviour(tokens=1, tool_calls=made)


async def results(stack: Stack, chat_id: UUID) -> list[dict[str, Any]]:
    return [row.content[0]["result"] for row in await stack.messages(chat_id) if row.role == "tool"]


def nested(stack: Stack) -> list[Any]:
    """The bodies of the calls for advice."""
    return [each.body for each in stack.fake.received if "<question>" in json.dumps(each.body)]
