"""Chats that are summarised, and how their messages then look."""

from typing import Any
from uuid import UUID

from models.store import moves
from models.store.database import fetch
from models.tables.messages import Message
from tests.activities.stack import Stack

FULL = 800  # tokens of a context of 1,000
TIME = {"name": "current_time", "arguments": {}}


async def configured(stack: Stack, *, limit: int = 1_000, threshold: int = 70) -> None:
    async with stack.database.begin() as session:
        await fetch(
            session,
            "UPDATE chat_model_configs SET context_limit = %(limit)s, compression_threshold = %(threshold)s",
            {"limit": limit, "threshold": threshold},
        )


async def compact(stack: Stack, chat_id: UUID) -> None:
    await stack.move(chat_id, moves.request_compaction, signal="woken")


async def settled(stack: Stack, chat_id: UUID, version: int) -> Any:
    """The chat at rest after something newer than this snapshot."""
    return await stack.until(
        chat_id, lambda chat: chat.status in ("waiting", "error") and chat.snapshot_version > version
    )


async def say(stack: Stack, chat_id: UUID, words: str) -> Any:
    moved = await stack.send(chat_id, words)
    return await settled(stack, chat_id, moved.chat["snapshot_version"])


def shape(messages: list[Message]) -> list[str]:
    """Role and, where it is not both, visibility; an asterisk marks what is compressed."""
    return [
        message.role
        + ("" if message.visibility == "both" else f"/{message.visibility}")
        + ("*" if message.compressed else "")
        for message in messages
    ]


def told(stack: Stack, number: int) -> list[tuple[str, str]]:
    return [(each["role"], each.get("content") or "") for each in stack.fake.received[number].body["messages"]]


def asked(stack: Stack, number: int) -> str:
    """All that the user is to have said; providers differ in whether that is one message."""
    assert {role for role, _ in told(stack, number)} <= {"system", "user"}
    return "\n\n".join(words for role, words in told(stack, number) if role == "user")
