"""The laws of the rows that a model is to see: every column, and of many pictures of a desktop only the newest."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from models.rules import screenshots
from models.store import moves
from models.store.database import Database, fetch
from models.store.moves.transcript import PICTURES
from models.tables.messages import Message
from tests.models.store.chats import born
from tests.seeds import World

RESULTS = PICTURES + 10


async def looked(database: Database, chat: UUID, mode: str | None, tool: str) -> list[dict[str, Any]]:
    """What a model is to see of a chat that had so many results."""
    result = {"data": "QUJD", "mime_type": "image/png", "text": "seen"}
    part = {"type": "tool-result", "tool_call_id": "c", "tool_name": tool, "is_media": True, "result": result}
    async with database.begin() as session:
        await fetch(session, "UPDATE chats SET mode = %(mode)s WHERE id = %(id)s", {"id": chat, "mode": mode})
        await fetch(
            session,
            "INSERT INTO chat_messages (chat_id, revision, role, content) "
            "SELECT %(id)s, 1, 'tool', %(content)s::jsonb FROM generate_series(1, %(count)s)",
            {"id": chat, "content": orjson.dumps([part]).decode(), "count": RESULTS},
        )
        return (await moves.lock(session, chat, prompt=True)).tail


@pytest.mark.parametrize(
    ("mode", "tool", "kept"),
    [("computer_use", "computer", PICTURES), ("computer_use", "radar", RESULTS), (None, "computer", RESULTS)],
)
async def test_old_pictures_of_a_desktop_stay_where_they_are(
    database: Database, seed: World, mode: str | None, tool: str, kept: int
) -> None:
    rows = await looked(database, await born(database, seed), mode, tool)
    results = [row["content"][0]["result"] for row in rows if row["role"] == "tool"]
    assert [each.get("data") for each in results] == [None] * (RESULTS - kept) + ["QUJD"] * kept
    assert {(each["text"], each["mime_type"]) for each in results} == {("seen", "image/png")}
    assert all(row.keys() == Message.model_fields.keys() for row in rows)


def test_more_pictures_are_read_than_are_shown() -> None:
    assert PICTURES >= screenshots.NEWEST + screenshots.BATCH
