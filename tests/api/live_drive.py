"""Drives for live-stream tests: turns made with the real moves and the real publisher, and the screen of a client.

`Drive`    one chat, moved and streamed as a worker would         `STORY`    every kind of event, as steps of a drive
`Screen`   what a client shows after some events; it refuses repeats and gaps
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from activities.publish import Episode, Publisher
from models.events import assemble
from models.parts import Part
from models.rules.history import DYNAMIC
from models.settings import Settings
from models.store import moves
from models.store.database import Database
from models.store.moves import Fence, StepRow


def text(value: str) -> Part:
    return {"type": "text", "text": value}


class Drive:
    """A chat and whoever moves it."""

    def __init__(
        self, database: Database, publisher: Publisher, owner_id: UUID, organization_id: UUID, model_config_id: UUID
    ) -> None:
        self.database = database
        self.publisher = publisher
        self.owner_id = owner_id
        self.organization_id = organization_id
        self.model_config_id = model_config_id
        self.chat_id = UUID(int=0)
        self.user_messages: list[int] = []
        self.fence: Fence | None = None
        self.episode: Episode | None = None

    async def create(self, said: str = "hello", system: tuple[str, ...] = ("hidden",)) -> "Drive":
        async with self.database.begin() as session:
            moved = await moves.create(
                session,
                owner_id=self.owner_id,
                organization_id=self.organization_id,
                title="a chat",
                content=[text(said)],
                model_config_id=self.model_config_id,
                created_by=self.owner_id,
                system=system,
            )
        self.chat_id = moved.chat["id"]
        self._note(moved)
        return self

    async def open(self) -> None:
        async with self.database.begin() as session:
            opened = await moves.open_attempt(session, self.chat_id, max_attempts=20, max_steps=100)
        assert opened.reply is None
        self.fence = fence = opened.fence
        self.episode = self.publisher.episode(fence.chat_id, fence.history_version, fence.generation_attempt)

    async def stream(self, *pieces: str | Part, role: str = "assistant") -> None:
        """Each piece becomes a part of its own."""
        assert self.episode is not None
        for piece in pieces:
            self.episode.push(role, text(piece) if isinstance(piece, str) else piece)
            assert await self.episode.flush()

    async def commit(self, *rows: StepRow) -> None:
        assert self.fence is not None
        assert self.episode is not None
        self.episode.close()
        async with self.database.begin() as session:
            await moves.commit_step(session, self.fence, list(rows))

    async def answer(self, value: str) -> None:
        await self.commit(StepRow("assistant", [text(value)], usage={"output_tokens": 3}))

    async def retry(self, attempt: int = 1) -> None:
        assert self.fence is not None
        banner = {
            "attempt": attempt,
            "delay_ms": 1000,
            "error": "The provider is busy.",
            "kind": "overloaded",
            "retrying_at": "2026-01-01T00:00:00Z",
        }
        async with self.database.begin() as session:
            await moves.record_retry(session, self.fence, banner, 1.0)

    async def fail(self) -> None:
        assert self.fence is not None
        error = {"message": "It broke.", "kind": "generic", "retryable": False}
        async with self.database.begin() as session:
            await moves.finish_error(session, self.fence, error)

    async def say(self, value: str, interrupt: bool = False) -> None:
        async with self.database.begin() as session:
            locked = await moves.lock(session, self.chat_id)
            moved = await moves.send(
                session,
                locked,
                content=[text(value)],
                sender_id=self.owner_id,
                model_config_id=None,
                interrupt=interrupt,
                queue_limit=20,
            )
        self._note(moved)

    async def edit(self, value: str, place: int = -1) -> None:
        """Replace one of the user's messages that were sent directly."""
        async with self.database.begin() as session:
            locked = await moves.lock(session, self.chat_id)
            moved = await moves.edit(
                session, locked, self.user_messages[place], content=[text(value)], editor_id=self.owner_id
            )
        self._note(moved)

    async def interrupt(self) -> None:
        async with self.database.begin() as session:
            await moves.interrupt(session, await moves.lock(session, self.chat_id))

    async def finish_interruption(self, *rows: StepRow) -> None:
        assert self.fence is not None
        episode = (self.fence.history_version, self.fence.generation_attempt)
        async with self.database.begin() as session:
            await moves.finish_interruption(session, self.chat_id, list(rows), episode=episode)

    async def require_action(self) -> None:
        """The model calls a tool of the chat's client."""
        await self.commit(StepRow("assistant", [{**CALL, "provider_metadata": {DYNAMIC: True}}]))

    async def submit(self, *results: moves.ClientResult) -> None:
        async with self.database.begin() as session:
            await moves.complete_action(session, await moves.lock(session, self.chat_id), results)

    def _note(self, moved: moves.Moved) -> None:
        self.user_messages += [row["id"] for row in moved.messages if row["role"] == "user"]


@asynccontextmanager
async def publishing(database: Database, settings: Settings) -> AsyncIterator[Publisher]:
    publisher = Publisher(database, settings)
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.close()


CALL: Part = {"type": "tool-call", "tool_call_id": "c1", "tool_name": "look", "args": {"a": "é\x00"}}
RESULT: Part = {"type": "tool-result", "tool_call_id": "c1", "tool_name": "look", "result": {"output": "42"}}


async def _asks_for_a_tool(drive: Drive) -> None:
    await drive.open()
    await drive.stream(
        {"type": "reasoning", "text": "Let me ", "created_at": "2026-01-01T00:00:00Z"},
        {"type": "reasoning", "text": "see."},
        "I will look\x00 ",
        "it up.",
        {"type": "tool-call", "tool_call_id": "c1", "tool_name": "look", "args_delta": '{"a":'},
        CALL,
    )


async def _tool_step(drive: Drive) -> None:
    await drive.open()
    await drive.stream(RESULT, role="tool")


async def fails_and_waits(drive: Drive) -> None:
    await drive.stream("This will be ", "void. ")
    await drive.retry()


async def _streams_more(drive: Drive) -> None:
    await drive.open()
    await drive.stream("Second try: ", "forty", "-two.")


async def _asks_more_and_again(drive: Drive) -> None:
    await drive.say("and then?")
    await drive.say("and then??")


async def _is_edited(drive: Drive) -> None:
    await drive.stream("Something about a question ", "that ")
    await drive.edit("another question", 0)


async def _is_stopped(drive: Drive) -> None:
    await drive.open()
    await drive.stream("A long ", "story, ")
    await drive.interrupt()


async def _breaks(drive: Drive) -> None:
    await drive.open()
    await drive.stream("Nearly ", "done")
    await drive.fail()


STORY: tuple[Callable[[Drive], Any], ...] = (
    _asks_for_a_tool,
    lambda drive: drive.commit(StepRow("assistant", [text("I will look\x00 it up."), CALL])),
    _tool_step,
    lambda drive: drive.commit(StepRow("tool", [RESULT])),
    lambda drive: drive.open(),
    fails_and_waits,
    _streams_more,
    _asks_more_and_again,
    lambda drive: drive.answer("Second try: forty-two."),
    lambda drive: drive.open(),
    _is_edited,
    _is_stopped,
    lambda drive: drive.finish_interruption(StepRow("assistant", [text("A long story, ")])),
    lambda drive: drive.say("go on"),
    _breaks,
    lambda drive: drive.say("try again"),
    _streams_more,
)


class Screen:
    """A client that joins what it is told; `state` is what its person sees."""

    def __init__(self) -> None:
        self.messages: dict[int, dict[str, Any]] = {}
        self.preview: list[tuple[str, Part]] = []
        self.queue: list[Any] = []
        self.status = ""
        self.cursor = ""
        self.types: list[str] = []
        self._place: tuple[int, int, int] = (0, 0, 0)

    def show(self, events: Iterable[dict[str, Any]]) -> "Screen":
        for event in events:
            self._show(event)
        return self

    def _show(self, event: dict[str, Any]) -> None:
        self.types.append(event["type"])
        self.cursor = event.get("cursor", self.cursor)
        match event["type"]:
            case "message":
                message = event["message"]
                self.messages[message["id"]] = message
                if message["role"] in ("assistant", "tool"):
                    self._void_preview()
            case "message_part":
                self._show_part(event["message_part"])
            case "preview_reset":
                self._void_preview()
            case "history_reset":
                self.messages.clear()
                self._void_preview()
            case "resync":
                self.messages.clear()
                self.queue.clear()
                self._void_preview()
            case "queue_update":
                self.queue = event.get("queued_messages", [])
            case "status":
                self.status = event["status"]["status"]

    def _void_preview(self) -> None:
        self.preview.clear()
        self._place = (0, 0, 0)

    def _show_part(self, told: dict[str, Any]) -> None:
        place = (told["history_version"], told["generation_attempt"], told["seq"])
        before = self._place if self._place[:2] == place[:2] else (*place[:2], 0)
        assert not self.preview or self._place[:2] == place[:2], "parts of two attempts on one screen"
        assert place[2] == before[2] + 1, f"after part {before} came {place}"
        self._place = place
        self.preview.append((told["role"], told["part"]))

    @property
    def state(self) -> tuple[Any, ...]:
        return sorted(self.messages.items()), assemble(self.preview), self.queue, self.status
